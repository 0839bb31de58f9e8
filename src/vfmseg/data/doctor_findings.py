"""The sums of all splits -> findings on files: without partner, unreadable, not fitting their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vfmseg.data.doctor_report import Finding, Place, Severity
from vfmseg.data.doctor_tally import Oddity, SplitTally

_CODE_OF_REASON: Final = {
    "has no mask": "image_without_label",
    "has no label": "image_without_label",
    "has no image": "label_without_image",
}
_MOST: Final = 0.5
"""Share of the samples above which leaving them out is no advice."""
_UNPAIRED: Final = {
    "image_without_label": ("image", "without a label", "Add the labels"),
    "label_without_image": ("label", "without an image", "Add the images, or move the labels away"),
    "listed_not_there": ("listed file", "not there", "Add the files, or correct the list"),
}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the run that is to follow is asked to leave out; then such files are no errors."""

    allow_unpaired: bool = False
    skip_bad: bool = False
    skip_constant_labels: bool = False
    is_folder: bool = True
    """It is somebody's own data, described by a YAML file."""


def places(tallies: Sequence[SplitTally], what: Oddity) -> tuple[Place, ...]:
    """Return where something odd was seen, over all splits."""
    return tuple(place for tally in tallies for place in tally.oddities[what])


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 label`` or ``3 labels``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def file_findings(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    """Say what is wrong with files, whatever their labels mean."""
    yield from _unpaired(tallies, wishes)
    for tally in tallies:
        if not len(tally.dataset):
            yield Finding(
                severity="error",
                code="empty_split",
                what=f"the split {tally.split} is empty: no image has a label",
                remedy="Give the images of the split their labels.",
            )
    yield from _unreadable(tallies, wishes)
    yield from _sizes(tallies, wishes)
    yield from _orientations(tallies)


def _unpaired(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    groups: dict[str, list[Place]] = {code: [] for code in _UNPAIRED}
    for tally in tallies:
        for file in tally.dataset.skipped:
            code = _CODE_OF_REASON.get(file.reason, "listed_not_there")
            detail = file.reason if code == "listed_not_there" else ""
            groups[code].append(Place(tally.split, file.name, detail))
    for code, found in groups.items():
        one, how, mend = _UNPAIRED[code]
        if found and wishes.allow_unpaired:
            yield Finding(
                severity="warning",
                code=code,
                what=f"{plural(len(found), one)} {how}: left out, as data.allow_unpaired asks",
                remedy=f"{mend}, if these should be used.",
                places=tuple(found),
            )
        elif found:
            yield Finding(
                severity="error",
                code=code,
                what=f"{plural(len(found), one)} {how}",
                remedy=f"{mend}; or leave them out: --data.allow_unpaired true",
                places=tuple(found),
            )


def bad_files(
    code: str,
    what: str,
    mend: str,
    found: tuple[Place, ...],
    *,
    tallies: Sequence[SplitTally],
    wishes: Wishes,
) -> Finding:
    """Return the finding on files that stop a run, unless ``skip_bad`` leaves them out.

    Args:
        code: of the finding.
        what: the sentence.
        mend: what to do, without its full stop.
        found: the files.
        tallies: all splits.
        wishes: what the run will leave out.
    """
    end = "; or leave them out: --data.skip_bad true"
    if len(found) > _MOST * sum(tally.num_examined for tally in tallies):
        end = "."  # leaving them out would leave next to nothing
    if wishes.skip_bad:
        end = ". They are left out, as data.skip_bad asks."
    severity: Severity = "warning" if wishes.skip_bad else "error"
    return Finding(severity=severity, code=code, what=what, remedy=mend + end, places=found)


def _unreadable(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    oddities: tuple[tuple[Oddity, str, str, str], ...] = (
        ("image_unreadable", "image", "cannot be read", "Fetch or export the files again"),
        ("label_unreadable", "label", "cannot be read", "Fetch or export the files again"),
        (
            "label_jpeg",
            "label",
            "stored as JPEG, which changes values: class ids are lost at every border",
            "Export the labels again, as PNG: converting them does not bring the ids back",
        ),
    )
    for oddity, one, what, mend in oddities:
        found = places(tallies, oddity)
        if found:
            sentence = f"{plural(len(found), one)} {what}"
            yield bad_files(oddity, sentence, mend, found, tallies=tallies, wishes=wishes)


def _sizes(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    turned, other = places(tallies, "size_turned"), places(tallies, "size")
    known = places(tallies, "size_known")
    if turned:
        yield bad_files(
            "size_turned",
            f"{plural(len(turned), 'label')} would fit the image only if one of both were turned by 90 "
            "degrees",
            "The image was turned after labelling, or has lost its EXIF orientation: turn one of both, so "
            "that they lie on each other",
            turned,
            tallies=tallies,
            wishes=wishes,
        )
    if other:
        yield bad_files(
            "size_mismatch",
            f"{plural(len(other), 'label')} of another size than the image (height x width)",
            "Export both at one size: a resized label would be wrong at every border",
            other,
            tallies=tallies,
            wishes=wishes,
        )
    if known:
        yield Finding(
            severity="info",
            code="label_resized",
            what=f"{plural(len(known), 'label')} of another size than the image: resized (nearest), as "
            "published code does for this data set",
            remedy="",
            places=known,
        )


def _orientations(tallies: Sequence[SplitTally]) -> Iterator[Finding]:
    applied, unused = places(tallies, "exif_applied"), places(tallies, "exif_unused")
    unclear = places(tallies, "exif_unclear")
    if applied:
        yield Finding(
            severity="info",
            code="exif_applied",
            what=f"{plural(len(applied), 'image')} with an EXIF orientation, turned as it asks: only then "
            "the label fits",
            remedy="",
            places=applied,
        )
    if unused:
        yield Finding(
            severity="info",
            code="exif_unused",
            what=f"{plural(len(unused), 'image')} with an EXIF orientation, not turned: the label fits what "
            "is stored, though viewers show it turned",
            remedy="Leave them so: `mogrify -auto-orient` would turn the images away from their labels.",
            places=unused,
        )
    if unclear:
        yield Finding(
            severity="warning",
            code="exif_unclear",
            what=f"{plural(len(unclear), 'image')} with an EXIF orientation, which viewers follow and "
            "training does not; the size does not tell on which of both the label was drawn",
            remedy="Open one beside its label. If the label fits what the viewer shows, store the images "
            "turned: `mogrify -auto-orient FILES` (ImageMagick).",
            places=unclear,
        )
