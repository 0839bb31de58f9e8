"""What decoders there are: the word in a recipe, what it is, what it answers. Imports no torch."""

from __future__ import annotations

DECODERS: dict[str, str] = {
    "linear": "one linear layer on the patch tokens; semantic",
    "mask2former": "plain Mask2Former of the benchmark: 100 queries, 9 masked-attention blocks, one scale; semantic",
}
