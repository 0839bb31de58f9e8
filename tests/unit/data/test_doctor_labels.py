"""examine: each thing that can be wrong with the content of labels is found and comes with its remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.archives import SIZE, draw_label, encode, encode_palette, write_ade20k, write_folder
from vfmseg.data.doctor import examine
from vfmseg.data.doctor_report import Finding, Report
from vfmseg.data.folder_plan import plan_folder

COLOURS = np.array([[128, 64, 128], [70, 70, 70], [0, 0, 142]], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without a flaw: 4 training and 2 validation images, the classes ground, box and cone."""
    return write_folder(tmp_path / "mine")


def one(report: Report, code: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.code == code]
    return finding


def kinds(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def redraw(folder: Path, file: str, label: np.ndarray) -> None:
    (folder / "masks" / file).write_bytes(encode(label, "PNG"))


def redraw_all(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Store all labels anew; ``change`` turns (H, W) ids 0-2 into what is stored."""
    for number, path in enumerate(sorted((folder / "masks").rglob("*.png"))):
        path.write_bytes(encode(change(draw_label([0, 1, 2], SIZE, number)), "PNG"))


# values


def test_values__that_no_class_has(folder: Path):
    label = draw_label([0, 1, 2], SIZE, 1)
    label[:10, :10] = 7
    label[20:22, :10] = 200
    redraw(folder, "train/t001.png", label)
    report = examine(folder)
    finding = one(report, "unknown_values")
    assert finding.severity == "error"
    assert finding.what == (
        "1 label with values that no class has: 7 (0.54 % of pixels, 1 label), "
        "200 (0.11 % of pixels, 1 label)"
    )
    assert str(finding.places[0]) == "train: masks/train/t001.png (7: 100 px, 200: 20 px)"
    assert finding.remedy == (
        "In the YAML file, give them names; or, if they mean `no class`, write `ignore_index: [7, 200, "
        "255]`. Known are 0-2, 255; or leave them out: --data.skip_bad true"
    )
    assert [row.class_name for row in report.values] == ["ground", "box", "cone", "(no class)", "(no class)"]


def test_values__that_no_class_of_a_known_data_set_has(tmp_path: Path):
    write_ade20k(tmp_path, packing="folder")
    label = tmp_path / "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png"
    label.write_bytes(encode(draw_label([1, 2, 151], SIZE, 0), "PNG"))
    finding = one(examine(tmp_path, name="ade20k"), "unknown_values")
    assert finding.remedy.startswith("Fetch the published labels again; or leave them out")


def test_values__are_many(folder: Path):
    redraw(folder, "train/t001.png", np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    finding = one(examine(folder), "unknown_values")
    assert "3: 1 px" not in finding.places[0].detail  # the largest first
    assert finding.places[0].detail.endswith(" and 3064 more")
    assert finding.what.endswith(" and 3060 more")
    assert finding.remedy.startswith("If these are class ids, give them names in the YAML file; else correct")


def test_values__of_most_labels_are_not_to_be_left_out(folder: Path):
    (folder / "dataset.yaml").write_text("names: [ground, box]\n")
    report = examine(folder)
    assert one(report, "unknown_values").remedy.endswith("`ignore_index: [2, 255]`. Known are 0-1, 255.")
    (folder / "dataset.yaml").write_text("names: [ground, box]\nignore_index: [2, 255]\n")
    assert examine(folder).findings == ()


def test_values__of_classes_never_shown(folder: Path):
    redraw_all(folder, lambda ids: np.minimum(ids, 1))
    report = examine(folder)
    train, val = one(report, "class_not_in_train"), one(report, "class_not_in_val")
    assert train.severity == val.severity == "warning"
    assert val.severity == "warning"
    assert train.what == "1 class of 3 not in any label of train: cannot be learned"
    assert str(train.places[0]) == "train: cone"
    assert train.remedy == "Add images that show them, or take them out of names."
    assert (
        val.what
        == "1 class of 3 not in any label of val: cannot be scored, so the mean IoU is over the others"
    )
    assert report.values[-1].class_name == "cone"
    assert report.values[-1].pixels == (0, 0)
    some = one(examine(folder, limit=2), "class_not_in_train")
    assert some.severity == "info"  # it may be in the others
    assert some.what == "1 class of 3 not in the 2 labels looked at of train: cannot be learned"


# nothing to learn


def test_labels__without_any_class(folder: Path):
    redraw(folder, "train/t001.png", np.full(SIZE, 255, np.uint8))
    report = examine(folder)
    finding = one(report, "all_void")
    assert kinds(report) == ["all_void"]
    assert finding.severity == "warning"
    assert finding.what == "1 label without any class, only ignored pixels: nothing to learn or score"
    assert "--data.skip_constant_labels true" in finding.remedy
    assert report.splits[0].ignored_share == pytest.approx(0.25)
    left_out = one(examine(folder, skip_constant_labels=True), "all_void")
    assert left_out.severity == "info"
    assert left_out.what.endswith("(left out, as data.skip_constant_labels asks)")


@pytest.mark.parametrize(("count", "severity"), [(1, "info"), (4, "warning")])
def test_labels__of_one_class(folder: Path, count: int, severity: str):
    for number in range(count):
        redraw(folder, f"train/t00{number}.png", np.full(SIZE, 1, np.uint8))
    finding = one(examine(folder), "constant_label")
    assert finding.severity == severity
    assert finding.what == f"{count} label{'s' * (count > 1)} with one single class"
    assert str(finding.places[0]) == "train: masks/train/t000.png (box)"
    assert finding.remedy.endswith("--data.skip_constant_labels true")
    assert one(examine(folder, skip_constant_labels=True), "constant_label").severity == "info"


def test_labels__mostly_ignored(folder: Path):
    def mostly_void(ids: np.ndarray) -> np.ndarray:
        ids[: SIZE[0] * 3 // 4] = 255
        ids[-3:, :3] = [[0], [1], [2]]
        return ids

    redraw_all(folder, mostly_void)
    report = examine(folder, splits=["train"])
    finding = one(report, "mostly_ignored")
    assert finding.severity == "warning"
    assert finding.what == "75 % of the train pixels are ignored"
    assert finding.remedy.startswith("If that is background, make it a class")


# masks of one object


def test_binary_masks__without_a_description(folder: Path):
    (folder / "dataset.yaml").unlink()
    redraw_all(folder, lambda ids: (np.minimum(ids, 1) * 255).astype(np.uint8))
    report = examine(folder)
    finding = one(report, "binary_masks")
    assert finding.severity == "info"
    assert finding.what == "the labels hold 0 and 255 only: masks of one object on a background"
    assert "label_map: {0: 0, 255: ignore}" in finding.remedy
    assert "label_map: {0: 0, 255: 1}" in report.proposal
    assert kinds(report) == ["no_class_names", "binary_masks"]


@pytest.mark.parametrize(
    ("yaml", "is_said"),
    [
        ("names: [background]", True),  # 255 is ignored by default
        ("{names: [background, object], ignore_index: 11}", True),  # 255 is no class
        ("{names: [background, object], label_map: {0: 0, 255: 1}, ignore_index: 11}", False),
    ],
)
def test_binary_masks__with_a_description(folder: Path, yaml: str, is_said: bool):
    (folder / "dataset.yaml").write_text(yaml)
    redraw_all(folder, lambda ids: (np.minimum(ids, 1) * 255).astype(np.uint8))
    report = examine(folder)
    assert ("binary_masks" in kinds(report)) == is_said
    if is_said:
        finding = one(report, "binary_masks")
        assert finding.severity == "warning"
        assert (
            finding.what
            == "the labels hold 0 and 255 only, as masks of one object do, but 255 means no class"
        )
        assert finding.remedy.endswith("names: {0: background, 1: object}\nlabel_map: {0: 0, 255: 1}")
    else:
        assert report.findings == ()


# how labels are stored


def test_palettes__are_read_as_indices(folder: Path):
    (folder / "masks/train/t001.png").write_bytes(encode_palette(draw_label([0, 1, 2], SIZE, 1)))
    report = examine(folder)
    finding = one(report, "palette")
    assert kinds(report) == ["palette"]
    assert finding.severity == "info"
    assert finding.what == "1 label stored as PNG with a palette: the indices count, not the colours"


def test_colours__that_classes_have(folder: Path):
    listed = ", ".join(f"{i}: {colour.tolist()}" for i, colour in enumerate(COLOURS))
    (folder / "dataset.yaml").write_text(
        f"names: [ground, box, cone]\ncolours: {{{listed}, ignore: [[0, 0, 0]]}}"
    )
    redraw_all(folder, lambda ids: COLOURS[ids])
    report = examine(folder)
    assert kinds(report) == ["rgb"]
    assert one(report, "rgb").severity == "info"
    assert one(report, "rgb").what == "6 labels stored as RGB: each colour is looked up"
    assert (report.values[0].value, report.values[0].class_name) == ("[128, 64, 128]", "ground")

    changed = COLOURS[draw_label([0, 1, 2], SIZE, 0)]
    changed[:8, :8] = 1, 2, 3
    redraw(folder, "train/t000.png", changed)
    finding = one(examine(folder), "unknown_values")
    assert "no class has: [1, 2, 3] (0.35 % of pixels, 1 label)" in finding.what
    assert finding.remedy.startswith("In the YAML file, list them under colours (`ignore: [[r, g, b]]`")


def test_colours__that_no_class_has(folder: Path):
    redraw_all(folder, lambda ids: COLOURS[ids])
    report = examine(folder)
    finding = one(report, "rgb_without_colours")
    assert finding.severity == "error"
    assert finding.what.startswith("6 labels stored as RGB, and no class has a colour; there are [")
    assert finding.remedy.startswith(
        "In the YAML file, list the colour of each class: `colours: {0: [r, g, b], ...}`"
    )
    assert "unknown_values" not in kinds(report)


def test_colours__of_three_equal_channels(folder: Path):
    redraw(folder, "train/t001.png", np.repeat(draw_label([0, 1, 2], SIZE, 1)[..., None], 3, axis=2))
    report = examine(folder)
    finding = one(report, "grey_stored_as_rgb")
    assert finding.severity == "error"
    assert finding.what == "1 label stored as RGB with three equal channels"
    assert finding.remedy.startswith("Store one channel: `mogrify -colorspace Gray")
    mixed = one(report, "mixed_storage")
    assert mixed.severity == "warning"
    assert mixed.what == "5 labels with one channel beside 1 stored as RGB"


def test_colours__far_too_many(folder: Path):
    (folder / "dataset.yaml").unlink()
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    (folder / "images/train/t001.jpg").write_bytes(encode(noise, "JPEG"))
    redraw(folder, "train/t001.png", noise)
    report = examine(folder)
    finding = one(report, "rgb")
    assert finding.severity == "warning"
    assert (
        finding.what == "1 label stored as RGB, of more than 4,096 colours: resized smoothly, or once a JPEG"
    )
    assert sum(row.value.startswith("[") for row in report.values) == 4096


# classes without names


def test_no_names__proposes_a_description_that_works(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (folder / "dataset.yaml").unlink()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("somebody needs this")
    rare = draw_label([0, 1, 2], SIZE, 1)
    rare[5, 5] = 9
    redraw(folder, "val/v000.png", rare)
    report = examine("mine")
    finding = one(report, "no_class_names")
    assert finding.severity == "error"
    assert finding.what == "the classes have no names yet"
    assert finding.remedy == (
        "Save the lines below here as mine_2.yaml, correct the names, then\n  vfmseg check-data mine_2.yaml"
    )
    assert report.class_names == ()
    assert {row.class_name for row in report.values} == {"(no name yet)"}
    assert np.isnan(report.splits[0].ignored_share)
    (tmp_path / "mine_2.yaml").write_text(report.proposal)
    _, description = plan_folder("mine_2.yaml", "train")
    assert description is not None
    assert set(description.label_map.raw_to_id) == {0, 1, 2, 9, 255}
    assert "no_class_names" not in kinds(examine("mine_2.yaml"))


def test_no_names__and_no_label_that_can_be_read(folder: Path):
    (folder / "dataset.yaml").unlink()
    for path in (folder / "masks").rglob("*.png"):
        path.write_bytes(b"broken")
    report = examine(folder)
    assert report.proposal == ""
    assert one(report, "no_class_names").remedy == (
        "First make the labels readable; then this proposes a description."
    )
    assert one(report, "label_unreadable").count == 6
