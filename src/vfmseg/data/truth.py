"""A data set of flat segment maps in, the same samples with their objects as annotated out, for evaluation."""

from __future__ import annotations

from dataclasses import replace

from vfmseg.data.dataset import SegmentationDataset
from vfmseg.types import InstanceTruth, Sample


class WithTruth:
    """Adds to each sample the masks of its objects, which may overlap where the flat map shows the smaller only."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample and its objects."""
        found = self.dataset.instance_truth(index)
        truth = InstanceTruth(found.packed_masks, found.classes, found.is_crowd, found.areas, found.size)
        return replace(self.dataset[index], truth=truth)
