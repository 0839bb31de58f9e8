"""Low-rank updates of a frozen encoder's linear layers: LoRA (arXiv 2106.09685), and SoMA (arXiv 2412.04077)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from scipy import linalg
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.tuning.base import Tuning

Layers = Literal["qkv", "attention", "all"]


class LowRankLinear(nn.Linear):
    """A linear layer and an update of low rank: W x + b + scale * U D x.

    Takes the place of ``source`` and its weights over, under the same names.

    Args:
        source: what is updated; stays as it is.
        rank: r.
        parts: the output is so many equal parts (query, key, value), each with an update of its own.
        scale: factor of the update.
    """

    def __init__(self, source: nn.Linear, rank: int, *, parts: int = 1, scale: float = 1.0) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = source.in_features, source.out_features
        self.weight, self.bias = source.weight, source.bias
        self.scale = scale
        self.down = nn.Parameter(torch.empty(parts * rank, source.in_features, device=source.weight.device))
        self.up = nn.Parameter(
            torch.empty(parts, source.out_features // parts, rank, device=source.weight.device)
        )
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        nn.init.zeros_(self.up)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (..., out) for ``tokens`` (..., in)."""
        down, up = self.factors()
        plain = super().forward(tokens)
        low = F.linear(tokens, down)
        # One product that adds to what is there; a sum of its own would read and write all of it once more.
        updated = torch.addmm(
            plain.flatten(0, -2), low.flatten(0, -2), up.t().to(low.dtype), alpha=self.scale
        )
        return updated.view_as(plain)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return D (parts*r, in) and U (out, parts*r); updates of parts stand on the diagonal of U."""
        return self.down, self.up[0] if len(self.up) == 1 else torch.block_diag(*self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a plain layer with the update in its weight."""
        plain = nn.Linear(1, 1)
        plain.in_features, plain.out_features = self.in_features, self.out_features
        down, up = self.factors()
        update = (up.double() @ down.double()) * self.scale
        plain.weight = nn.Parameter(
            (self.weight.double() + update).to(self.weight.dtype), requires_grad=False
        )
        plain.bias = self.bias
        return plain


class MinorLinear(LowRankLinear):
    """A linear layer whose update starts as the minor singular components of its weight, which it so replaces.

    W x + b + (U D - U0 D0) x with U D = U0 D0 = the components of the r smallest singular values at the start. What
    the weight is best at, its major components, is out of reach of the update's start.

    Args:
        source: what is updated.
        rank: r.
    """

    def __init__(self, source: nn.Linear, rank: int) -> None:
        super().__init__(source, rank)
        if not source.weight.is_meta:
            up, down = minor_components(source.weight.detach(), rank)
            with torch.no_grad():
                self.down.copy_(down)
                self.up.copy_(up[None])
        self.register_buffer("down_at_start", self.down.detach().clone())
        self.register_buffer("up_at_start", self.up.detach().clone())

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return D (2r, in) and U (out, 2r): the update, and its start taken away."""
        down = torch.cat([self.down, self.get_buffer("down_at_start")])
        return down, torch.cat([self.up[0], -self.get_buffer("up_at_start")[0]], 1)


def minor_components(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return U (out, r) and D (r, in), whose product is the components of ``weight`` of the r smallest singular values.

    From the eigenvectors of the smaller side's Gram matrix, of which only the r wanted are computed: several times as
    fast as a whole decomposition.
    """
    exact = weight.double().cpu()
    wide = exact if exact.shape[0] <= exact.shape[1] else exact.t()  # n x N with n <= N
    values, vectors = linalg.eigh((wide @ wide.t()).numpy(), subset_by_index=[0, rank - 1])
    of_side = torch.from_numpy(vectors)  # n r
    components = of_side.t() @ wide  # r N
    # Both factors share the size of the singular values; components of size 0 keep a direction to learn in.
    root = torch.from_numpy(values).clamp(min=0).pow(0.25).clamp(min=1e-6)
    small, large = of_side * root, components / root[:, None]
    up, down = (small, large) if wide is exact else (large.t(), small.t())
    return up.to(weight), down.to(weight)


