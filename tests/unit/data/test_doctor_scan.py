"""One sample -> an observation: values counted, pictures recognised, nothing raised."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo

from support.archives import SIZE, draw_label, encode, encode_palette, write_folder
from vfmseg.data import doctor_scan
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.doctor_scan import count_values, difference_hash, observe, scan
from vfmseg.data.images import read_orientation


@pytest.fixture
def dataset(tmp_path: Path) -> SegmentationDataset:
    write_folder(tmp_path)
    return open_dataset("folder", tmp_path, "train")


def expected_counts(label: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    codes, counts = np.unique(label, return_counts=True)
    return tuple(codes.tolist()), tuple(counts.tolist())


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16]), st.integers(1, 40), st.integers(1, 40)
)
def test_count_values__as_numpy_counts(seed: int, dtype: type, height: int, width: int):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, np.iinfo(dtype).max, (height, width), endpoint=True).astype(dtype)
    assert count_values(label) == expected_counts(label)
    assert count_values(label[:, ::2]) == expected_counts(label[:, ::2])  # memory with gaps
    label.setflags(write=False)
    assert count_values(label) == expected_counts(label)


@given(st.integers(0, 2**32 - 1), st.integers(2, 256))
def test_count_values__of_colours(seed: int, levels: int):
    colours = np.random.default_rng(seed).integers(0, levels, (9, 7, 3)).astype(np.uint8)
    packed = colours.astype(int) @ [1 << 16, 1 << 8, 1]
    assert count_values(colours) == expected_counts(packed)


def test_count_values__more_pixels_than_a_float_counts(monkeypatch: pytest.MonkeyPatch):
    label = draw_label([3, 1, 2], SIZE, 0)
    monkeypatch.setattr(doctor_scan, "_EXACT_FLOAT", 1000)
    assert count_values(label) == expected_counts(label)


def test_difference_hash__says_where_it_gets_brighter():
    ramp = np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], 3, axis=2)
    picture = np.ascontiguousarray(np.broadcast_to(ramp, (80, 90, 3)))
    assert difference_hash(picture) == b"\xff" * 8
    assert difference_hash(np.ascontiguousarray(picture[:, ::-1])) == b"\0" * 8
    assert difference_hash(np.full((80, 90, 3), 9, np.uint8)) == b""


def test_difference_hash__survives_size_and_compression():
    rng = np.random.default_rng(1)
    for _ in range(20):
        blobs = rng.integers(0, 256, (8, 10, 3)).astype(np.uint8)
        picture = cv2.resize(blobs, (300, 240), interpolation=cv2.INTER_CUBIC)
        small = cv2.resize(picture, (150, 120), interpolation=cv2.INTER_AREA)
        copy = cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
        bits = [np.unpackbits(np.frombuffer(difference_hash(p), np.uint8)) for p in (picture, copy)]
        assert (bits[0] != bits[1]).sum() <= 4


def test_observe__a_sample_in_order(dataset: SegmentationDataset):
    seen = observe(dataset, 2)
    assert (seen.index, seen.image_problem, seen.label_problem, seen.kind) == (2, "", "", "values")
    assert seen.image_size == seen.label_size == SIZE
    assert (seen.codes, seen.counts) == expected_counts(dataset.read_raw_label(2))
    assert len(seen.digest) == 16
    assert len(seen.difference_hash) == 8
    assert seen.orientation == 1
    assert seen.digest != observe(dataset, 1).digest


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (encode(draw_label([0, 1], SIZE, 0), "PNG"), "values"),
        (encode(draw_label([0, 1], SIZE, 0), "TIFF"), "values"),
        (encode_palette(draw_label([0, 1], SIZE, 0)), "palette"),
        (encode(np.zeros((*SIZE, 3), np.uint8), "PNG"), "colours"),
        (encode(draw_label([0, 1], SIZE, 0), "JPEG"), "jpeg"),
        (b"", ""),
        (b"\x89PNG\r\n\x1a\n", ""),
    ],
)
def test_observe__how_a_label_is_stored(
    label: bytes, kind: str, dataset: SegmentationDataset, tmp_path: Path
):
    (tmp_path / "masks/train/t000.png").write_bytes(label)
    seen = observe(dataset, 0)
    assert seen.kind == kind
    assert bool(seen.label_problem) == (kind == "")
    assert (seen.label_size is None) == (kind in ("", "jpeg"))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_observe__orientation_that_only_xmp_says(
    file_format: str, dataset: SegmentationDataset, tmp_path: Path
):
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    options = {"pnginfo": info} if file_format == "PNG" else {"xmp": xmp.encode()}
    data = encode(np.zeros((*SIZE, 3), np.uint8), file_format, **options)
    (tmp_path / "images/train/t000.jpg").write_bytes(data)
    assert observe(dataset, 0).orientation == read_orientation(data) == 6


def test_observe__files_that_are_gone(dataset: SegmentationDataset, tmp_path: Path):
    (tmp_path / "images/train/t000.jpg").unlink()
    (tmp_path / "masks/train/t000.png").unlink()
    seen = observe(dataset, 0)
    assert "was there when the data set was opened, and is gone" in seen.image_problem
    assert "was there when the data set was opened, and is gone" in seen.label_problem
    assert seen.digest == seen.difference_hash == b""


def test_scan__in_order_and_in_portions(dataset: SegmentationDataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor_scan, "_SUBMITTED", 3)
    assert [seen.index for seen in scan(dataset, [3, 0, 2, 1], num_threads=2)] == [3, 0, 2, 1]


def test_scan__stopped_early_leaves_the_rest(dataset: SegmentationDataset, monkeypatch: pytest.MonkeyPatch):
    looked_at: list[int] = []
    real = doctor_scan.observe

    def noted(dataset: SegmentationDataset, index: int) -> doctor_scan.Observation:
        looked_at.append(index)
        return real(dataset, index)

    monkeypatch.setattr(doctor_scan, "observe", noted)
    passing = scan(dataset, [0, 1, 2, 3] * 100, num_threads=1)
    next(passing)
    passing.close()
    assert len(looked_at) < 400
