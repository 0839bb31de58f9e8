"""A plain vision transformer in, maps at strides 4, 8, 16 and 32 out: the ViT-Adapter (arXiv 2205.08534).

A small convolutional network beside the transformer keeps what patches lose. Four times on the way through
the blocks, the two look at each other by deformable attention: first the patches at the convolutional maps
(injector), then, after some blocks, the maps at the patches (extractor).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.models.decoders.deformable_attention import DeformableAttention, cell_centres
from vfmseg.models.encoders.base import Encoder
from vfmseg.types import Size

NUM_INTERACTIONS = 4
_EPS = 1e-6


class ViTAdapter(nn.Module):
    """The published adapter, for any patch size: the convolutional maps have the strides, patches come as they are.

    Batch norms are plain ones; under several processes let the trainer convert them to synchronised ones
    (Lightning: ``sync_batchnorm``), as published. The encoder's final norm is not used.

    Args:
        encoder_dim: C, channels of the encoder's tokens, and of the maps.
        num_heads: heads of the deformable attention; by default one per 64 channels, as published.
        value_ratio: channels of the sampled values over C. The adapter's authors take 1 for ViT-S; 0.5 for all
            sizes gives the parameter counts that EoMT prints (arXiv 2503.19108, Table 3).
        prior_dim: channels of the convolutional network's first layers.

    Raises:
        RecipeError: C does not divide into the heads.
    """

    def __init__(
        self,
        encoder_dim: int,
        *,
        num_heads: int | None = None,
        value_ratio: float = 0.5,
        prior_dim: int = 64,
    ) -> None:
        super().__init__()
        heads = max(1, encoder_dim // 64) if num_heads is None else num_heads
        self.level_embed = nn.Parameter(torch.empty(3, encoder_dim))
        self.spm = SpatialPrior(encoder_dim, prior_dim)
        self.interactions = nn.ModuleList(
            _Interaction(encoder_dim, heads, value_ratio, num_extra=2 if i == NUM_INTERACTIONS - 1 else 0)
            for i in range(NUM_INTERACTIONS)
        )
        self.up = nn.ConvTranspose2d(encoder_dim, encoder_dim, 2, stride=2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.BatchNorm2d(encoder_dim) for _ in range(4))
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        nn.init.normal_(self.level_embed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                fan_out = math.prod(module.kernel_size) * module.out_channels / module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()

    def forward(self, encoder: Encoder, pixels: Tensor) -> list[Tensor]:
        """Run ``encoder`` on ``pixels`` (B, 3, H, W), adapted.

        Returns:
            Four maps (B, C, h, w) at strides 4, 8, 16 and 32 of the image, rounded up.
        """
        finest, *maps = self.spm(pixels)
        sizes: list[Size] = [(m.shape[2], m.shape[3]) for m in maps]
        levels = [
            m.flatten(2).transpose(1, 2) + of_level
            for m, of_level in zip(maps, self.level_embed, strict=True)
        ]
        prior = torch.cat(levels, dim=1)  # B N C
        places = torch.cat([cell_centres(size, prior) for size in sizes])  # N 2

        grids = []
        tokens = encoder.embed(pixels)
        for i, interaction in enumerate(self.interactions):
            run = (
                encoder.num_blocks * i // NUM_INTERACTIONS,
                encoder.num_blocks * (i + 1) // NUM_INTERACTIONS,
            )
            tokens, prior = interaction(encoder, run, tokens, prior, places, sizes)
            grids.append(encoder.to_grid(tokens))

        parts = prior.transpose(1, 2).split([h * w for h, w in sizes], dim=2)  # each B C hw
        maps = [part.unflatten(2, size) for part, size in zip(parts, sizes, strict=True)]
        h, w = finest.shape[2:]
        maps = [self.up(maps[0])[:, :, :h, :w] + finest, *maps]
        norms = (self.norm1, self.norm2, self.norm3, self.norm4)
        return [
            norm(m + F.interpolate(grid, size=m.shape[2:], mode="bilinear", align_corners=False))
            for norm, m, grid in zip(norms, maps, grids, strict=True)
        ]


class SpatialPrior(nn.Module):
    """Pixels (B, 3, H, W) in, maps (B, dim, h, w) at strides 4, 8, 16 and 32 out, by convolutions alone.

    Args:
        dim: channels of the maps.
        prior_dim: channels of the first layers.
    """

    def __init__(self, dim: int, prior_dim: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, prior_dim, stride=2),
            *_convolution(prior_dim, prior_dim),
            *_convolution(prior_dim, prior_dim),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(*_convolution(prior_dim, 2 * prior_dim, stride=2))
        self.conv3 = nn.Sequential(*_convolution(2 * prior_dim, 4 * prior_dim, stride=2))
        self.conv4 = nn.Sequential(*_convolution(4 * prior_dim, 4 * prior_dim, stride=2))
        self.fc1 = nn.Conv2d(prior_dim, dim, 1)
        self.fc2 = nn.Conv2d(2 * prior_dim, dim, 1)
        self.fc3 = nn.Conv2d(4 * prior_dim, dim, 1)
        self.fc4 = nn.Conv2d(4 * prior_dim, dim, 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the four maps, fine to coarse."""
        c1 = self.stem(pixels)
        c2 = self.conv2(c1)
        c3 = self.conv3(c2)
        c4 = self.conv4(c3)
        return self.fc1(c1), self.fc2(c2), self.fc3(c3), self.fc4(c4)


