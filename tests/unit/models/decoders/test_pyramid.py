import pytest
import torch
from torch import Tensor, nn

from vfmseg.errors import RecipeError
from vfmseg.models.decoders.pyramid import FeaturePyramid, PyramidProjection, TappedPyramid
from vfmseg.models.encoders.load import build_encoder


class Encoder(nn.Module):
    """Patches of ``patch_size`` pixels, embedded."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, patch_size, stride=patch_size)

    def forward_grid(self, pixels: Tensor) -> Tensor:
        grid: Tensor = self.layer(pixels)
        return grid


@pytest.mark.parametrize(
    ("patch_size", "sizes"),
    [
        (16, [(16, 24), (8, 12), (4, 6), (2, 3)]),
        (8, [(16, 24), (8, 12), (4, 6), (2, 3)]),
        (32, [(16, 24), (8, 12), (4, 6), (2, 3)]),
        (14, [(16, 24), (8, 12), (4, 6), (2, 3)]),  # strides 3.5, 7, 14, 28 of 56 x 84
    ],
)
def test_pyramid__four_scales_at_any_patch_size(patch_size: int, sizes: list[tuple[int, int]]) -> None:
    height, width = (56, 84) if patch_size == 14 else (64, 96)
    maps = FeaturePyramid(8, patch_size)(Encoder(patch_size), torch.randn(2, 3, height, width))  # type: ignore[arg-type]
    assert [tuple(m.shape) for m in maps] == [(2, 8, *size) for size in sizes]


def test_pyramid__the_patch_stride_is_the_map_itself() -> None:
    encoder, pixels = Encoder(16), torch.randn(1, 3, 32, 32)
    maps = FeaturePyramid(8, 16)(encoder, pixels)  # type: ignore[arg-type]
    assert maps[2].equal(encoder.forward_grid(pixels))


def test_pyramid__strides_share_no_block() -> None:
    pyramid = FeaturePyramid(8, 16)
    assert [len(scale) for scale in pyramid.scales] == [2, 1, 0, 1]
    assert [len(scale) for scale in FeaturePyramid(8, 16, (4, 16)).scales] == [2, 0]


def test_projection__levels_from_coarse_to_fine() -> None:
    projection = PyramidProjection(8, 12, num_levels=2)
    fine, middle, coarse = (torch.randn(2, 8, side, side) for side in (8, 4, 2))
    mask_features, levels = projection([fine, middle, coarse])
    assert mask_features.shape == (2, 12, 8, 8)
    assert [level.shape[2] for level in levels] == [2, 4]
    assert levels[0].equal(projection.input_projections[0](coarse))


def test_taps__are_the_blocks_outputs_and_later_blocks_are_not_run() -> None:
    overrides = {"embed_dim": 16, "depth": 6, "num_heads": 2}
    encoder = build_encoder(
        "vit_tiny_patch16_224", (32, 64), 16, weights="random", overrides=overrides
    ).eval()
    pixels = torch.randn(2, 3, 32, 64)
    ran: list[int] = []
    for index, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    maps = TappedPyramid(16, (0, 1, 3, 4))(encoder, pixels)
    assert ran == [0, 1, 2, 3, 4]
    assert [tuple(m.shape) for m in maps] == [(2, 16, *size) for size in ((8, 16), (4, 8), (2, 4), (1, 2))]
    assert maps[2].equal(encoder.to_grid(encoder.run_blocks(encoder.embed(pixels), 0, 4)))


def test_taps__of_an_image_smaller_than_the_stride() -> None:
    encoder = build_encoder(
        "vit_tiny_patch16_224",
        (16, 64),
        16,
        weights="random",
        overrides={"embed_dim": 16, "depth": 4, "num_heads": 2},
    )
    with pytest.raises(
        RecipeError, match=r"a map at stride 32, but encoder.image_size is 16x64; take a larger"
    ):
        TappedPyramid(16, (0, 1, 2, 3))(encoder, torch.randn(1, 3, 16, 64))
