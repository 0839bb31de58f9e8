"""What image files are known by and look like -> pictures that are there twice, in two splits or in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

import cv2
import numpy as np

from vfmseg.data.doctor_findings import plural
from vfmseg.data.doctor_report import Finding, Place
from vfmseg.data.doctor_tally import SplitTally

NEAR_BITS: Final = 4
"""Bits of 64 in which near duplicates may differ: copies at half the size or of JPEG quality 20 differ in 4
or less (119 of 120 CamVid frames), frames of different places in 9 or more."""

_COMPARED_AT_ONCE: Final = 1 << 24
"""Pairs of hashes: bounds the memory."""


def duplicate_findings(tallies: Sequence[SplitTally]) -> Iterator[Finding]:
    """Compare all images looked at: bytes within and across splits, looks across splits."""
    across = tuple(_across(tallies))
    if across:
        yield Finding(
            severity="warning",
            code="duplicate_across_splits",
            what=f"{plural(len(across), 'image')} that another split holds, too, byte for byte: "
            "scores are too good",
            remedy="Take them out of one of both splits.",
            places=across,
        )
    within = tuple(place for tally in tallies for place in _within(tally))
    if within:
        yield Finding(
            severity="info",
            code="duplicate_within_split",
            what=f"{plural(len(within), 'image')} more than once in a split, byte for byte",
            remedy="They count double; take them out if that is not meant.",
            places=within,
        )
    near = tuple(place for one, other in combinations(tallies, 2) for place in _near(one, other))
    if near:
        yield Finding(
            severity="info",
            code="near_duplicate_across_splits",
            what=f"{plural(len(near), 'image')} almost like one of another split (of an 8 x 8 "
            f"difference hash at most {NEAR_BITS} bits differ)",
            remedy="If these are copies or neighbouring frames, scores are too good: divide by sequence or "
            "place, not by picture.",
            places=near,
        )


def _across(tallies: Sequence[SplitTally]) -> Iterator[Place]:
    """Return each image that an earlier split holds, too."""
    seen: dict[bytes, str] = {}
    for tally in tallies:
        for index, digest in tally.digests.items():
            if digest in seen:
                yield Place(tally.split, tally.name(index), f"= {seen[digest]}")
        for index, digest in tally.digests.items():
            seen.setdefault(digest, f"{tally.split}: {tally.name(index)}")


def _within(tally: SplitTally) -> Iterator[Place]:
    first: dict[bytes, int] = {}
    for index, digest in tally.digests.items():
        if first.setdefault(digest, index) != index:
            yield Place(tally.split, tally.name(index), f"= {tally.name(first[digest])}")


def _near(one: SplitTally, other: SplitTally) -> Iterator[Place]:
    """Return the images of ``other`` that look almost like one of ``one`` without being the same file."""
    if not one.hashes or not other.hashes:
        return
    same = set(one.digests.values())
    indices = [index for index in other.hashes if other.digests[index] not in same]
    known_indices = list(one.hashes)
    known = _table([one.hashes[index] for index in known_indices])
    step = max(1, _COMPARED_AT_ONCE // len(known))
    for start in range(0, len(indices), step):
        part = indices[start : start + step]
        asked = _table([other.hashes[index] for index in part])
        bits, nearest = cv2.batchDistance(asked, known, cv2.CV_32S, None, None, cv2.NORM_HAMMING, 1)
        for row in np.flatnonzero(bits.reshape(-1) <= NEAR_BITS):
            twin = one.name(known_indices[int(nearest.reshape(-1)[row])])
            yield Place(other.split, other.name(part[row]), f"like {one.split}: {twin}")


def _table(hashes: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 8)  # (n, 8)
