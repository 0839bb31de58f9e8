"""The door: names, settings and sizes, and every base-size encoder at 512 pixels on the meta device."""

import pytest
import timm
import torch

from support.encoders import FAMILIES, encoder_like, timm_reference
from vfmseg.errors import HubError, RecipeError
from vfmseg.models.encoders import load
from vfmseg.models.encoders.catalog import ENCODERS
from vfmseg.models.encoders.load import build_encoder

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}

# specs: tokens at 512 pixels and patch size 16 (32 x 32 patches and the prefix)
PREFIX = {"DINOv2": 1, "DINOv3": 5, "SigLIP": 0, "SigLIP 2": 0, "SAM": 0, "AIMv2": 0, "C-RADIO": 8}
BASE = [i for i in ENCODERS.values() if not i.is_huggingface and (i.embed_dim == 768 or i.short == "aimv2-l")]


@pytest.mark.parametrize("info", BASE, ids=lambda i: i.short)
def test_base_size__features_at_512(info):
    with torch.device("meta"), torch.no_grad():
        encoder = build_encoder(info.short, 512, 16, weights="random")
        tokens = encoder.run_blocks(encoder.embed(torch.zeros(1, 3, 512, 512)), 0, encoder.num_blocks)
        grid = encoder.to_grid(encoder.norm(tokens))
    prefix = 5 if "-reg-" in info.short else PREFIX.get(info.family, 1)
    assert tokens.shape == (1, 1024 + prefix, info.embed_dim)
    assert grid.shape == (1, info.embed_dim, 32, 32)
    assert (encoder.num_blocks, encoder.num_prefix_tokens) == (info.num_blocks, prefix)


def test_base_size__covers_every_family():
    assert len(BASE) == 19
    assert {i.family for i in BASE} == {i.family for i in ENCODERS.values()}


def random_encoder(name="vit_tiny_patch16_224", size=64, patch=None, **options):
    return build_encoder(name, size, patch, **{"weights": "random", "overrides": TINY, **options})


def test_names__short_timm_and_hub():
    for name in ("dinov2-s", "vit_small_patch14_dinov2", "vit_small_patch14_dinov2.lvd142m",
                 "timm/vit_small_patch14_dinov2.lvd142m", "facebook/dinov2-small"):  # fmt: skip
        encoder = random_encoder(name, 56)
        assert (encoder.patch_size, encoder.grid_size, encoder.num_prefix_tokens) == (14, (4, 4), 1)
        assert encoder.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_names__statistics_of_the_tag():
    satellite = random_encoder("facebook/dinov3-vitl16-pretrain-sat493m", overrides={**TINY, "embed_dim": 32})
    assert satellite.mean.flatten().tolist() == pytest.approx([0.430, 0.411, 0.296])


def test_names__unknown():
    with pytest.raises(RecipeError, match=r"encoder.name 'dinov2-bb' is unknown. Did you mean dinov2-b"):
        build_encoder("dinov2-bb", 512)


def test_names__no_published_weights():
    expected = (
        r"encoder.name 'samvit_base_patch16_224': timm has the architecture but no weights of it; set enc"
    )
    with pytest.raises(RecipeError, match=expected):
        build_encoder("samvit_base_patch16_224", 224)


def test_size__one_number_or_two():
    assert random_encoder(size=64).image_size == (64, 64)
    assert random_encoder(size=(64, 96)).image_size == (64, 96)
    assert random_encoder(size=[64, 96]).grid_size == (4, 6)


@pytest.mark.parametrize(
    ("name", "size", "patch", "message"),
    [
        (
            "dinov2-b",
            512,
            None,
            r"not a multiple of encoder.patch_size 14; the nearest that are: \[504, 504\] and",
        ),
        ("sam-b", 640, 16, "SAM's attention windows scale with the image: at 640x640 pixels"),
        ("dinov2-b", 512, 0, "encoder.image_size 512x512 and encoder.patch_size 0: both must be positive"),
    ],
)
def test_size__refused_before_anything_is_fetched(name, size, patch, message, monkeypatch):
    def fail(*args, **kwargs):
        raise HubError("fetched")

    monkeypatch.setattr(load.native, "create", fail)
    with pytest.raises(RecipeError, match=message):
        build_encoder(name, size, patch)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"overrides": {"dpeth": 2}, "weights": "random"},
            r"encoder.overrides has no 'dpeth'. Did you mean depth",
        ),
        (
            {"overrides": {"depth": 2}},
            "encoder.overrides changes the encoder's shape, so pretrained weights cannot",
        ),
        (
            {"sub_norm": True},
            "encoder.sub_norm adds LayerNorms for which timm has no weights; give the BEiT-3 file",
        ),
        ({"positions": "crp"}, "encoder.positions 'crp' is unknown; it is one of crop, stretch"),
    ],
)
def test_settings__that_do_not_go_together(settings, message):
    with pytest.raises(RecipeError, match=message):
        build_encoder("vit_tiny_patch16_224", 224, **settings)


