"""Folders of images and masks that people make themselves: the words by which their layouts are known.

``layouts.py`` reads a listing with these words; ``description.py`` reads the YAML file with the classes.
"""

from __future__ import annotations

from typing import Final

NAME: Final = "folder"
TITLE: Final = "your own images and masks"
DESCRIPTION_FILES: Final = ("dataset.yaml", "data.yaml")
"""Looked for at the top of a folder or archive."""

IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")

IMAGE_WORDS: Final = frozenset(
    {"image", "images", "img", "imgs", "jpegimages", "rgb", "leftimg8bit", "photos"}
)
"""Parts of folder names that say: images below."""

LABEL_WORDS: Final = frozenset(
    {
        "mask", "masks", "label", "labels", "annotation", "annotations", "ann", "anns", "annot", "gt",
        "groundtruth", "segmentation", "segmentations", "segmentationclass", "gtfine",
    }
)  # fmt: skip
"""Parts of folder names that say: labels below."""

INSTANCE_FOLDER: Final = "instances"
"""Name of the folder that holds instance numbers, where the masks beside it hold classes."""

FILLER_WORDS: Final = frozenset({"dir", "dirs", "folder", "files", "raw", "semantic", "png", "jpg"})
"""Parts of folder names that may stand beside an image or label word without meaning anything."""

SPLIT_WORDS: Final = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""Parts of folder names, and names of list files, that say which split."""

IMAGE_SUFFIXES: Final = ("_image", "_img", "_rgb", "_leftImg8bit", "_rgb_anon")
"""Ends of image stems that their labels do not repeat."""

LABEL_SUFFIXES: Final = (
    "_mask", "_masks", "_label", "_labels", "_gt", "_L", "_seg", "_segmentation", "_annotation",
    "_labelTrainIds", "_gtFine_labelTrainIds", "_gt_labelTrainIds",
)  # fmt: skip
"""Ends of label stems that their images do not have."""
