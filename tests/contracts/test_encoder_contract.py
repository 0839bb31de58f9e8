"""What every Encoder must do: a tiny model of every family against timm's own with the same weights."""

import copy

import pytest
import timm
import torch
from timm.layers import Attention, AttentionRope
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from support.encoders import FAMILIES, encoder_like, timm_reference
from vfmseg.errors import DataError, RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.encoders.sam import SamEncoder

pytestmark = pytest.mark.usefixtures("seeded")

QUERIES = [family for family in FAMILIES if family != "sam"]


@pytest.fixture
def seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Return a function from a family to (timm's model, our encoder at the same size)."""
    folder, built = tmp_path_factory.mktemp("weights"), {}

    def pair(family):
        if family not in built:
            reference = timm_reference(family)
            patch = reference.patch_embed.patch_size[0]
            encoder = encoder_like(
                family, reference, folder, reference.patch_embed.img_size, patch, published_rel_pos=False
            )
            built[family] = reference, encoder
        return built[family]

    return pair


def pixels_for(encoder, batch=2, seed=0):
    return torch.randn(batch, 3, *encoder.image_size, generator=torch.Generator().manual_seed(seed))


def features_of(reference, pixels):
    """Return timm's tokens (B, N, C); SAM's without its neck."""
    if isinstance(reference, VisionTransformerSAM):
        neckless = copy.deepcopy(reference)
        neckless.neck = nn.Identity()
        return neckless.forward_features(pixels).flatten(2).transpose(1, 2)
    return reference.forward_features(pixels)


def run_timm_blocks(reference, tokens, num_extra, attn_mask=None):
    """Run timm's own blocks on tokens of which the first ``num_extra`` stand before the prefix."""
    model = copy.deepcopy(reference)
    if not isinstance(model, Eva):
        for block in model.blocks:
            tokens = block(tokens, attn_mask=attn_mask)
        return tokens
    rope = None if model.rope is None else model.rope.get_embed(shape=model.patch_embed.grid_size)
    for index, block in enumerate(model.blocks):
        assert isinstance(block.attn, (Attention, AttentionRope, EvaAttention))
        block.attn.num_prefix_tokens += num_extra
        tokens = block(tokens, rope=rope[index] if model.rope_mixed else rope, attn_mask=attn_mask)
    return tokens


@pytest.mark.parametrize("family", FAMILIES)
class TestEncoderContract:
    def test_facts__those_of_timm(self, pairs, family):
        reference, encoder = pairs(family)
        assert isinstance(encoder, Encoder)
        assert encoder.num_blocks == len(encoder.blocks) == len(reference.blocks) == 3
        assert encoder.embed_dim == 32
        assert encoder.image_size == reference.patch_embed.img_size
        assert encoder.patch_size == reference.patch_embed.patch_size[0]
        assert encoder.grid_size == (4, 4)
        assert encoder.num_prefix_tokens == (0 if family == "sam" else reference.num_prefix_tokens)
        assert not encoder.training

    def test_features__equal_timm_bit_for_bit(self, pairs, family):
        reference, encoder = pairs(family)
        pixels = pixels_for(encoder)
        with torch.no_grad():
            tokens = encoder.norm(encoder.run_blocks(encoder.embed(pixels), 0, encoder.num_blocks))
            expected = features_of(reference, pixels)
        assert tokens.shape == (2, encoder.num_prefix_tokens + 16, 32)
        assert torch.equal(tokens, expected)

    def test_run_blocks__in_pieces(self, pairs, family):
        _, encoder = pairs(family)
        with torch.no_grad():
            tokens = encoder.embed(pixels_for(encoder))
            at_once = encoder.run_blocks(tokens, 0, 3)
            pieces = encoder.run_blocks(encoder.run_blocks(tokens, 0, 1), 1, 3)
        assert torch.equal(at_once, pieces)
        assert torch.equal(encoder.run_blocks(tokens, 2, 2), tokens)

    def test_to_grid__patches_row_by_row(self, pairs, family):
        _, encoder = pairs(family)
        tokens = torch.randn(2, encoder.num_prefix_tokens + 16, 32)
        grid = encoder.to_grid(tokens)
        assert grid.shape == (2, 32, 4, 4)
        assert torch.equal(grid[:, :, 1, 2], tokens[:, encoder.num_prefix_tokens + 6])

    def test_forward_grid__all_of_it(self, pairs, family):
        _, encoder = pairs(family)
        pixels = pixels_for(encoder)
        with torch.no_grad():
            parts = encoder.to_grid(encoder.norm(encoder.run_blocks(encoder.embed(pixels), 0, 3)))
            assert torch.equal(encoder.forward_grid(pixels), parts)
            assert torch.equal(encoder(pixels), parts)

    def test_normalise__statistics_of_the_weights(self, pairs, family):
        reference, encoder = pairs(family)
        images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
        mean, std = (torch.tensor(reference.pretrained_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
        torch.testing.assert_close(encoder.normalise(images), (images / 255 - mean) / std)
        with pytest.raises(
            DataError, match=r"images are torch\.float32; the encoder normalises uint8 images"
        ):
            encoder.normalise(images.float())

    def test_block_of__covers_every_parameter(self, pairs, family):
        _, encoder = pairs(family)
        places = {name: encoder.block_of(p) for name, p in encoder.named_parameters()}
        for name, place in places.items():
            if ".blocks." in name:
                assert place == int(name.split(".blocks.")[1].split(".")[0])
            elif name.startswith("vit.norm."):
                assert place == encoder.num_blocks
            else:
                assert place == -1
        with pytest.raises(ValueError, match="does not belong to this encoder"):
            encoder.block_of(nn.Parameter(torch.zeros(3)))

    def test_gradients__reach_every_parameter(self, pairs, family):
        encoder = copy.deepcopy(pairs(family)[1])
        encoder.forward_grid(pixels_for(encoder)).square().sum().backward()
        assert [n for n, p in encoder.named_parameters() if p.grad is None] == []

    def test_checkpointing__same_gradients(self, pairs, family):
        encoder = copy.deepcopy(pairs(family)[1]).train()
        gradients = []
        for enabled in (False, True):
            encoder.zero_grad()
            encoder.set_checkpointing(enabled)
            encoder.forward_grid(pixels_for(encoder)).square().mean().backward()
            gradients.append([p.grad.clone() for p in encoder.parameters()])
        for plain, checkpointed in zip(*gradients, strict=True):
            torch.testing.assert_close(plain, checkpointed)

    def test_checkpointing__runs_blocks_again_in_the_backward_pass(self, pairs, family):
        encoder = copy.deepcopy(pairs(family)[1])
        encoder.set_checkpointing(True)
        runs = []
        for index, block in enumerate(encoder.blocks):
            block.register_forward_pre_hook(lambda *_, index=index: runs.append(index))
        out = encoder.forward_grid(pixels_for(encoder))
        assert runs == [0, 1, 2]
        out.sum().backward()
        assert runs == [0, 1, 2, 2, 1, 0]
        with torch.no_grad():
            encoder.forward_grid(pixels_for(encoder))
        assert len(runs) == 9

    def test_state_dict__fits_an_encoder_built_with_random_weights(self, pairs, family):
        _, encoder = pairs(family)
        name, overrides = FAMILIES[family]
        options = {"weights": "random", "overrides": overrides, "published_rel_pos": False}
        other = build_encoder(name, encoder.image_size, encoder.patch_size, **options)
        other.load_state_dict(encoder.state_dict())
        pixels = pixels_for(encoder)
        with torch.no_grad():
            assert torch.equal(other(pixels), encoder(pixels))

    def test_pixels__of_another_size_are_refused(self, pairs, family):
        _, encoder = pairs(family)
        h, w = encoder.image_size
        with pytest.raises(
            RecipeError, match=rf"pixels are {h}x{w + 8}, but the encoder is built for {h}x{w}"
        ):
            encoder.embed(torch.zeros(1, 3, h, w + 8))

    def test_run_blocks__wrong_calls(self, pairs, family):
        _, encoder = pairs(family)
        tokens = torch.zeros(1, encoder.num_prefix_tokens + 16, 32)
        with pytest.raises(ValueError, match="blocks 2 to 4 asked for; there are 0 to 3"):
            encoder.run_blocks(tokens, 2, 4)
        with pytest.raises(ValueError, match=r"tokens given; expected \d+ = 0 extra"):
            encoder.run_blocks(tokens[:, 1:], 0, 3)

    @pytest.mark.parametrize("size", [(96, 96), (64, 112), (112, 48)])
    @pytest.mark.parametrize("patch", [8, 16])
    def test_adapt__any_image_and_patch_size(self, pairs, family, size, patch, tmp_path):
        reference, _ = pairs(family)
        if family == "sam":  # whole windows only
            size = (64, 128)
        crop, stretch = (
            encoder_like(family, reference, tmp_path, size, patch, positions=p) for p in ("crop", "stretch")
        )
        grid = (size[0] // patch, size[1] // patch)
        assert crop.grid_size == stretch.grid_size == grid
        assert (crop.image_size, crop.patch_size) == (size, patch)
        pixels = pixels_for(crop)
        with torch.no_grad():
            assert crop.forward_grid(pixels).shape == (2, 32, *grid)
            if family != "sam":  # timm cannot resize SAM
                timms = copy.deepcopy(reference)
                timms.set_input_size(img_size=size, patch_size=patch)
                torch.testing.assert_close(
                    stretch.to_grid(timms.forward_features(pixels)),
                    stretch.forward_grid(pixels),
                    rtol=1e-4,
                    atol=1e-4,
                )


@pytest.mark.parametrize("family", QUERIES)
class TestExtraTokens:
    def test_extra_tokens__have_no_position(self, pairs, family):
        reference, encoder = pairs(family)
        tokens = torch.cat([torch.randn(2, 3, 32), encoder.embed(pixels_for(encoder))], 1).detach()
        with torch.no_grad():
            ours = encoder.run_blocks(tokens, 0, 3, num_extra=3)
            expected = run_timm_blocks(reference, tokens, 3)
        torch.testing.assert_close(ours, expected)

    def test_mask__rows_of_queries_only(self, pairs, family):
        reference, encoder = pairs(family)
        generator = torch.Generator().manual_seed(1)
        prefix = encoder.num_prefix_tokens
        tokens = torch.cat(
            [torch.randn(2, 3, 32, generator=generator), encoder.embed(pixels_for(encoder))], 1
        )
        mask = torch.rand(2, 3, 16, generator=generator) > 0.5
        mask[0, 0] = False  # may attend to no patch at all
        full = torch.ones(2, 1, 3 + prefix + 16, 3 + prefix + 16, dtype=torch.bool)
        full[:, 0, :3, 3 + prefix :] = mask
        with torch.no_grad():
            ours = encoder.run_blocks(tokens, 0, 3, mask=mask, num_extra=3)
            expected = run_timm_blocks(reference, tokens, 3, attn_mask=full)
            free = encoder.run_blocks(tokens, 0, 3, num_extra=3)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(ours[:, :3], free[:, :3])

    def test_mask__all_allowed_changes_nothing(self, pairs, family):
        _, encoder = pairs(family)
        tokens = torch.cat([torch.randn(2, 3, 32), encoder.embed(pixels_for(encoder))], 1).detach()
        with torch.no_grad():
            free = encoder.run_blocks(tokens, 0, 3, num_extra=3)
            allowed = encoder.run_blocks(
                tokens, 0, 3, mask=torch.ones(2, 3, 16, dtype=torch.bool), num_extra=3
            )
        torch.testing.assert_close(free, allowed)

    def test_mask__gradients_with_checkpointing(self, pairs, family):
        encoder = copy.deepcopy(pairs(family)[1]).train()
        queries = torch.randn(2, 3, 32, requires_grad=True)
        mask = torch.rand(2, 3, 16) > 0.5
        gradients = []
        for enabled in (False, True):
            queries.grad = None
            encoder.set_checkpointing(enabled)
            tokens = torch.cat([queries, encoder.embed(pixels_for(encoder))], 1)
            encoder.run_blocks(tokens, 0, 3, mask=mask, num_extra=3)[:, :3].square().mean().backward()
            gradients.append(queries.grad.clone())
        torch.testing.assert_close(*gradients)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_compile__one_graph_and_equal_features(pairs, family):
    _, encoder = pairs(family)
    torch._dynamo.reset()
    compiled = torch.compile(encoder, backend="aot_eager", fullgraph=True)
    pixels = pixels_for(encoder)
    with torch.no_grad():
        torch.testing.assert_close(compiled(pixels), encoder(pixels), rtol=1e-4, atol=1e-4)


PLAIN = [
    n for m in ("vision_transformer", "eva", "vision_transformer_sam") for n in timm.list_models(module=m)
]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_every_plain_vit_of_timm__two_sizes(name):
    overrides = {} if "sapiens2" in name else {"depth": 1}  # Sapiens 2 says something about each block
    for size, patch in (((512, 512), 16), ((256, 512), 8)):
        with torch.device("meta"), torch.no_grad():
            encoder = build_encoder(name, size, patch, weights="random", overrides=overrides)
            grid = encoder.forward_grid(torch.zeros(1, 3, *size))
        assert grid.shape == (1, encoder.embed_dim, size[0] // patch, size[1] // patch)


def test_extra_tokens__refused_by_sam(pairs):
    _, encoder = pairs("sam")
    assert isinstance(encoder, SamEncoder)
    with pytest.raises(RecipeError, match="SAM's encoder attends within windows of the image, where queries"):
        encoder.run_blocks(torch.zeros(1, 19, 32), 0, 3, num_extra=3)
