"""BDD100K, semantic segmentation of the 10k images with the 19 classes of Cityscapes (Yu et al., CVPR 2020)."""

from __future__ import annotations

from vfmseg.data.spec import DatasetSpec, FileSet, SplitSpec


def _split(name: str) -> SplitSpec:
    return SplitSpec(
        images=FileSet(
            archives=(("bdd100k_images_10k.zip", f"10k_images_{name}.zip"),),  # one download, or one a split
            folder=f"bdd100k/images/10k/{name}",
            suffix=".jpg",
        ),
        labels=FileSet(
            archives=(("bdd100k_sem_seg_labels_trainval.zip",),),
            folder=f"bdd100k/labels/sem_seg/masks/{name}",
            suffix=".png",
        ),
        classes="cityscapes_train_ids",
        onto="cityscapes",
        ignored_values=(255,),
    )


SPEC = DatasetSpec(
    name="bdd100k",
    title="BDD100K",
    num_classes=19,
    splits={"train": _split("train"), "val": _split("val")},
    licence="education, research, not for profit",
    homepage="http://bdd-data.berkeley.edu/ (10K Images; Segmentation)",
)
