"""open_dataset: from the name of a data set to Samples, with every refusal and every request to leave out."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from support.archives import (
    SIZE,
    Packing,
    draw_image,
    draw_label,
    encode,
    pack,
    write_ade20k,
    write_cityscapes,
    write_folder,
    write_gta5,
    write_pascal_voc,
)
from support.errors import raises
from vfmseg.data import examine
from vfmseg.data.annotations import is_all_void
from vfmseg.data.collate import collate_batch, collate_samples
from vfmseg.data.dataset import SegmentationDataset, open_dataset, propose_folder_yaml
from vfmseg.errors import DataError, ImageError, LabelError

EXPECTED_IDS = {
    "ade20k": (write_ade20k, {0, 2, 255, 149, 20}),
    "pascal_voc": (write_pascal_voc, {0, 15, 255, 7}),
    "cityscapes": (write_cityscapes, {0, 2, 255, 10, 13}),
    "gta5": (write_gta5, {0, 1, 255, 11}),
}


def opened(name: str, folder: Path) -> SegmentationDataset:
    EXPECTED_IDS[name][0](folder)
    return open_dataset(name, folder, "train")


@pytest.mark.parametrize("name", EXPECTED_IDS)
def test_open_dataset__samples(tmp_path: Path, name: str):
    dataset = opened(name, tmp_path)
    found: set[int] = set()
    for i in range(len(dataset)):
        sample = dataset[i]
        assert sample.image.shape == (3, *SIZE)
        assert sample.image.dtype == sample.targets.id_map.dtype == torch.uint8
        assert sample.targets.id_map.shape == SIZE
        assert sample.name == dataset.names[i]
        found |= set(sample.targets.id_map.unique().tolist())
    assert found == EXPECTED_IDS[name][1]
    assert len(set(dataset.names)) == len(dataset)


def test_open_dataset__pixels_are_those_of_the_file(tmp_path: Path):
    dataset = opened("cityscapes", tmp_path)
    label = draw_label([7, 11, 0, 23, 26], SIZE, 0)
    np.testing.assert_array_equal(dataset[0].image.permute(1, 2, 0).numpy(), draw_image(label, 0))
    expected = np.array([{7: 0, 11: 2, 0: 255, 23: 10, 26: 13}[v] for v in label.ravel()]).reshape(SIZE)
    np.testing.assert_array_equal(dataset[0].targets.id_map.numpy(), expected)


@pytest.mark.parametrize("packing", ["zip", "folder"])
def test_dataset__same_samples_in_workers_and_after_pickling(tmp_path: Path, packing: Packing):
    write_ade20k(tmp_path, packing=packing)
    dataset = open_dataset("ade20k", tmp_path, "train")
    expected = [dataset[i] for i in range(len(dataset))]
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=collate_samples)
    loaded = [sample for batch in loader for sample in batch]
    copy: SegmentationDataset = pickle.loads(pickle.dumps(dataset))
    for samples in (loaded, [copy[i] for i in range(len(copy))]):
        for sample, other in zip(samples, expected, strict=True):
            assert sample.name == other.name
            assert torch.equal(sample.image, other.image)
            assert torch.equal(sample.targets.id_map, other.targets.id_map)


def test_dataset__pickle_does_not_grow_by_reading(tmp_path: Path):
    dataset = opened("ade20k", tmp_path)
    size = len(pickle.dumps(dataset))
    _ = [dataset[i] for i in range(len(dataset))]
    assert len(pickle.dumps(dataset)) == size


def test_dataset__index_out_of_range_ends_iteration(tmp_path: Path):
    dataset = opened("ade20k", tmp_path)
    with pytest.raises(IndexError):
        dataset[4]
    assert dataset[-1].name == dataset[3].name
    with pytest.raises(IndexError):
        dataset[-5]


def test_dataset__speaks_of_archive_and_member(tmp_path: Path):
    dataset = opened("ade20k", tmp_path)
    archive = tmp_path / "ADEChallengeData2016.zip"
    stem = "training/ADE_train_00000001"
    assert dataset.image_path(0) == f"{archive}: ADEChallengeData2016/images/{stem}.jpg"
    assert dataset.label_path(0) == f"{archive}: ADEChallengeData2016/annotations/{stem}.png"


def test_open_dataset__scenes_are_read_as_a_folder(tmp_path: Path):
    write_folder(tmp_path)
    assert list(open_dataset("scenes", tmp_path, "val").names) == [
        "images/val/v000.jpg",
        "images/val/v001.jpg",
    ]


def test_open_dataset__unknown_name(tmp_path: Path):
    with raises(DataError, "There is no data set 'ade20'", "Did you mean ade20k"):
        open_dataset("ade20", tmp_path, "train")


def test_open_dataset__unknown_split(tmp_path: Path):
    with raises(DataError, "ADE20K has no split 'test' with public labels. Splits: train, val."):
        open_dataset("ade20k", tmp_path, "test")


def test_open_dataset__val_fraction_of_a_known_data_set(tmp_path: Path):
    with raises(DataError, "val_fraction is for your own folders; ade20k has its own splits"):
        open_dataset("ade20k", tmp_path, "train", val_fraction=0.1)


def test_open_dataset__files_without_partner(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_folder(tmp_path)
    (tmp_path / "masks/train/t000.png").unlink()
    (tmp_path / "images/train/t002.jpg").unlink()
    with raises(
        DataError,
        "2 files have no partner, beside 2 pairs: images/train/t000.jpg has no mask; ",
        "masks/train/t002.png has no image. Complete the files, or leave these out with allow_unpaired: true",
    ):
        open_dataset("folder", tmp_path, "train")
    dataset = open_dataset("folder", tmp_path, "train", allow_unpaired=True)
    assert len(dataset) == 2
    assert [file.name for file in dataset.skipped] == ["images/train/t000.jpg", "masks/train/t002.png"]
    assert "2 files without partner left out" in caplog.text


def test_open_dataset__no_image_has_a_label(tmp_path: Path):
    write_pascal_voc(tmp_path, packing="folder")
    for label in (tmp_path / "VOCdevkit/VOC2012/SegmentationClass").iterdir():
        label.rename(label.with_stem(f"x{label.stem}"))
    with raises(DataError, "PASCAL VOC 2012 train is empty: no image has a label"):
        open_dataset("pascal_voc", tmp_path, "train", allow_unpaired=True)


def test_open_dataset__without_names_proposes_a_description(tmp_path: Path):
    write_folder(tmp_path, names=None, values=(0, 4, 255))
    with pytest.raises(DataError) as caught:
        open_dataset("folder", tmp_path, "train")
    message = str(caught.value)
    assert "the classes have no names yet. Save this as a YAML file" in message
    text = message.partition("\n\n")[2]
    assert text == propose_folder_yaml(tmp_path)
    assert text.startswith(f'path: "{tmp_path}"\n')
    (tmp_path / "d.yaml").write_text(text)
    dataset = open_dataset("folder", tmp_path / "d.yaml", "train")
    assert dataset.label_space.names == ("class_0", "class_4")
    assert set(dataset[0].targets.id_map.unique().tolist()) == {0, 1, 255}


def test_dataset__unknown_value_names_file_and_count(tmp_path: Path):
    write_folder(tmp_path, names=("ground", "box"))
    label = np.asarray(Image.open(tmp_path / "masks/train/t000.png"))
    text = f"{tmp_path}: masks/train/t000.png holds values that no class has: 2 ({(label == 2).sum()} pixels)"
    dataset = open_dataset("folder", tmp_path, "train")
    with raises(LabelError, text, f"In {tmp_path}/dataset.yaml say which class they are"):
        dataset[0]


def test_dataset__ade_values_above_150_are_errors(tmp_path: Path):
    write_ade20k(tmp_path, packing="folder")
    path = tmp_path / "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"
    path.write_bytes(encode(np.full(SIZE, 151, np.uint8), "PNG"))
    with raises(
        LabelError,
        f"151 ({SIZE[0] * SIZE[1]} pixels). Known are 0-150. These are not the labels as they were released",
    ):
        open_dataset("ade20k", tmp_path, "train")[0]


def test_dataset__rgb_masks_by_colour(tmp_path: Path):
    label = np.zeros((*SIZE, 3), np.uint8)
    label[:9] = (128, 64, 128)
    label[0] = (255, 255, 255)
    files = {"images/a.png": encode(label, "PNG"), "masks/a.png": encode(label, "PNG")}
    pack(files, tmp_path, "folder")
    (tmp_path / "dataset.yaml").write_text(
        "names: [road, sky]\ncolours: {0: [128, 64, 128], 1: [0, 0, 0], ignore: [255, 255, 255]}\n"
    )
    ids = open_dataset("folder", tmp_path, "train")[0].targets.id_map
    assert ids[:, 0].tolist() == [255] + [0] * 8 + [1] * (SIZE[0] - 9)


def test_dataset__16_bit_labels(tmp_path: Path):
    label = np.full(SIZE, 1000, np.uint16)
    label[0] = 70
    pack({"images/a.png": encode(label[..., None].repeat(3, 2).astype(np.uint8), "PNG")}, tmp_path, "folder")
    pack({"masks/a.png": encode(label, "PNG")}, tmp_path, "folder")
    (tmp_path / "dataset.yaml").write_text("names: {70: a, 1000: b}\n")
    ids = open_dataset("folder", tmp_path, "train")[0].targets.id_map
    assert ids[:2, 0].tolist() == [0, 1]


def test_dataset__all_void_image_is_allowed_and_told(tmp_path: Path):
    write_folder(tmp_path, values=(255,), names=("ground",))
    assert is_all_void(open_dataset("folder", tmp_path, "train")[0].targets)


def test_dataset__label_of_another_size(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "masks/train/t000.png").write_bytes(encode(np.zeros((10, 20), np.uint8), "PNG"))
    dataset = open_dataset("folder", tmp_path, "train")
    with raises(
        LabelError,
        "masks/train/t000.png is 10 x 20 (height x width), its image images/train/t000.jpg is 48 x 64",
        "Export both at one size",
    ):
        dataset[0]


def test_dataset__gta_labels_of_another_size_are_resized_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_gta5(tmp_path, odd_sized=(3, 5))
    dataset = open_dataset("gta5", tmp_path, "train")
    for i in range(len(dataset)):
        assert dataset[i].targets.id_map.shape == SIZE
    assert dataset.num_resized_labels == 2
    assert caplog.text.count("resized (nearest)") == 1
    assert "labels/00003.png is 24 x 32, its image 48 x 64" in caplog.text
    label = draw_label([7, 8, 34, 24], SIZE, 3)[::2, ::2]
    raw = dataset.read_raw(2)
    assert raw.is_resized
    np.testing.assert_array_equal(raw.label, label.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_dataset__exif_is_applied_only_where_the_label_asks_for_it(tmp_path: Path, orientation: int):
    """A camera stores (48, 64) and "turn me"; annotation tools save the label turned, others as stored."""
    upright = draw_image(draw_label([0, 1, 2], SIZE, 0), 0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    Image.fromarray(upright).save(tmp_path / "images/a.png", exif=exif)
    turns = {6: 3, 8: 1}.get(orientation, 0)
    label = np.rot90(draw_label([0, 1, 2], SIZE, 0), turns).copy()
    pack({"masks/a.png": encode(label, "PNG")}, tmp_path, "folder")
    (tmp_path / "dataset.yaml").write_text("names: [a, b, c]")
    raw = open_dataset("folder", tmp_path, "train").read_raw(0)
    assert raw.orientation == (orientation if turns else 1)
    np.testing.assert_array_equal(raw.image, np.rot90(upright, turns))


def test_dataset__damaged_files_name_archive_and_member(tmp_path: Path):
    write_ade20k(tmp_path)
    archive = tmp_path / "ADEChallengeData2016.zip"
    dataset = open_dataset("ade20k", tmp_path, "train")
    image, label = dataset.index.images.member(0), dataset.index.labels.member(1)
    data = bytearray(archive.read_bytes())
    for member in (image, label):
        data[member.offset + 30 + len(member.name) + member.stored_size // 2] ^= 0xFF
    archive.write_bytes(data)
    with raises(ImageError, f"{archive}: {image.name} is damaged"):
        dataset[0]
    with raises(LabelError, f"{archive}: {label.name} is damaged"):
        dataset[1]


def test_dataset__undecodable_files_in_a_folder(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "images/train/t000.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "masks/train/t001.png").write_bytes(b"")
    dataset = open_dataset("folder", tmp_path, "train")
    with raises(ImageError, f"{tmp_path}: images/train/t000.jpg cannot be decoded"):
        dataset[0]
    with raises(LabelError, f"{tmp_path}: masks/train/t001.png cannot be decoded"):
        dataset[1]


def test_skip_bad__leaves_out_lists_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_folder(tmp_path, num_train=6)
    (tmp_path / "images/train/t000.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "masks/train/t002.png").write_bytes(encode(np.full(SIZE, 77, np.uint8), "PNG"))
    (tmp_path / "masks/train/t004.png").write_bytes(encode(np.zeros((3, 3), np.uint8), "PNG"))
    dataset = open_dataset("folder", tmp_path, "train", skip_bad=True)
    assert [name[-8:-4] for name in dataset.names] == ["t001", "t003", "t005"]
    assert [file.name[-8:-4] for file in dataset.skipped] == ["t000", "t002", "t004"]
    for file, text in zip(
        dataset.skipped, ("cannot be decoded", "no class has: 77", "is 3 x 3"), strict=True
    ):
        assert text in file.reason
    assert "3 of 6 samples left out, files that cannot be used" in caplog.text
    assert len([dataset[i] for i in range(len(dataset))]) == 3


def test_skip_bad__nothing_left(tmp_path: Path):
    write_folder(tmp_path, names=("a",), values=(9, 8))
    with raises(DataError, "all 4 samples were left out, the last because: ", "no class has: "):
        open_dataset("folder", tmp_path, "train", skip_bad=True)


def test_skip_constant_labels__as_published_loaders_do(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_ade20k(tmp_path, packing="folder", num_train=5)
    labels = tmp_path / "ADEChallengeData2016/annotations/training"
    for number, value in ((2, 0), (4, 7)):  # all ignored, and a picture of a single class
        (labels / f"ADE_train_{number:08d}.png").write_bytes(encode(np.full(SIZE, value, np.uint8), "PNG"))
    assert len(open_dataset("ade20k", tmp_path, "train")) == 5
    dataset = open_dataset("ade20k", tmp_path, "train", skip_constant_labels=True)
    assert [name[-5] for name in dataset.names] == ["1", "3", "5"]
    assert [file.reason for file in dataset.skipped] == ["its label has one single value"] * 2
    assert "2 of 5 samples left out, labels of one single value" in caplog.text


def test_skip_constant_labels__the_answer_is_cached_until_a_label_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_ade20k(tmp_path, packing="folder")
    assert len(open_dataset("ade20k", tmp_path, "train", skip_constant_labels=True)) == 4
    read: list[int] = []
    original = SegmentationDataset.read_raw_label

    def spy(self: SegmentationDataset, index: int) -> np.ndarray:
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(SegmentationDataset, "read_raw_label", spy)
    assert len(open_dataset("ade20k", tmp_path, "train", skip_constant_labels=True)) == 4
    assert read == []
    label = tmp_path / "ADEChallengeData2016/annotations/training/ADE_train_00000001.png"
    label.write_bytes(encode(np.zeros(SIZE, np.uint8), "PNG"))
    assert len(open_dataset("ade20k", tmp_path, "train", skip_constant_labels=True)) == 3
    assert sorted(read) == [0, 1, 2, 3]


def test_drop_failing__keeps_order_with_threads(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    dataset = opened("gta5", tmp_path)
    caplog.set_level(logging.WARNING)
    kept = examine.drop_failing(
        dataset.index, dataset._sources, "x", lambda i: "odd" if i % 2 else "", what="odd ones", num_threads=4
    )
    assert list(kept.names) == dataset.names[::2]
    assert [file.name for file in kept.skipped] == dataset.names[1::2]
    assert f"5 of 10 samples left out, odd ones: {dataset.names[1]}, " in caplog.text


def test_collate_batch__stacks_samples_of_one_size(tmp_path: Path):
    dataset = opened("ade20k", tmp_path)
    batch = collate_batch([dataset[0], dataset[1]])
    assert batch.images.shape == (2, 3, *SIZE)
    assert torch.equal(batch.images[1], dataset[1].image)
    assert torch.equal(batch.targets[1].id_map, dataset[1].targets.id_map)
    assert batch.names == tuple(dataset.names[:2])


def test_collate_batch__sizes_that_differ(tmp_path: Path):
    small, large = (
        opened("ade20k", tmp_path / "a"),
        open_dataset("ade20k", write_ade20k(tmp_path / "b", size=(8, 9)), "val"),
    )
    with raises(
        DataError, "ADE_val_00000001.jpg is 8 x 9 and ", "is 48 x 64 (height x width)", "batch size 1"
    ):
        collate_batch([small[0], large[0]])


def test_collate_samples__keeps_sizes(tmp_path: Path):
    dataset = opened("ade20k", tmp_path)
    samples = [dataset[0], dataset[1]]
    assert collate_samples(samples) == samples


def test_targets__reads_the_label_alone(tmp_path: Path):
    write_folder(tmp_path)
    dataset = open_dataset("folder", tmp_path, "train")
    expected = dataset[1].targets.id_map
    (tmp_path / "images/train/t001.jpg").write_bytes(b"")
    assert torch.equal(dataset.targets(1).id_map, expected)


@pytest.mark.camvid
def test_camvid__day_to_dusk(tmp_path: Path):
    archive = os.environ["VFMSEG_CAMVID"]
    (tmp_path / "dusk.yaml").write_text(
        f"path: {archive}\n"
        "names: [sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist]\n"
        "ignore_index: 11\n"
        "train: ['*', '!0001TP*']\n"
        "val: ['0001TP*']\n"
    )
    train, val = (open_dataset("folder", tmp_path / "dusk.yaml", split) for split in ("train", "val"))
    assert len(train) + len(val) == 468
    assert all("0001TP" in name for name in val.names)
    assert not any("0001TP" in name for name in train.names)
    assert val[0].image.shape == (3, 360, 480)
    assert int(val[0].targets.id_map.unique()[-1]) in {10, 255}
    assert "# values in 48 labels: 0-11" in propose_folder_yaml(archive)


def write_packed(folder: Path) -> Path:
    """A zip with a usable sample, one with a label of one value, and one with a label that is damaged."""
    files = {f"images/{i}.png": encode(np.full((*SIZE, 3), i, np.uint8), "PNG") for i in range(3)}
    files |= {f"masks/{i}.png": encode(draw_label([0, i], SIZE, 0), "PNG") for i in range(2)}
    return pack(files | {"masks/2.png": b"", "dataset.yaml": b"names: [a, b]"}, folder / "a.zip", "zip")


@pytest.mark.parametrize("first", [{"skip_bad": True}, {"skip_bad": True, "skip_constant_labels": True}])
def test_skip_bad__cached_answer_is_for_the_same_wishes(tmp_path: Path, first: dict[str, bool]):
    path = write_packed(tmp_path)
    open_dataset("folder", path, "train", **first)
    assert list(open_dataset("folder", path, "train", skip_bad=True).names) == [
        "images/0.png",
        "images/1.png",
    ]
    both = open_dataset("folder", path, "train", skip_bad=True, skip_constant_labels=True)
    assert list(both.names) == ["images/1.png"]


def test_skip_constant_labels__damaged_label_is_left_to_skip_bad(tmp_path: Path):
    path = write_packed(tmp_path)
    with raises(LabelError, "masks/2.png cannot be decoded as a label"):
        open_dataset("folder", path, "train", skip_constant_labels=True)
    assert len(open_dataset("folder", path, "train", skip_bad=True, skip_constant_labels=True)) == 1


def test_dataset__links_to_nothing_are_not_left_out_in_silence(tmp_path: Path):
    write_folder(tmp_path)
    for name in ("images/train/t000.jpg", "masks/train/t000.png"):
        (tmp_path / name).unlink()
        (tmp_path / name).symlink_to("/mnt/gone/x")
    dataset = open_dataset("folder", tmp_path, "train")
    with raises(ImageError, f"{tmp_path}/images/train/t000.jpg is a link to /mnt/gone/x, which is not there"):
        dataset[0]
    assert len(open_dataset("folder", tmp_path, "train", skip_bad=True)) == 3
