"""A report -> text of at most 96 columns, JSON, and an exit code."""

from __future__ import annotations

import json

import pytest

from vfmseg.data.doctor_report import Finding, Place, Report, Severity, SplitFacts, ValueRow
from vfmseg.data.doctor_text import WIDTH, render

NAN = float("nan")


def facts(**changes: object) -> SplitFacts:
    values: dict[str, object] = {
        "split": "train",
        "sentence": "mine train: 1200 images with masks, images/*.jpg with masks/*.png (1200 train).",
        "num_samples": 1200,
        "num_examined": 1200,
        "ignored_share": 0.031,
        "read_ms": 0.24,
        "decode_ms": 4.12,
        "sizes": (((480, 640), 1200),),
    }
    return SplitFacts(**(values | changes))  # type: ignore[arg-type]


def finding(
    severity: Severity, *, places: int = 1, remedy: str = "Mend it.", what: str = "a flaw"
) -> Finding:
    names = tuple(Place("train", f"masks/{i}.png", "7: 3 px" if i == 0 else "") for i in range(places))
    return Finding(severity=severity, code="flaw", what=what, remedy=remedy, places=names)


def row(value: int, name: str, pixels: int) -> ValueRow:
    return ValueRow(value=str(value), class_name=name, pixels=(pixels,), images=(int(pixels > 0),))


def report(**changes: object) -> Report:
    values: dict[str, object] = {
        "title": "mine",
        "class_names": ("road", "car"),
        "splits": (facts(),),
        "values": (
            row(0, "road", 99_000),
            row(1, "car", 995),
            row(255, "(ignored)", 5),
            row(9, "(no class)", 0),
        ),
        "findings": (),
        "proposal": "",
        "images_per_s": 123.4,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_render__whole():
    assert render(report(findings=(finding("error", places=5), finding("info", places=0, remedy="")))) == (
        "mine: 1,200 images with labels, 2 classes\n"
        "\n"
        "  mine train: 1200 images with masks, images/*.jpg with masks/*.png (1200 train).\n"
        "\n"
        "split  images  looked at  ignored px  read ms  decode ms  size (height x width)\n"
        "train   1,200      1,200       3.1 %      0.2        4.1  480 x 640\n"
        "\n"
        "value  class       train px %  labels\n"
        "    0  road              99.0       1\n"
        "    1  car               0.99       1\n"
        "  255  (ignored)        <0.01       1\n"
        "    9  (no class)           -       -\n"
        "\n"
        "ERROR    a flaw.\n"
        "         - train: masks/0.png (7: 3 px)\n"
        "         - train: masks/1.png\n"
        "         - train: masks/2.png\n"
        "         - and 2 more (--json FILE lists all)\n"
        "         -> Mend it.\n"
        "\n"
        "note     a flaw.\n"
        "\n"
        "1 error, 1 note: mend the errors first. (123 images/s)\n"
    )


def test_render__no_findings():
    assert render(report()).endswith("\nNo findings: nothing stands in the way of training. (123 images/s)\n")


def test_render__classes_without_names():
    text = render(
        report(class_names=(), proposal="names:\n  0: class_0\n", splits=(facts(ignored_share=NAN),))
    )
    assert text.startswith("mine: 1,200 images with labels, classes without names\n")
    assert "\n\nnames:\n  0: class_0\n\n" in text
    assert "      1,200           -      0.2" in text


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((), "-"),
        ((((480, 640), 3), ((640, 480), 1)), "480 x 640 (3), 640 x 480 (1)"),
        (
            (((30, 40), 9), ((10, 10), 1), ((50, 60), 2), ((900, 1000), 1)),
            "4 sizes: 10 x 10 ... 30 x 40 ... 900 x 1000",
        ),
        (
            (((10, 10), 1), ((20, 20), 1), ((30, 30), 1), ((40, 40), 1)),
            "4 sizes: 10 x 10 ... 20 x 20 ... 40 x 40",
        ),
    ],
)
def test_render__sizes(sizes: tuple, text: str):
    assert render(report(splits=(facts(sizes=sizes),))).split("\n\n")[2].endswith(f"4.1  {text}")


def test_render__limit_is_said():
    text = render(report(splits=(facts(num_examined=50),)))
    assert "Only some were looked at, evenly spread: all that follows is about those." in text
    assert "Only some" not in render(report())


def test_render__long_tables_show_both_ends():
    rows = tuple(row(i, f"class {i}", 1000 - i if i < 90 else 0) for i in range(100))
    lines = render(report(values=rows)).split("\n\n")[3].splitlines()
    assert [line.split()[0] for line in lines[1:21]] == [str(i) for i in range(20)]
    assert lines[21] == "... 55 more between, all with --json FILE"
    assert [line.split()[0] for line in lines[22:37]] == [str(i) for i in range(75, 90)]
    assert lines[37:] == ["... and 10 classes that are never shown"]


def test_render__width():
    words = "word " * 60
    long = finding("warning", what=words.strip(), remedy=f"{words}\n  indented {words}")
    wide = report(
        title="folder " * 30,
        findings=(long,),
        values=(ValueRow(value="0-100, 102-200", class_name="n" * 50, pixels=(1,), images=(1,)),),
    )
    lines = render(wide).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert any(line.startswith("WARNING  word") for line in lines)
    assert any(line.startswith("              indented word") for line in lines)
    assert f"{'n' * 25}..." in render(wide)


def test_render__verdict_counts():
    severities: tuple[Severity, ...] = ("error", "error", "warning", "warning", "info", "info")
    last = render(report(findings=tuple(map(finding, severities)))).splitlines()[-1]
    assert last.startswith("2 errors, 2 warnings, 2 notes: mend the errors first.")


@pytest.mark.parametrize(
    ("severities", "code", "strict_code"),
    [((), 0, 0), (("info",), 0, 0), (("warning", "info"), 0, 1), (("error",), 1, 1)],
)
def test_exit_code(severities: tuple[Severity, ...], code: int, strict_code: int):
    some = report(findings=tuple(map(finding, severities)))
    assert some.exit_code() == code
    assert some.exit_code(strict=True) == strict_code


def test_to_json__holds_everything():
    some = report(findings=(finding("error", places=50),), splits=(facts(ignored_share=NAN),))
    tree = json.loads(some.to_json())
    (flaw,) = tree["findings"]
    assert flaw["count"] == len(flaw["places"]) == 50
    assert flaw["places"][0] == {"split": "train", "name": "masks/0.png", "detail": "7: 3 px"}
    assert flaw["severity"] == "error"
    (split,) = tree["splits"]
    assert split["ignored_share"] is None  # NaN is no JSON
    assert split["decode_ms"] == 4.12
    assert split["sizes"] == [[[480, 640], 1200]]
    assert tree["values"][1] == {"value": "1", "class_name": "car", "pixels": [995], "images": [1]}
    assert tree["class_names"] == ["road", "car"]
