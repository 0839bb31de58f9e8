import pytest
import torch
from torch import Tensor

from vfmseg.models.decoders.pixel_decoder import PixelDecoder

SIZES = [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def tiny() -> PixelDecoder:
    return PixelDecoder(10, 16, num_layers=2, num_heads=2, num_points=2, feedforward_dim=24, num_groups=4)


def pyramid(batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, 10, *size) for size in SIZES]


def test_pixel_decoder__levels_from_coarse_to_fine() -> None:
    mask_features, levels = tiny()(pyramid())
    assert mask_features.shape == (2, 16, 16, 24)
    assert [tuple(level.shape) for level in levels] == [(2, 16, *size) for size in SIZES[:0:-1]]


def test_pixel_decoder__published_sizes_by_default() -> None:
    with torch.device("meta"):
        decoder = PixelDecoder(1024)
    assert len(decoder.layers) == 6
    assert decoder.layers[0].attention.sampling_offsets.out_features == 8 * 3 * 4 * 2
    assert decoder.layers[0].feedforward[0].out_features == 1024
    assert decoder.mask_features.out_channels == 256


def test_pixel_decoder__every_parameter_learns() -> None:
    decoder, maps = tiny(), [m.requires_grad_() for m in pyramid()]
    for layer in decoder.layers:  # these start at zero, and then nothing depends on what a token asks
        for asking in (layer.attention.sampling_offsets, layer.attention.attention_weights):
            asking.weight.data += 0.2 * torch.randn_like(asking.weight)
    mask_features, levels = decoder(maps)
    (mask_features.square().sum() + sum(level.square().sum() for level in levels)).backward()
    assert not [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(m.grad is not None and m.grad.any() for m in maps)


def test_pixel_decoder__scales_see_each_other() -> None:
    decoder, maps = tiny(), pyramid(1)
    before = decoder(maps)[1]
    maps[3] = maps[3] + 1 + torch.randn_like(maps[3])
    after = decoder(maps)[1]
    assert not torch.allclose(before[2], after[2], atol=1e-4)  # stride 8 has looked at stride 32


def test_pixel_decoder__float32_under_autocast() -> None:
    decoder, maps = tiny(), pyramid()
    expected = decoder(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = decoder(maps)
        halves = decoder([m.bfloat16() for m in maps])
    assert found[0].equal(expected[0])
    assert halves[0].dtype == halves[1][0].dtype == torch.float32
    torch.testing.assert_close(halves[0], expected[0], rtol=0.05, atol=0.05)


def test_pixel_decoder__in_another_precision_altogether() -> None:
    mask_features, levels = tiny().bfloat16()(pyramid())
    assert mask_features.dtype == levels[0].dtype == torch.bfloat16
