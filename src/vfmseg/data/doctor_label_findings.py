"""The sums of all splits -> findings on labels: values without class, classes never shown, lost pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from vfmseg.data.doctor_findings import Wishes, bad_files, places, plural
from vfmseg.data.doctor_report import Finding, Place
from vfmseg.data.doctor_tally import MAX_COLOURS, Classes, SplitTally, value_text
from vfmseg.types import IGNORE_INDEX

_SHOWN: Final = 8
_MUCH: Final = 0.5
"""Share of ignored pixels, or of labels of one class, from which it is worth a warning."""
_BINARY: Final = {0, 255}
_BINARY_YAML: Final = "names: {0: background, 1: object}\nlabel_map: {0: 0, 255: 1}"


def label_findings(
    tallies: Sequence[SplitTally], classes: Classes | None, wishes: Wishes
) -> Iterator[Finding]:
    """Say what is wrong with the content of labels."""
    if classes is not None:
        yield from _unknown(tallies, classes, wishes)
        yield from _never_shown(tallies, classes, wishes)
        yield from _nothing_to_learn(tallies, wishes)
    yield from _binary(tallies, classes)
    yield from _storage(tallies)


def no_names(proposal: str, save_as: str) -> Finding:
    """Say that the classes have no names yet, and what to do with the proposal."""
    mend = f"Save the lines below here as {save_as}, correct the names, then\n  vfmseg check-data {save_as}"
    return Finding(
        severity="error",
        code="no_class_names",
        what="the classes have no names yet",
        remedy=mend if proposal else "First make the labels readable; then this proposes a description.",
    )


def _unknown(tallies: Sequence[SplitTally], classes: Classes, wishes: Wishes) -> Iterator[Finding]:
    found = places(tallies, "unknown")
    if found:
        kinds = (False, True) if classes.has_colours else (False,)
        yield bad_files(
            "unknown_values",
            f"{plural(len(found), 'label')} with values that no class has: {_without_class(tallies, kinds)}",
            _mend_unknown(tallies, classes) if wishes.is_folder else "Fetch the published labels again",
            found,
            tallies=tallies,
            wishes=wishes,
        )
    grey, unnamed = places(tallies, "colours_grey"), places(tallies, "colours_unnamed")
    if grey:
        yield bad_files(
            "grey_stored_as_rgb",
            f"{plural(len(grey), 'label')} stored as RGB with three equal channels",
            "Store one channel: `mogrify -colorspace Gray -type Grayscale FILES` (ImageMagick)",
            grey,
            tallies=tallies,
            wishes=wishes,
        )
    if unnamed:
        yield bad_files(
            "rgb_without_colours",
            f"{plural(len(unnamed), 'label')} stored as RGB, and no class has a colour; there are "
            f"{_without_class(tallies, (True,))}",
            "In the YAML file, list the colour of each class: `colours: {0: [r, g, b], ...}`",
            unnamed,
            tallies=tallies,
            wishes=wishes,
        )


def _without_class(tallies: Sequence[SplitTally], kinds: Sequence[bool]) -> str:
    """Return the values, the colours or both that no class has, those of the most pixels first."""
    counted: list[tuple[int, int, str]] = []
    for is_colour in kinds:
        for code in _codes_without_class(tallies, is_colour=is_colour):
            pixels = sum(tally.pixels[is_colour][code] for tally in tallies)
            images = sum(tally.images[is_colour][code] for tally in tallies)
            counted.append((pixels, images, value_text(code, is_colour=is_colour)))
    counted.sort(key=lambda item: -item[0])
    total = max(1, sum(pixels.total() for tally in tallies for pixels in tally.pixels.values()))
    shown = ", ".join(
        f"{value} ({100 * pixels / total:.2g} % of pixels, {plural(images, 'label')})"
        for pixels, images, value in counted[:_SHOWN]
    )
    more = len(counted) - _SHOWN
    at_least = "at least " if any(tally.has_more_colours for tally in tallies) else ""
    return shown + (f" and {at_least}{more} more" if more > 0 else "")


def _codes_without_class(tallies: Sequence[SplitTally], *, is_colour: bool) -> list[int]:
    found = {
        code
        for tally in tallies
        for code in tally.pixels[is_colour]
        if tally.classes is not None and tally.classes.of(code, is_colour=is_colour) is None
    }
    return sorted(found)


def _mend_unknown(tallies: Sequence[SplitTally], classes: Classes) -> str:
    """Return what to write in the YAML file, with a value or colour that occurs."""
    if classes.has_colours and _codes_without_class(tallies, is_colour=True):
        return "In the YAML file, list them under colours (`ignore: [[r, g, b]]` for no class)"
    unknown = _codes_without_class(tallies, is_colour=False)
    ignored = [value for value, i in classes.label_map.raw_to_id.items() if i == IGNORE_INDEX]
    known = f"Known are {classes.label_map.raw_values}"
    if len(unknown) > _SHOWN:
        return f"If these are class ids, give them names in the YAML file; else correct the labels. {known}"
    return (
        "In the YAML file, give them names; or, if they mean `no class`, write "
        f"`ignore_index: {sorted({*unknown, *ignored})}`. {known}"
    )


def _never_shown(tallies: Sequence[SplitTally], classes: Classes, wishes: Wishes) -> Iterator[Finding]:
    consequences = {
        "train": ("cannot be learned", "Add images that show them, or take them out of names."),
        "val": ("cannot be scored, so the mean IoU is over the others", "Move images that show them to val."),
        "test": ("cannot be scored, so the mean IoU is over the others", ""),
    }
    for tally in tallies:
        missing = [
            name for name, pixels in zip(classes.names, tally.class_pixels(), strict=True) if not pixels
        ]
        if not missing or not tally.num_labels:
            continue
        is_partial = tally.num_examined < len(tally.dataset)
        consequence, remedy = consequences[tally.split]
        if not wishes.is_folder:
            remedy = "Fine if these are not all files of the data set."
        where = f"the {plural(tally.num_examined, 'label')} looked at" if is_partial else "any label"
        yield Finding(
            severity="info" if is_partial or tally.split == "test" else "warning",
            code=f"class_not_in_{tally.split}",
            what=f"{plural(len(missing), 'class', 'classes')} of {len(classes.names)} not in {where} of "
            f"{tally.split}: {consequence}",
            remedy="Look at all labels (without --limit) to be sure." if is_partial else remedy,
            places=tuple(Place(tally.split, name) for name in missing),
        )


def _nothing_to_learn(tallies: Sequence[SplitTally], wishes: Wishes) -> Iterator[Finding]:
    void, constant = places(tallies, "void"), places(tallies, "constant")
    left_out = " (left out, as data.skip_constant_labels asks)" if wishes.skip_constant_labels else ""
    if void:
        yield Finding(
            severity="info" if wishes.skip_constant_labels else "warning",
            code="all_void",
            what=f"{plural(len(void), 'label')} without any class, only ignored pixels: nothing to learn or "
            f"score{left_out}",
            remedy="Label these images or take them out; or leave out labels of one value: "
            "--data.skip_constant_labels true",
            places=void,
        )
    if constant:
        is_much = len(constant) > _MUCH * sum(tally.num_labels for tally in tallies)
        yield Finding(
            severity="warning" if is_much and not wishes.skip_constant_labels else "info",
            code="constant_label",
            what=f"{plural(len(constant), 'label')} with one single class{left_out}",
            remedy="Fine where a picture shows one thing; many are a sign of a failed export. To leave them "
            "out, as published code does: --data.skip_constant_labels true",
            places=constant,
        )
    for tally in tallies:
        share = tally.facts().ignored_share
        if share > _MUCH and len(tally.oddities["void"]) < tally.num_labels:
            yield Finding(
                severity="warning",
                code="mostly_ignored",
                what=f"{100 * share:.0f} % of the {tally.split} pixels are ignored",
                remedy="If that is background, make it a class: otherwise nothing is learned about it, and "
                "predictions there are arbitrary.",
            )


def _binary(tallies: Sequence[SplitTally], classes: Classes | None) -> Iterator[Finding]:
    values = set().union(*(tally.pixels[False] for tally in tallies))
    if values != _BINARY or any(tally.pixels[True] for tally in tallies):
        return
    if classes is None:
        yield Finding(
            severity="info",
            code="binary_masks",
            what="the labels hold 0 and 255 only: masks of one object on a background",
            remedy="The description below makes 255 the object. Should 255 mean `no label`, write "
            "label_map: {0: 0, 255: ignore}",
        )
        return
    of_0, of_255 = (classes.of(value, is_colour=False) for value in (0, 255))
    if of_255 in (None, IGNORE_INDEX) or of_0 in (None, IGNORE_INDEX):
        lost = "255" if of_255 in (None, IGNORE_INDEX) else "0"
        yield Finding(
            severity="warning",
            code="binary_masks",
            what=f"the labels hold 0 and 255 only, as masks of one object do, but {lost} means no class",
            remedy=f"If 255 is the object, write in the YAML file\n{_BINARY_YAML}",
        )


def _storage(tallies: Sequence[SplitTally]) -> Iterator[Finding]:
    palette, colours = places(tallies, "palette"), places(tallies, "colours")
    of_colours = sum(tally.num_colour_labels for tally in tallies)
    of_values = sum(tally.num_labels for tally in tallies) - of_colours
    if of_values and of_colours:
        yield Finding(
            severity="warning",
            code="mixed_storage",
            what=f"{plural(of_values, 'label')} with one channel beside {of_colours:,} stored as RGB",
            remedy="Store all labels alike: the first are read as values, the others as colours.",
        )
    if palette:
        yield Finding(
            severity="info",
            code="palette",
            what=f"{plural(len(palette), 'label')} stored as PNG with a palette: the indices count, not the "
            "colours",
            remedy="Fine if the values in the table above are the class ids.",
            places=palette,
        )
    if colours:
        too_many = any(tally.has_more_colours for tally in tallies)
        what = f"{plural(len(colours), 'label')} stored as RGB"
        yield Finding(
            severity="warning" if too_many else "info",
            code="rgb",
            what=f"{what}, of more than {MAX_COLOURS:,} colours: resized smoothly, or once a JPEG"
            if too_many
            else f"{what}: each colour is looked up",
            remedy="Export them without smoothing, as PNG."
            if too_many
            else "Fine; PNGs of one channel would be read faster.",
            places=colours,
        )
