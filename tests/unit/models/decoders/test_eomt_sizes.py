"""Sizes of the EoMT decoder: what follows from the encoder, and what is refused before anything is computed."""

import pytest

from vfmseg.errors import RecipeError
from vfmseg.models.build import build
from vfmseg.models.decoders.eomt import EoMTDecoder, default_blocks, num_upscalings

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}


def test_default_blocks__are_the_published_and_never_more_than_there_are() -> None:
    assert [default_blocks(depth) for depth in (12, 24, 40)] == [3, 4, 5]
    assert [default_blocks(depth) for depth in (1, 2, 3, 6)] == [1, 2, 3, 3]


@pytest.mark.parametrize(("patch_size", "count"), [(8, 1), (14, 1), (16, 2), (32, 3)])
def test_num_upscalings__grow_with_the_patch(patch_size: int, count: int) -> None:
    assert num_upscalings(patch_size) == count


def built(**options: int) -> EoMTDecoder:
    made = build(
        "vit_tiny_patch16_224",
        num_classes=3,
        decoder="eomt",
        image_size=32,
        weights="random",
        overrides=TINY,
        decoder_options=options,
    ).decoder
    assert isinstance(made, EoMTDecoder)
    return made


def test_build__runs_queries_through_as_many_blocks_as_there_are() -> None:
    assert built().num_blocks == 2
    assert built(num_blocks=1, num_queries=7).queries.shape == (7, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_blocks": 3}, r"decoder\.num_blocks is 3, but the encoder has 2 blocks; allowed are 1 to 2"),
        ({"num_blocks": 0}, r"num_blocks 0 and num_queries 200; both must be at least 1"),
        ({"num_queries": 0}, r"num_blocks 2 and num_queries 0; both must be at least 1"),
    ],
)
def test_build__refuses_sizes_that_make_no_sense(options: dict[str, int], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        built(**options)
