"""The arrays read out of a JSON and the rows of a data set in, the items of each row out."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vfmseg.data.json_plan import bounds
from vfmseg.data.segment_cache import Arrays
from vfmseg.types import LabelSpace

Own = TypeVar("Own", bound="FromJson")


class FromJson:
    """What annotators that read a JSON's arrays have in common: each row has a span of items.

    Args:
        label_space: the classes of the items.
        table: arrays with ``ends`` (n,), where the items of each image of the JSON end.
    """

    def __init__(self, label_space: LabelSpace, table: Arrays) -> None:
        self.label_space = label_space
        self._table = table
        self._rows: NDArray[np.int64] | None = None
        """Image of each row; None: they are the same."""

    def place(self, row: int) -> int:
        """Return which image of the JSON a row is."""
        return row if self._rows is None else int(self._rows[row])

    def span(self, row: int) -> tuple[int, int]:
        """Return the first item of a row and where its items end."""
        return bounds(self._table["ends"], self.place(row))

    def take(self: Own, kept: NDArray[np.int64]) -> Own:
        """Return the annotator of some rows."""
        taken = copy.copy(self)
        taken._rows = kept if self._rows is None else self._rows[kept]
        return taken

    def state(self) -> str:
        """Return what stands for size and time of the JSON."""
        return self._table.key

    def num_segments(self, row: int) -> int:
        """Return how many segments the JSON lists, crowds among them."""
        start, stop = self.span(row)
        return stop - start
