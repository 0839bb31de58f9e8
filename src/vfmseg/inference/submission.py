"""What the servers of benchmarks ask for: which images, and how the files with their predictions are named and coded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vfmseg.data.spec import read_label_map
from vfmseg.errors import DataError, RecipeError, nearest
from vfmseg.inference.image_files import ImageFile
from vfmseg.inference.output_files import place
from vfmseg.types import LabelSpace
from vfmseg.visualize.palette import save_picture

_SHOWN: Final = 3
_LEVELS: Final = 65536


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What one server asks for. All have the 19 classes of Cityscapes."""

    name: str
    """The word on the command line."""
    title: str
    image: re.Pattern[str]
    """Found in the path of an image of the test set: groups ``part`` and ``stem``."""
    example: str
    """Such a path, for messages."""
    prediction: str
    """File of a prediction; ``{part}`` and ``{stem}`` stand for the groups."""
    parts: Mapping[str, tuple[str, int | None]]
    """Part of the test set -> what its ``part`` begins with, and number of its images; None: not known."""
    label_ids: bool
    """Classes are coded by Cityscapes' label ids (road 7); otherwise by train ids (road 0)."""
    confidence: str = ""
    """File of confidences, 16 bit; empty where none is asked for."""
    zips: bool = True
    """Whether the folder is uploaded as a zip."""
    then: str
    """What to do with the folder."""


SUBMISSIONS: Final[dict[str, Submission]] = {
    one.name: one
    for one in (
        # The official script finds CITY_SEQUENCE_FRAME*.png in any subfolder, with label ids
        # (cityscapesscripts/evaluation/evalPixelLevelSemanticLabeling.py).
        Submission(
            name="cityscapes",
            title="Cityscapes test",
            image=re.compile(r"(?:^|/)(?P<stem>(?P<part>[a-z-]+)_\d{6}_\d{6})_leftImg8bit\.png$"),
            example="leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png",
            prediction="{part}/{stem}_pred_labelIds.png",
            parts={"test": ("", 1525)},
            label_ids=True,
            then="Upload the zip at https://www.cityscapes-dataset.com/submit",
        ),
        # Train ids at 1920 x 1080, as users of https://acdc.vision.ee.ethz.ch/submit report: predictions named as the
        # images, in one folder.
        Submission(
            name="acdc",
            title="ACDC test",
            image=re.compile(
                r"(?:^|/)(?P<part>fog|night|rain|snow)/test/[^/]+/(?P<stem>\w+_frame_\d+_rgb_anon)\.png$"
            ),
            example="rgb_anon/fog/test/GOPR0475/GOPR0475_frame_000247_rgb_anon.png",
            prediction="labelTrainIds/{stem}.png",
            parts={one: (one, 500) for one in ("fog", "night", "rain", "snow")},
            label_ids=False,
            then="Upload the zip at https://acdc.vision.ee.ethz.ch/submit",
        ),
        # https://github.com/valeoai/bravo_challenge, section 4; the test images of ACDC are ACDC's own.
        Submission(
            name="bravo",
            title="BRAVO",
            image=re.compile(
                r"(?:^|/)(?P<part>bravo_ACDC/(?:fog|night|rain|snow)/test/[^/]+(?=/[^/]+_rgb_anon\.png)"
                r"|bravo_(?:outofcontext|synflare|synrain)/[^/]+(?=/[^/]+_leftImg8bit\.png)"
                r"|bravo_synobjs/[^/]+|bravo_SMIYC/RoadAnomaly21/images)/(?P<stem>[^/]+)\.(?:png|jpg|webp)$"
            ),
            example="bravo_synflare/lindau/lindau_000000_000019_leftImg8bit.png",
            prediction="{part}/{stem}_pred.png",
            confidence="{part}/{stem}_conf.png",
            parts={
                **{f"ACDC{one}": (f"bravo_ACDC/{one}/", 500) for one in ("fog", "night", "rain", "snow")},
                "SMIYC": ("bravo_SMIYC/", None),
                "outofcontext": ("bravo_outofcontext/", 329),
                "synflare": ("bravo_synflare/", 308),
                "synobjs": ("bravo_synobjs/", 656),
                "synrain": ("bravo_synrain/", 500),
            },
            label_ids=False,
            zips=False,
            then="Encode it: python -m bravo_toolkit.util.encode_submission DIR OUT.tar --samples bravo_SAMPLING.tar",
        ),
    )
}
"""Word on the command line -> what the server asks for."""


