"""The sums of all splits -> findings on files: what has no partner, cannot be read, or does not fit its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vfmseg.data.doctor_report import Finding, Place, Severity
from vfmseg.data.doctor_tally import Oddity, SplitTally


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the run that is to follow is asked to leave out; then such files are no errors."""

    allow_unpaired: bool = False
    skip_bad: bool = False
    skip_constant_labels: bool = False
    resizes_labels: bool = False
    """The data set is known to have labels of other sizes, which are resized as published code does."""
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
    groups: dict[str, list[Place]] = {"image_without_label": [], "label_without_image": [], "listed_not_there": []}
    for tally in tallies:
        for file in tally.dataset.skipped:
            code = {
                "has no mask": "image_without_label",
                "has no label": "image_without_label",
                "has no image": "label_without_image",
            }.get(file.reason, "listed_not_there")
            detail = file.reason if code == "listed_not_there" else ""
            groups[code].append(Place(tally.split, file.name, detail))
    texts = {
        "image_without_label": ("without a label", "image", "Add the labels"),
        "label_without_image": ("without an image", "label", "Add the images, or move the labels away"),
        "listed_not_there": ("not there", "listed file", "Add the files, or correct the list"),
    }
    for code, found in groups.items():
        how, one, mend = texts[code]
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
                remedy=f"{mend}; or train without these files: --data.allow_unpaired true",
                places=tuple(found),
            )


def _unreadable(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    severity, remedy = bad_files(wishes)
    for oddity, one in (("image_unreadable", "image"), ("label_unreadable", "label")):
        found = places(tallies, oddity)  # type: ignore[arg-type] # one of the two literals above
        if found:
            yield Finding(
                severity=severity,
                code=oddity,
                what=f"{plural(len(found), one)} cannot be read",
                remedy=f"Fetch or export the files again{remedy}",
                places=found,
            )
    jpegs = places(tallies, "label_jpeg")
    if jpegs:
        yield Finding(
            severity=severity,
            code="label_jpeg",
            what=f"{plural(len(jpegs), 'label')} stored as JPEG, which changes values: class ids are lost at every border",
            remedy=f"Export the labels again, as PNG (converting the JPEGs does not bring the ids back){remedy}",
            places=jpegs,
        )


def bad_files(wishes: Wishes) -> tuple[Severity, str]:
    """Return how bad files are that ``skip_bad`` would leave out, and the end of the remedy."""
    if wishes.skip_bad:
        return "warning", ". They are left out, as data.skip_bad asks."
    return "error", "; or train without these files: --data.skip_bad true"


def _sizes(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    severity, remedy = bad_files(wishes)
    turned, other = places(tallies, "size_turned"), places(tallies, "size")
    if wishes.resizes_labels and (turned or other):
        yield Finding(
            severity="info",
            code="label_resized",
            what=f"{plural(len(turned + other), 'label')} of another size than the image: resized (nearest), as "
            "published code does for this data set",
            remedy="Nothing to do.",
            places=turned + other,
        )
        return
    if turned:
        yield Finding(
            severity=severity,
            code="size_turned",
            what=f"{plural(len(turned), 'label')} would fit only if the image were turned by 90 degrees "
            "(height x width)",
            remedy="The pictures were turned after labelling, or have lost their EXIF orientation: turn image or label "
            f"back, so that they lie on each other{remedy}",
            places=turned,
        )
    if other:
        yield Finding(
            severity=severity,
            code="size_mismatch",
            what=f"{plural(len(other), 'label')} of another size than the image (height x width)",
            remedy=f"Export image and label at one size; resized labels would be wrong at every border{remedy}",
            places=other,
        )


def _orientations(tallies: Sequence[SplitTally]) -> Iterator[Finding]:
    applied, unclear, unused = (places(tallies, o) for o in ("exif_applied", "exif_open", "exif_unused"))  # type: ignore[arg-type]
    if applied:
        yield Finding(
            severity="info",
            code="exif_applied",
            what=f"{plural(len(applied), 'image')} turned as the EXIF orientation asks, since only then the label fits",
            remedy="Nothing to do.",
            places=applied,
        )
    if unused:
        yield Finding(
            severity="info",
            code="exif_unused",
            what=f"{plural(len(unused), 'image')} with an EXIF orientation used as stored, since so the label fits: viewers "
            "show the picture turned",
            remedy="Nothing to do; `mogrify -auto-orient` would turn the pictures away from their labels.",
            places=unused,
        )
    if unclear:
        yield Finding(
            severity="warning",
            code="exif_unclear",
            what=f"{plural(len(unclear), 'image')} with an EXIF orientation that viewers follow and training does not; the "
            "size does not tell which of both the label was drawn on",
            remedy="Open one beside its label. If the label fits what the viewer shows, store the images turned: "
            "`mogrify -auto-orient FILES` (ImageMagick).",
            places=unclear,
        )
