"""What the runs of a task are judged by: a task's word in, the names and phrases of its numbers out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The headline number of a task, and how a report speaks of it."""

    key: str
    """In ``val/KEY``, ``best/KEY``; of classes in ``val/CLASS_KEY/NAME``."""
    class_key: str
    title: str
    """Within a sentence."""
    heading: str
    """At the beginning of one."""
    class_title: str
    """The same number of one class."""
    beside: tuple[str, ...]
    """Keys drawn in the chart of the headline."""
    charts: tuple[tuple[str, tuple[str, ...]], ...]
    """Title and keys of further charts that every run of the task is read by."""
    image_details: tuple[tuple[str, str], ...]
    """Further numbers of an image by their key, with the words around them."""
    unscored: str
    """What is said of images without a score of their own."""
    absent: str
    """What is said of classes without one."""
    has_confusion: bool


MEASURES = {
    "semantic": Measure(
        key="miou",
        class_key="iou",
        title="mIoU",
        heading="mIoU",
        class_title="IoU",
        beside=("pixel_accuracy",),
        charts=(),
        image_details=(("pixel_accuracy", "{} of pixels right"),),
        unscored="without a labelled pixel, predicted but not scored",
        absent="in neither ground truth nor prediction, left out of every mean",
        has_confusion=True,
    ),
    "panoptic": Measure(
        key="pq",
        class_key="pq",
        title="PQ",
        heading="PQ",
        class_title="PQ",
        beside=(),
        charts=(
            ("PQ of things and stuff", ("pq_things", "pq_stuff")),
            ("Segmentation and recognition quality", ("sq", "rq")),
        ),
        image_details=(("sq", "SQ {}"), ("rq", "RQ {}")),
        unscored="without a segment, true or predicted, so not scored",
        absent="in neither ground truth nor prediction, left out of every mean",
        has_confusion=False,
    ),
    "instance": Measure(
        key="ap",
        class_key="ap",
        title="mask AP",
        heading="Mask AP",
        class_title="AP",
        beside=(),
        charts=(
            ("AP50 and AP75", ("ap50", "ap75")),
            ("AP by size of object", ("ap_small", "ap_medium", "ap_large")),
        ),
        image_details=(("ap50", "AP50 {}"),),
        unscored="without an object: what is wrongly found there counts, but they have no score of their own",
        absent="without an object in the ground truth, left out of every mean",
        has_confusion=False,
    ),
}
"""By the task's word in a recipe."""