def _convolution(channels_in: int, channels_out: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class _Interaction(nn.Module):
    """An injector before some blocks of the encoder, and one or more extractors after them."""

    def __init__(self, dim: int, num_heads: int, value_ratio: float, *, num_extra: int) -> None:
        super().__init__()
        self.injector = _Injector(dim, num_heads, value_ratio)
        self.extractor = _Extractor(dim, num_heads, value_ratio)
        self.extra_extractors = nn.ModuleList(
            _Extractor(dim, num_heads, value_ratio) for _ in range(num_extra)
        )

    def forward(
        self,
        encoder: Encoder,
        run: tuple[int, int],
        tokens: Tensor,
        prior: Tensor,
        places: Tensor,
        sizes: Sequence[Size],
    ) -> tuple[Tensor, Tensor]:
        """Inject, run the blocks ``run[0]`` to ``run[1] - 1``, extract.

        Args:
            encoder: whose blocks to run.
            run: first block, and one past the last.
            tokens: (B, prefix + h*w, C) of the encoder; prefix tokens see and are seen in its blocks only.
            prior: (B, N, C), the convolutional maps.
            places: (N, 2) x, y of the maps' cells.
            sizes: (h, w) of the maps.
        """
        prefix, patches = tokens.tensor_split([encoder.num_prefix_tokens], dim=1)
        patches = self.injector(patches, cell_centres(encoder.grid_size, patches), prior, sizes)
        tokens = encoder.run_blocks(torch.cat([prefix, patches], dim=1), *run)
        patches = tokens[:, encoder.num_prefix_tokens :]
        for extractor in (self.extractor, *self.extra_extractors):
            prior = extractor(prior, places, sizes, patches, encoder.grid_size)
        return tokens, prior


class _Injector(nn.Module):
    """Patches look at the convolutional maps; what they see is added, at first not at all."""

    def __init__(self, dim: int, num_heads: int, value_ratio: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=_EPS)
        self.feat_norm = nn.LayerNorm(dim, eps=_EPS)
        self.attn = DeformableAttention(dim, num_heads=num_heads, num_levels=3, value_ratio=value_ratio)
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, patches: Tensor, places: Tensor, prior: Tensor, sizes: Sequence[Size]) -> Tensor:
        seen = self.attn(self.query_norm(patches), places, self.feat_norm(prior), sizes)
        return patches + self.gamma * seen


class _Extractor(nn.Module):
    """The convolutional maps look at the patches, then each cell at its neighbours."""

    def __init__(self, dim: int, num_heads: int, value_ratio: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(dim, eps=_EPS)
        self.feat_norm = nn.LayerNorm(dim, eps=_EPS)
        self.attn = DeformableAttention(dim, num_heads=num_heads, num_levels=1, value_ratio=value_ratio)
        self.ffn = _ConvolutionalFeedforward(dim, dim // 4)
        self.ffn_norm = nn.LayerNorm(dim, eps=_EPS)

    def forward(
        self, prior: Tensor, places: Tensor, sizes: Sequence[Size], patches: Tensor, grid_size: Size
    ) -> Tensor:
        seen = self.attn(self.query_norm(prior), places, self.feat_norm(patches), [grid_size])
        prior = prior + seen
        refined: Tensor = prior + self.ffn(self.ffn_norm(prior), sizes)
        return refined


class _ConvolutionalFeedforward(nn.Module):
    """Linear, a depthwise 3x3 convolution shared by the levels, GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.dwconv = nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1, groups=hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor, sizes: Sequence[Size]) -> Tensor:
        levels = self.fc1(tokens).transpose(1, 2).split([h * w for h, w in sizes], dim=2)
        mixed = [
            self.dwconv(level.unflatten(2, size)).flatten(2)
            for level, size in zip(levels, sizes, strict=True)
        ]
        out: Tensor = self.fc2(F.gelu(torch.cat(mixed, dim=2).transpose(1, 2)))
        return out
