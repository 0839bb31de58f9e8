"""What decoders there are: the word in a recipe, what it is, what it answers. Imports no torch."""

from __future__ import annotations

DECODERS: dict[str, str] = {
    "linear": "one linear layer on the patch tokens; semantic",
    "eomt": "encoder-only mask transformer: queries in the encoder's last blocks; semantic, panoptic, instance",
    "mask2former": "plain Mask2Former of the benchmark: 100 queries, 9 masked-attention blocks, one scale; all tasks",
    "mask2former_full": "Mask2Former with ViT-Adapter and deformable pixel decoder, or without either; all tasks",
}
