"""What every tuning must do, on a tiny encoder of every family."""

import copy

import pytest
import torch

from support.encoders import FAMILIES, encoder_like, timm_reference
from vfmseg.errors import RecipeError
from vfmseg.models.tuning.catalog import TUNINGS, build_tuning

SMALL = {
    "rein": {"num_tokens": 5, "rank": 2, "query_dim": 8},
    "lora": {"rank": 2},
    "soma": {"rank": 2},
    "adaptformer": {"bottleneck": 4},
    "vpt": {"num_tokens": 3},
    "partial": {"num_blocks": 1},
}
START_AS_THE_ENCODER = ("full", "frozen", "lora", "soma", "adaptformer", "bitfit", "partial")
MERGEABLE = ("full", "frozen", "lora", "soma", "bitfit", "partial")
NO_PLACE = {("sam", "vpt"), ("parallel", "adaptformer"), ("parallel", "lora"), ("parallel", "soma")}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Return a function from a family to a fresh encoder with weights of its own."""
    folder, built = tmp_path_factory.mktemp("weights"), {}

    def encoder(family):
        if family not in built:
            reference = timm_reference(family)
            embed = reference.patch_embed
            built[family] = encoder_like(family, reference, folder, embed.img_size, embed.patch_size[0])
        return copy.deepcopy(built[family])

    return encoder


def tuned(encoder, name):
    torch.manual_seed(1)
    tuning = build_tuning(name, SMALL.get(name))
    tuning.attach(encoder)
    return tuning


def pixels_for(encoder):
    return torch.randn(2, 3, *encoder.image_size, generator=torch.Generator().manual_seed(0))


def learned(encoder, tuning):
    """Return name -> parameter of all that may change."""
    both = [*encoder.named_parameters(), *tuning.named_parameters("tuning")]
    wanted = {id(p) for p in (*tuning.encoder_parameters(encoder), *tuning.added_parameters())}
    return {name: p for name, p in both if id(p) in wanted}


@pytest.mark.parametrize("name", TUNINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_tuning__two_steps_change_what_it_names_and_nothing_else(encoders, family, name):
    encoder = encoders(family)
    plain = copy.deepcopy(encoder)
    if (family, name) in NO_PLACE:
        with pytest.raises(RecipeError):
            tuned(encoder, name)
        return
    tuning = tuned(encoder, name)
    pixels = pixels_for(encoder)
    encoder.train(tuning.encoder_learns)
    with torch.no_grad():
        start = encoder.forward_grid(pixels)
        if name in START_AS_THE_ENCODER:
            plain.train(tuning.encoder_learns)
            torch.testing.assert_close(start, plain.forward_grid(pixels), rtol=1e-3, atol=1e-4)
    names = learned(encoder, tuning)
    everything = {**dict(encoder.named_parameters()), **dict(tuning.named_parameters("tuning"))}
    assert {n for n, p in everything.items() if p.requires_grad} == set(names)
    if name == "frozen":
        assert not names
        assert not encoder.forward_grid(pixels).requires_grad
        return
    before = {n: p.detach().clone() for n, p in everything.items()}
    optimiser = torch.optim.SGD(names.values(), lr=0.1)
    for _ in range(2):  # what starts at zero passes no gradient on before it has moved
        optimiser.zero_grad()
        features = encoder.forward_grid(pixels)
        queries = tuning.queries()
        loss = features.square().mean() + (0 if queries is None else queries.square().mean())
        loss.backward()
        optimiser.step()
    changed = {n for n, p in everything.items() if not torch.equal(p, before[n])}
    if name not in ("full", "bitfit", "partial"):  # there, parts such as a key's bias have no influence
        assert changed == set(names)
    assert changed
    assert changed <= set(names)
    assert not torch.equal(encoder.forward_grid(pixels), start)


@pytest.mark.parametrize("name", [n for n in TUNINGS if n not in ("full", "frozen")])
@pytest.mark.parametrize("family", ["dinov2_reg", "dinov3", "eva02", "clip"])
def test_tuning__queries_among_the_tokens_keep_their_masks(encoders, family, name):
    """A query that may see no patch is the same whatever the patches are, if it is alone with the prefix."""
    encoder = encoders(family).eval()
    tuned(encoder, name)
    tokens = encoder.embed(pixels_for(encoder))
    tokens = torch.cat([torch.zeros(2, 2, encoder.embed_dim), tokens], 1)
    patches = encoder.grid_size[0] * encoder.grid_size[1]
    mask = torch.zeros(2, 2, patches, dtype=torch.bool)
    other = tokens.clone()
    other[:, -patches:] += 1
    with torch.no_grad():
        one, two = (encoder.run_blocks(t, 0, 1, mask=mask, num_extra=2) for t in (tokens, other))
        free = encoder.run_blocks(other, 0, 1, num_extra=2)
    torch.testing.assert_close(one[:, :2], two[:, :2])
    assert not torch.equal(free[:, :2], two[:, :2])


@pytest.mark.parametrize("name", TUNINGS)
@pytest.mark.parametrize("family", ["dinov2", "eva02", "sam", "dinov3"])
def test_tuning__merged_weights_give_equal_outputs(encoders, family, name):
    encoder = encoders(family).eval()
    if (family, name) in NO_PLACE:
        pytest.skip("has no place there")
    tuning = tuned(encoder, name)
    assert tuning.can_merge == (name in MERGEABLE)
    if name not in MERGEABLE:
        with pytest.raises(RecipeError, match="cannot be merged"):
            tuning.merge(encoder)
        return
    generator = torch.Generator().manual_seed(2)
    for parameter in learned(encoder, tuning).values():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    pixels = pixels_for(encoder)
    with torch.no_grad():
        expected = encoder.forward_grid(pixels)
        plain = encoders(family).eval()
        wanted = set(plain.state_dict())
        tuning.merge(encoder)
        assert set(encoder.state_dict()) == wanted
        assert not list(tuning.added_parameters())
        torch.testing.assert_close(encoder.forward_grid(pixels), expected, rtol=1e-4, atol=1e-4)
        plain.load_state_dict(encoder.state_dict())
        torch.testing.assert_close(plain.forward_grid(pixels), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TUNINGS)
def test_tuning__a_copy_is_a_model_of_its_own(encoders, name):
    encoder = encoders("dinov2")
    holder = torch.nn.ModuleDict({"encoder": encoder, "tuning": tuned(encoder, name)}).eval()
    twin = copy.deepcopy(holder)
    pixels = pixels_for(encoder)
    with torch.no_grad():
        expected = encoder.forward_grid(pixels)
        for parameter in holder.parameters():
            parameter.zero_()
        torch.testing.assert_close(twin["encoder"].forward_grid(pixels), expected)


@pytest.mark.parametrize("name", TUNINGS)
def test_tuning__recomputed_blocks_give_the_same_gradients(encoders, name):
    encoder = encoders("dinov2")
    tuning = tuned(encoder, name)
    pixels = pixels_for(encoder)
    if name == "frozen":
        pytest.skip("has no gradients")

    def gradients():
        found = torch.autograd.grad(
            encoder.forward_grid(pixels).square().mean(), names.values(), allow_unused=True
        )
        return [g for g in found if g is not None]

    names = learned(encoder, tuning)
    kept = gradients()
    encoder.set_checkpointing(True)
    recomputed = gradients()
    assert len(kept) == len(recomputed) > 0
    for one, two in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(one, two)