@dataclass(frozen=True)
class Entry:
    """One image of a test set."""

    image: ImageFile
    prediction: str
    """Path of its prediction below the folder."""
    confidence: str
    """Path of its confidences; empty where none are asked for."""


def find_submission(name: str) -> Submission:
    """Return what a server asks for.

    Raises:
        RecipeError: none of this name.
    """
    if name not in SUBMISSIONS:
        raise RecipeError(
            f"There is no submission {name!r}.{nearest(name, SUBMISSIONS)} Known: {', '.join(SUBMISSIONS)}."
        )
    return SUBMISSIONS[name]


def plan_entries(submission: Submission, images: Sequence[ImageFile]) -> list[Entry]:
    """Return where each prediction goes, after looking whether the test set is there as a whole.

    Raises:
        DataError: images that are not of the test set, two that would be written as one, or too few or many of a part;
            the message names them.
    """
    entries: dict[str, Entry] = {}
    strange, counts = [], Counter[str]()
    for one in images:
        found = submission.image.search(one.path.absolute().as_posix())
        if found is None:
            strange.append(str(one.path))
            continue
        part, stem = found["part"], found["stem"]
        entry = Entry(
            one,
            submission.prediction.format(part=part, stem=stem),
            submission.confidence.format(part=part, stem=stem),
        )
        if entry.prediction in entries:
            raise DataError(
                f"{entries[entry.prediction].image.path} and {one.path} would both be written as {entry.prediction}. "
                f"Give the images of {submission.title} once."
            )
        entries[entry.prediction] = entry
        counts.update(name for name, (start, _) in submission.parts.items() if f"{part}/".startswith(start))
    if strange:
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        raise DataError(
            f"{len(strange)} of {len(images)} images are not of {submission.title}: {', '.join(strange[:_SHOWN])}{more}. "
            f"Its images lie and are named as {submission.example}; give their folder."
        )
    wrong = [
        f"{name} has {counts[name]} images, {'at least 1' if wanted is None else wanted} are asked for"
        for name, (_, wanted) in submission.parts.items()
        if (counts[name] != wanted if wanted is not None else not counts[name])
    ]
    if wrong:
        raise DataError(
            f"This is not the whole of {submission.title}, so the server would refuse it:\n  "
            + "\n  ".join(wrong)
        )
    return list(entries.values())


def codes_of(submission: Submission, label_space: LabelSpace) -> NDArray[np.uint8]:
    """Return (K,) what each class of a model is coded as.

    Raises:
        DataError: the model has classes that the server does not know; names them.
    """
    asked = read_label_map("cityscapes").label_space
    strange = [name for name in label_space.names if name not in asked.names]
    if strange:
        raise DataError(
            f"{submission.title} is scored over the classes of Cityscapes, but the model also has "
            f"{', '.join(strange[:_SHOWN])}{' ...' if len(strange) > _SHOWN else ''}. Train on data with the classes "
            f"{', '.join(asked.names)}."
        )
    train_ids = [asked.names.index(name) for name in label_space.names]
    codes = [asked.category_ids[i] for i in train_ids] if submission.label_ids else train_ids
    return np.array(codes, np.uint8)


def save_entry(
    folder: Path,
    entry: Entry,
    classes: NDArray[np.integer],
    codes: NDArray[np.uint8],
    confidence: NDArray[np.floating] | None,
) -> None:
    """Write the files of one image, 8 bit grey and, for confidences, 16 bit grey.

    Args:
        folder: of the submission.
        entry: which image.
        classes: (H, W) class ids of the model.
        codes: (K,) what they are coded as.
        confidence: (H, W) in [0, 1]; above 1 counts as 1.

    Raises:
        OSError: it cannot be written.
    """
    save_picture(place(folder, entry.prediction), Image.fromarray(codes[classes]), "PNG")
    if entry.confidence and confidence is not None:
        levels = np.clip(np.floor(confidence.astype(np.float64) * _LEVELS), 0, _LEVELS - 1)
        save_picture(place(folder, entry.confidence), Image.fromarray(levels.astype(np.uint16)), "PNG")
