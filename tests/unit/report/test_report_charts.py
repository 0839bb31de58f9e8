import base64
import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vfmseg.report.charts import Series, bar, heat_map, line_chart, moving_average, nice_ticks, thin

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


def parsed(drawn):
    return ElementTree.fromstring(str(drawn))


def described(svg):
    title, desc = svg.find("title"), svg.find("desc")
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    return title.text, desc.text


@given(NUMBERS, st.floats(1e-6, 1e6))
@settings(max_examples=100, deadline=None)
def test_nice_ticks__span_the_range_with_few_even_steps(low, width):
    ticks = nice_ticks(low, low + width)
    slack = 1e-6 * width + 1e-9 * abs(low)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 8


def test_nice_ticks__round_numbers():
    assert nice_ticks(0, 1) == [0, 0.5, 1]
    assert nice_ticks(0, 0.8) == [0, 0.2, 0.4, 0.6, 0.8]
    assert nice_ticks(-3, 7) == [-5, 0, 5, 10]
    assert nice_ticks(2, 2) == [2, 2.5, 3]
    assert nice_ticks(0, 1e-4) == [0, 5e-5, 1e-4]


@given(st.lists(NUMBERS, min_size=1, max_size=300), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_thin__keeps_the_extremes_and_the_order(values, most):
    points = list(enumerate(values))
    kept = thin(points, most)
    assert len(kept) <= max(most, 2)
    assert min(v for _, v in kept) == min(values)
    assert max(v for _, v in kept) == max(values)
    assert kept == sorted(kept)


def test_moving_average__of_a_line_is_the_line_inside():
    points = [(float(i), 3.0 * i) for i in range(20)]
    assert moving_average(points, 5)[2:-2] == points[2:-2]
    assert moving_average(points, 5)[0] == (0.0, 3.0)


def test_line_chart__says_what_it_shows():
    series = [
        Series("val/miou", ((100, 0.2), (200, 0.5), (300, 0.4))),
        Series("a <b> & c", ((100, 0.7), (300, 0.9))),
    ]
    svg = parsed(line_chart("mIoU", series, is_share=True, baseline=("majority class", 0.05), best=0))
    title, said = described(svg)
    assert title == "mIoU over steps"
    assert said == (
        "val/miou: 20\u00a0% at step 100, 40\u00a0% at step 300, lowest 20\u00a0%, highest 50\u00a0%. "
        "a <b> & c: 70\u00a0% at step 100, 90\u00a0% at step 300, lowest 70\u00a0%, highest 90\u00a0%. "
        "majority class: 5\u00a0%"
    )
    texts = [text.text for text in svg.iter("text")]
    assert {"best 50\u00a0%", "a <b> & c", "majority class 5\u00a0%", "step"} <= set(texts)
    assert len(svg.findall("polyline")) == 2
    assert [c.find("title").text for c in svg.iter("circle")][1] == "val/miou: 50\u00a0% at step 200"


def test_line_chart__points_lie_where_their_values_are():
    svg = parsed(line_chart("t", [Series("a", ((0, 0.0), (50, 10.0), (100, 5.0)))]))
    points = [tuple(map(float, p.split(","))) for p in svg.find("polyline").get("points").split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 - y1 == pytest.approx(2 * (y0 - y2), abs=0.3)
    assert y1 < y2 < y0


def test_line_chart__long_legend_takes_two_lines_and_the_curves_make_room():
    names = ("train/loss", "train/loss_mask", "train/loss_dice", "train/loss_class")
    svg = parsed(line_chart("t", [Series(name, ((0, 0.0), (1, 1.0))) for name in names]))
    places = {t.text: (float(t.get("x")), float(t.get("y"))) for t in svg.iter("text") if t.text in names}
    assert [places[name][1] for name in names] == [14, 14, 30, 30]
    assert all(x + 6.3 * len(name) <= 360 for name, (x, _) in places.items())
    tops = [float(line.get("y1")) for line in svg.iter("line") if line.get("class") == "grid"]
    assert min(tops) == 46


@pytest.mark.parametrize("values", [(3.0,), (0.0, 0.0), (-2.0, -1.0), (1e-12, 1e-12), (1e9, 2e9)])
def test_line_chart__any_range_stays_inside(values):
    svg = parsed(line_chart("t", [Series("a", tuple(enumerate(values)))], best=0))
    for circle in svg.iter("circle"):
        assert 0 <= float(circle.get("cx")) <= 360
        assert 0 <= float(circle.get("cy")) <= 200


def test_line_chart__long_series_are_thinned_and_smoothed():
    points = tuple((float(i), math.sin(i)) for i in range(5000))
    svg = parsed(line_chart("t", [Series("a", points)], smooth=True))
    faint, average = svg.findall("polyline")
    assert "faint" in faint.get("class")
    assert len(faint.get("points").split()) <= 300
    heights = [float(p.split(",")[1]) for p in average.get("points").split()]
    assert max(heights) - min(heights) < 20
    assert not svg.findall("circle")


@pytest.mark.parametrize("classes", [2, 11, 19, 30, 150])
def test_heat_map__is_well_formed_and_names_every_class(classes):
    rng = np.random.default_rng(classes)
    confusion = rng.integers(0, 50, (classes, classes))
    confusion[1] = 0
    names = [f"class <{i}> of many names" for i in range(classes)]
    svg = parsed(heat_map(confusion, names, said="words"))
    assert described(svg) == ("Confusion matrix", "words")
    texts = [t for t in svg.iter("text") if t.get("class") == "name"]
    assert len(texts) == classes * (4 if classes > 40 else 2)
    assert texts[0].find("title").text == "class <0> of many names"
    assert (svg.find("image") is not None) == (classes > 40)


def test_heat_map__cells_tell_their_share():
    svg = parsed(heat_map(np.array([[90, 10], [0, 0]]), ["a", "b"], said=""))
    cells = [
        (rect.get("class"), rect.find("title").text)
        for rect in svg.iter("rect")
        if rect.find("title") is not None
    ]
    assert cells == [("hit", "a predicted as a: 90\u00a0%"), ("miss", "a predicted as b: 10\u00a0%")]
    assert [t.text for t in svg.iter("text") if t.get("class").startswith("number")] == ["90", "10"]


def test_heat_map__picture_of_many_classes_holds_the_shares():
    confusion = np.zeros((50, 50), np.int64)
    confusion[3, 3], confusion[3, 7] = 75, 25
    svg = parsed(heat_map(confusion, [str(i) for i in range(50)], said=""))
    uri = svg.find("image").get("href")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))))
    assert pixels.shape == (50, 50, 4)
    assert pixels[3, 7, 3] == round(255 * 0.5)
    assert pixels[3, 3, 2] > pixels[3, 3, 0]
    assert pixels[3, 7, 0] > pixels[3, 7, 2]
    assert np.count_nonzero(pixels[..., 3]) == 2


def test_bar__length_and_escaped_words():
    assert str(bar(0.25, "<25")) == '<span class="bar"><b>&lt;25</b><i><i style="width:25.0%"></i></i></span>'
    assert str(bar(None, "–")) == '<span class="bar"><b>–</b></span>'