class _LowRankTuning(Tuning):
    can_merge = True
    layers: Layers
    rank: int

    def attach(self, encoder: Encoder) -> None:
        """Freeze ``encoder`` and replace its layers by such with an update.

        Raises:
            RecipeError: a rank that a layer does not have, or blocks without the layers.
        """
        if self.rank < 1:
            raise RecipeError(f"tuning {self.name} has rank {self.rank}; at least 1 is needed.")
        encoder.requires_grad_(False)
        self._updated: list[LowRankLinear] = []
        for block in encoder.blocks:
            found = list(_linear_layers(block, self.layers))
            if not found:
                raise RecipeError(
                    f"tuning {self.name} finds no linear layers of `{self.layers}` in {type(block).__name__}. "
                    "Take rein or vpt, which do not look into blocks."
                )
            for parent, name, layer in found:
                most = min(layer.in_features, layer.out_features)
                if self.rank > most:
                    raise RecipeError(
                        f"tuning {self.name} has rank {self.rank}, but a layer of {layer.in_features} x "
                        f"{layer.out_features} has {most} at most."
                    )
                update = self._update(layer, name)
                setattr(parent, name, update)
                self._updated.append(update)

    def added_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the factors of all updates."""
        for layer in self._updated:
            yield layer.down
            yield layer.up

    def added_tensors(self) -> Iterator[Tensor]:
        """Yield the factors of all updates, and those that they started as where that is not nothing."""
        for layer in self._updated:
            yield layer.down
            yield layer.up
            yield from layer.buffers()

    def merge(self, encoder: Encoder) -> None:
        """Add the updates to the weights and put plain layers back."""
        for block in encoder.blocks:
            for parent, name, layer in list(_linear_layers(block, self.layers)):
                if isinstance(layer, LowRankLinear):
                    setattr(parent, name, layer.merged())
        self._updated = []

    def _update(self, layer: nn.Linear, name: str) -> LowRankLinear:
        raise NotImplementedError


class LoraTuning(_LowRankTuning):
    """Train low-rank updates that start at zero.

    Args:
        rank: r.
        alpha: the update is scaled by alpha / rank; None for 1.
        layers: ``qkv``: query, key and value; ``attention``: these and the projection after attention; ``all``:
            the feed-forward layers, too.
        separate: query, key and value have an update each even where the encoder computes them by one layer.
    """

    name = "lora"

    def __init__(
        self, *, rank: int = 8, alpha: float | None = None, layers: Layers = "qkv", separate: bool = False
    ) -> None:
        super().__init__()
        self.rank, self.layers, self.separate = rank, layers, separate
        self.scale = 1.0 if alpha is None else alpha / max(1, rank)

    def _update(self, layer: nn.Linear, name: str) -> LowRankLinear:
        parts = 3 if self.separate and name == "qkv" else 1
        return LowRankLinear(layer, self.rank, parts=parts, scale=self.scale)


class SomaTuning(_LowRankTuning):
    """Train the minor singular components of the layers' weights.

    Args:
        rank: r.
        layers: as of :class:`LoraTuning`.
    """

    name = "soma"

    def __init__(self, *, rank: int = 16, layers: Layers = "all") -> None:
        super().__init__()
        self.rank, self.layers = rank, layers

    def _update(self, layer: nn.Linear, name: str) -> LowRankLinear:
        return MinorLinear(layer, self.rank)


def _linear_layers(block: nn.Module, layers: Layers) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Yield (parent, name, layer) of the linear layers of ``block`` that ``layers`` means."""
    for part, names in (
        ("attn", ("qkv", "q_proj", "k_proj", "v_proj") if layers == "qkv" else None),
        ("mlp", None if layers == "all" else ()),
    ):
        parent = getattr(block, part, None)
        if not isinstance(parent, nn.Module):
            continue
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and (names is None or name in names):
                yield parent, name, layer
