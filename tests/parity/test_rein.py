"""Rein's tokens, and a backbone that they refine, against the numbers of the published program."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from vfmseg.interop.rein import our_names
from vfmseg.models.decoders.pyramid import TappedPyramid
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.tuning.catalog import build_tuning
from vfmseg.models.tuning.rein import ReinTuning

GOLDENS = Path(__file__).parents[1] / "goldens"

VARIANTS = {
    "lora": {"rank": 4},
    "lora_nosoftmax_zero": {"rank": 4, "softmax": False, "zero_start": True},
    "plain": {"rank": None},
    "plain_nosoftmax": {"rank": None, "softmax": False},
    "plain_nolink": {"rank": None, "query_dim": None},
}


def read(name):
    with safe_open(GOLDENS / f"{name}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def our_name(name):
    (ours,) = our_names(f"backbone.reins.{name}")
    return ours.removeprefix("tuning.")


def tuning_of(golden, **options):
    tuning = ReinTuning(**{"num_tokens": 10, "query_dim": 12, **options})
    tuning.initialise(4, 24, 16)
    state = {our_name(k.removeprefix("state/")): v for k, v in golden.items() if k.startswith("state/")}
    if tuning.query_dim is None:  # the published module has the link's maps even where nothing uses them
        state = {name: value for name, value in state.items() if "queries" not in name}
    tuning.load_state_dict(state)
    return tuning


@pytest.mark.parametrize("case", ["cls", "nocls", "seqfirst_cls"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_rein__outputs_queries_and_gradients_are_the_published(variant, case):
    golden = read(f"rein_module_{variant}")
    if f"{case}/in/0" not in golden:
        assert case != "cls"
        pytest.skip("recorded for the two main variants only")
    tuning = tuning_of(golden, **VARIANTS[variant])
    tuning._num_prefix_tokens = 0 if case == "nocls" else 1

    def batch_first(tensor):
        return tensor.transpose(0, 1) if case.startswith("seqfirst") else tensor

    inputs, scalar = [], torch.zeros(())
    for layer in range(4):
        tokens = golden[f"{case}/in/{layer}"].requires_grad_()
        inputs.append(tokens)
        out = batch_first(tuning.after(layer, batch_first(tokens), 0))
        torch.testing.assert_close(out, golden[f"{case}/out/{layer}"], rtol=1e-5, atol=1e-6)
        scalar = scalar + (out * golden[f"{case}/weight_of_out/{layer}"]).sum()
    queries = tuning.queries()
    assert (queries is None) == (variant == "plain_nolink")
    if queries is not None:
        torch.testing.assert_close(queries, golden[f"{case}/query"], rtol=1e-5, atol=1e-6)
        scalar = scalar + (queries * golden[f"{case}/weight_of_query"]).sum()
    torch.testing.assert_close(scalar, golden[f"{case}/scalar"], rtol=1e-5, atol=1e-4)
    scalar.backward()
    for layer, tokens in enumerate(inputs):
        torch.testing.assert_close(tokens.grad, golden[f"{case}/grad_in/{layer}"], rtol=1e-5, atol=1e-5)
    learned = dict(tuning.named_parameters())
    for key, expected in golden.items():
        if key.startswith(f"{case}/grad/"):
            name = our_name(key.removeprefix(f"{case}/grad/"))
            if name not in learned:
                assert not expected.any()
                continue
            torch.testing.assert_close(learned.pop(name).grad, expected, rtol=1e-4, atol=1e-5)
    assert not learned


def backbone_of(golden, image_size):
    """Return the golden's encoder, refined by Rein, for images of another size than its own 64 x 64."""
    encoder = build_encoder(
        "vit_base_patch14_dinov2.lvd142m",
        (64, 64),
        16,
        weights="random",
        overrides={"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 64, "patch_size": 16},
        positions="stretch",
    )
    tuning = ReinTuning(num_tokens=12, rank=4, query_dim=32)
    tuning.attach(encoder)
    state = {key.removeprefix("state/"): value for key, value in golden.items() if key.startswith("state/")}
    own = {name.removeprefix("reins."): value for name, value in state.items() if name.startswith("reins.")}
    tuning.load_state_dict({our_name(name): value for name, value in own.items()})
    backbone = {name: value for name, value in state.items() if "reins" not in name and name != "mask_token"}
    encoder.vit.load_state_dict(backbone)
    encoder.adapt(image_size, 16)
    return encoder.eval(), tuning


def test_rein__a_refined_backbone_gives_the_published_features():
    golden = read("rein_backbone_dinov2")
    encoder, tuning = backbone_of(golden, (64, 64))
    maps = TappedPyramid(16, (0, 1, 2, 3))(encoder, golden["native/in"])
    assert len(maps) == 4
    for i, found in enumerate(maps):
        torch.testing.assert_close(found, golden[f"native/feat/{i}"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tuning.queries(), golden["native/query"], rtol=1e-5, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_rein__a_tall_image_gives_the_published_features_with_their_positions():
    """Published positions of another grid: plain bicubic, by a factor with a tenth of a patch added."""
    golden = read("rein_backbone_dinov2")
    encoder, tuning = backbone_of(golden, (96, 64))
    table = golden["state/pos_embed"]  # (1, 1 + 16, 24)
    grid = table[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    factors = ((96 / 16 + 0.1) / 4, (64 / 16 + 0.1) / 4)
    theirs = F.interpolate(grid, scale_factor=factors, mode="bicubic")
    assert theirs.shape == (1, 24, 6, 4)
    ours = encoder.vit.pos_embed.detach().clone()
    encoder.vit.pos_embed.data = torch.cat([table[:, :1], theirs.flatten(2).transpose(1, 2)], 1)
    maps = TappedPyramid(16, (0, 1, 2, 3))(encoder, golden["tall/in"])
    assert [tuple(found.shape[2:]) for found in maps] == [(24, 16), (12, 8), (6, 4), (3, 2)]
    for i, found in enumerate(maps):
        torch.testing.assert_close(found, golden[f"tall/feat/{i}"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tuning.queries(), golden["tall/query"], rtol=1e-5, atol=1e-6)

    # Our own stretch of the same table has timm's kernel and no tenth: near, not equal.
    encoder.vit.pos_embed.data = ours
    for i, found in enumerate(TappedPyramid(16, (0, 1, 2, 3))(encoder, golden["tall/in"])):
        expected = golden[f"tall/feat/{i}"]
        assert 1e-4 < (found - expected).norm() / expected.norm() < 0.05


L, SAM = "dinov2-l", "samvit_huge_patch16.sa1b"
LINKED = {"query_dim": 256}


@pytest.mark.parametrize(
    ("encoder", "method", "options", "expected"),
    [
        (L, "rein", LINKED, 2_990_080 + 1),
        (L, "rein", {}, 2_530_816 + 1),
        (SAM, "rein", LINKED, 4_510_720 + 1),
        (L, "rein", {**LINKED, "rank": None}, 5_016_064 + 1),
        (L, "rein", {**LINKED, "rank": None, "shared": False}, 59_332_864 + 1),
        (L, "rein", {"rank": None, "shared": False}, 52_838_400 + 1),
        *(
            (L, "rein", {**LINKED, "rank": rank}, count + 1)
            for rank, count in ((4, 2_666_368), (8, 2_774_272), (32, 3_421_696), (64, 4_284_928))
        ),
        ("dinov2-b", "rein", LINKED, 1_741_568 + 1),
        ("dinov2-s", "rein", LINKED, 684_032 + 1),
        (L, "lora", {}, 786_432),
        (L, "lora", {"separate": True}, 1_179_648),
        ("eva02-l", "lora", {}, 1_179_648),
        (L, "adaptformer", {}, 3_171_840),
        (L, "vpt", {}, 3_686_400),
        (L, "frozen", {}, 0),
    ],
)
def test_tunings__learn_as_many_parameters_as_the_papers_say(encoder, method, options, expected):
    with torch.device("meta"):
        built = build_encoder(encoder, (512, 512), 16, weights="random")
        tuning = build_tuning(method, options)
        tuning.attach(built)
    learned = [*tuning.encoder_parameters(built), *tuning.added_parameters()]
    assert sum(parameter.numel() for parameter in learned) == expected
