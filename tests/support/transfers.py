"""Counts what brings numbers from a device to the host, each of which waits for all that the device still has to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Scalars(TorchDispatchMode):
    """Notes every question for a single number: ``item``, ``bool``, ``int``, ``float``."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self._seen.append("scalar")
        return func(*args, **(kwargs or {}))


@contextmanager
def transfers() -> Iterator[list[str]]:
    """Yield a list to which every transfer adds a word while the context lasts."""
    seen: list[str] = []

    def noted(name: str) -> Any:
        real = getattr(Tensor, name)

        def call(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
            seen.append(name)
            return real(tensor, *arguments, **options)

        return call

    with mock.patch.object(Tensor, "cpu", noted("cpu")), _Scalars(seen):
        yield seen