def test_seed__same_random_weights():
    torch.manual_seed(3)
    first = random_encoder(patch=8)
    torch.manual_seed(3)
    second = random_encoder(patch=8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_pretrained__goes_through_timm_and_reports_heads(monkeypatch):
    asked = []
    real = timm.create_model

    def create(name, pretrained, **arguments):
        asked.append((name, pretrained))
        return real(name, pretrained=False, **{**arguments, "depth": 1})

    monkeypatch.setattr(timm, "create_model", create)
    encoder = build_encoder("siglip-b", 224, 16)
    assert asked[-1] == ("vit_base_patch16_siglip_512.webli", True)
    report = encoder.weights_report
    assert report.source == "timm/vit_base_patch16_siglip_512.webli"
    assert "attn_pool.latent" in report.not_used
    assert report.resampled == ("positions: 32x32 -> 14x14 (bicubic)",)


def test_report__says_what_was_resampled():
    lines = random_encoder(size=(64, 96), patch=8).weights_report.lines()
    assert lines == [
        "weights: random",
        "positions: 14x14 -> 8x12 (bicubic, crop)",
        "patch embedding: 16 -> 8 pixels (pseudo-inverse of resizing)",
    ]


def test_adapt__again_and_back_to_the_same_size():
    encoder = random_encoder(size=224)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.adapt((224, 224), 16)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    encoder.adapt((96, 96), 16)
    assert encoder.forward_grid(torch.zeros(1, 3, 96, 96)).shape == (1, 24, 6, 6)


def test_adapt__keeps_what_is_frozen_frozen():
    encoder = random_encoder().requires_grad_(False)
    encoder.adapt((96, 96), 8)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_adapt__cropped_positions_cannot_grow():
    encoder = random_encoder(size=(64, 96))
    with pytest.raises(RecipeError, match="were cropped to 4x6 patches and cannot be made 6x6"):
        encoder.adapt((96, 96), 16)
    assert (encoder.grid_size, encoder.vit.patch_embed.grid_size) == ((4, 6), (4, 6))


def test_patch_weights__answer_to_resized_patches_alike(tmp_path):
    reference = timm_reference("vit")
    encoder = encoder_like("vit", reference, tmp_path, 128, 32)
    coarse = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    fine = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic", antialias=True)
    ours, theirs = encoder.vit.patch_embed.proj(fine), reference.patch_embed.proj(coarse)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


class TestSam:
    def build(self, size, **options):
        options = {"weights": "random", "overrides": FAMILIES["sam"][1], **options}
        return build_encoder("sam-b", size, **options)

    def test_tables__published_and_exact(self):
        published, exact = self.build(128), self.build(128, published_rel_pos=False)
        assert [b.window_size for b in published.blocks] == [4, 0, 4]
        assert [len(b.attn.rel_pos_h) for b in published.blocks] == [9, 17, 9]
        assert [len(b.attn.rel_pos_h) for b in exact.blocks] == [7, 15, 7]
        assert published.weights_report.resampled[-1].startswith(
            "relative positions: 2s + 1 rows as in the bench"
        )
        assert not any("2s + 1" in line for line in exact.weights_report.resampled)

    def test_wide__the_shorter_side_gets_the_middle(self, tmp_path):
        reference = timm_reference("sam")
        square = encoder_like("sam", reference, tmp_path, 128, 16, published_rel_pos=False)
        wide = encoder_like("sam", reference, tmp_path, (64, 128), 16, published_rel_pos=False)
        rows, columns = wide.blocks[1].attn.rel_pos_h, wide.blocks[1].attn.rel_pos_w
        assert (len(rows), len(columns)) == (7, 15)
        assert torch.equal(rows, square.blocks[1].attn.rel_pos_h[4:11])  # distances -3 ... 3
        assert torch.equal(columns, square.blocks[1].attn.rel_pos_w)
        assert torch.equal(wide.vit.pos_embed, square.vit.pos_embed[:, :4])

    def test_wide__stretched(self, tmp_path):
        wide = encoder_like("sam", timm_reference("sam"), tmp_path, (64, 128), 16, positions="stretch")
        assert wide.vit.pos_embed.shape == (1, 4, 8, 32)
        assert wide.forward_grid(torch.zeros(1, 3, 64, 128)).shape == (1, 32, 4, 8)

    def test_cropped_positions_cannot_grow(self):
        encoder = self.build((64, 128))
        with pytest.raises(
            RecipeError, match="the positions were cropped to 4x8 patches; build the encoder anew"
        ):
            encoder.adapt((128, 128), 16)
        assert [b.window_size for b in encoder.blocks] == [4, 0, 4]

    def test_windows__that_are_not_whole(self):
        with pytest.raises(
            RecipeError, match=r"a window would be 3\.5 patches\. The longer side must be a mul"
        ):
            self.build(112)
