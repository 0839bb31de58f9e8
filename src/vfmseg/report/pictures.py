"""Turns the pictures of a run into data URIs of a size that suits a page, with their captions."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vfmseg.errors import ImageError
from vfmseg.report.measures import Measure
from vfmseg.report.numbers import percent
from vfmseg.report.run_folder import Finding, RunRecord
from vfmseg.report.validation import ImageRecord, ValidationRecord

MOST_STEPS = 6
"""Validations shown of each image that is drawn again and again."""
_MOST_EXTREMES = 6
_LARGE, _MEDIUM = 1200, 960
"""Widths in pixels of extremes and of pictures over time: sharp on a screen with two pixels a point."""
_SMALL_FILE = 150_000
"""Bytes up to which a picture of fitting size is embedded as it is."""

T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """A picture that needs no file beside the page."""

    uri: str
    width: int
    height: int
    """Of the embedded picture, in pixels."""


@dataclass(frozen=True)
class Example:
    """A drawn validation image: image, ground truth and prediction side by side."""

    caption: str
    score: str
    alt: str
    picture: Picture


@dataclass(frozen=True)
class Album:
    """All pictures of a report."""

    worst: list[Example]
    best: list[Example]
    over_time: list[list[Example]]
    """Per image, its predictions at up to :data:`MOST_STEPS` evenly spread validations."""
    unreadable: list[Finding]
    """Files that are no pictures."""


def album(run: RunRecord) -> Album:
    """Return the pictures of a run, embedded; a file that cannot be read becomes a finding."""
    unreadable: list[Finding] = []
    images = run.validation.images if run.validation is not None else ()
    half = (len(images) + 1) // 2
    extremes: list[list[Example]] = []
    for chosen in (images[:half], images[half:][::-1]):
        drawn = [(one, run.folder / one.picture) for one in chosen if one.picture]
        there = [(one, path) for one, path in drawn if path.is_file()][:_MOST_EXTREMES]
        found: list[Example] = []
        for one, path in there:
            found += _example(path, _LARGE, one.name, _score(one, run.measure), one.name, unreadable)
        extremes.append(found)

    over_time: list[list[Example]] = []
    for stem, pictures in run.overlays.items():
        found = []
        for step, path in spread(pictures, MOST_STEPS):
            name = f"Validation image {stem} at step {step:,}"
            found += _example(path, _MEDIUM, f"step {step:,}", "", name, unreadable)
        over_time.append(found)
    return Album(extremes[0], extremes[1], over_time, unreadable)


def worst_of(
    validation: ValidationRecord, folder: Path, measure: Measure, most: int, findings: list[Finding]
) -> list[Example]:
    """Return the pictures of the images that scored worst, at most ``most``, never of the better half.

    Args:
        validation: whose images.
        folder: below which their pictures lie.
        measure: what they are judged by.
        most: pictures.
        findings: what is not there, or cannot be read, is added to.
    """
    half = validation.images[: (len(validation.images) + 1) // 2]
    drawn = [(one, folder / one.picture) for one in half if one.picture][:most]
    lost = tuple(str(path) for _, path in drawn if not path.is_file())
    if lost:
        findings.append(Finding("warning", "Pictures that validation.json names are not there", lost))
    found: list[Example] = []
    for one, path in drawn:
        if path.is_file():
            found += _example(path, _LARGE, one.name, _score(one, measure), one.name, findings)
    return found


def _example(
    path: Path, most_wide: int, caption: str, score: str, name: str, unreadable: list[Finding]
) -> list[Example]:
    """Return the picture with its words; none, and a finding more, where the file cannot be read."""
    try:
        picture = embed(path, most_wide)
    except ImageError as error:
        unreadable.append(Finding("warning", str(error)))
        return []
    alt = f"{name}: image, ground truth and prediction side by side"
    return [Example(caption, score, f"{alt}; {score}" if score else alt, picture)]


def embed(path: Path, most_wide: int) -> Picture:
    """Return the picture as data URI, scaled down to ``most_wide`` pixels where it is wider.

    Raises:
        ImageError: The file is no picture.
    """
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.format == "JPEG" and image.width <= most_wide and len(content) <= _SMALL_FILE:
                return Picture(_uri(content), image.width, image.height)
            scale = min(1.0, most_wide / image.width)
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            smaller = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except OSError as error:
        raise ImageError(f"{str(path)!r} is no picture that can be read ({error}). Remove it.") from error
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=82, optimize=True)
    return Picture(_uri(file.getvalue()), *size)


def spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` items (two or more), evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _score(image: ImageRecord, measure: Measure) -> str:
    """Return ``"mIoU 71.3 %, 90.0 % of pixels right"``."""
    details = [
        words.format(percent(image.details[key], 1))
        for key, words in measure.image_details
        if key in image.details
    ]
    return ", ".join([f"{measure.heading} {percent(image.score, 1)}", *details])


def _uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
