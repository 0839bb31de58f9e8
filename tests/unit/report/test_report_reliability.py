import json

import pytest

from support.evaluations import reliability
from vfmseg.errors import CheckpointError
from vfmseg.report.reliability import read_reliability, reliability_diagram, reliability_facts


def read(tmp_path, **changes):
    path = tmp_path / "reliability.json"
    path.write_text(json.dumps(reliability() | changes), encoding="utf-8")
    return read_reliability(path)


def test_reliability_diagram__bars_and_words(tmp_path):
    drawn = reliability_diagram("Reliability", read(tmp_path))
    assert drawn.count('class="right"') == 2
    assert drawn.count('class="over"') == 1  # 90 % sure and 70 % right; the other promises less than it holds
    assert "confidence 40.0\u00a0%: 60.0\u00a0% right, 25.0\u00a0% of the pixels" in drawn
    assert 'height="154"' in drawn  # 70 % of 220


def test_reliability_facts__what_there_is(tmp_path):
    unknown = {"auroc": 0.9, "aupr": None, "fpr95": 0.25}
    found = reliability_facts(read(tmp_path, ece=None, unknown=unknown))
    assert found == [
        ("AUROC", "80.0\u00a0%"),
        ("AUPR success", "90.0\u00a0%"),
        ("AUPR error", "30.0\u00a0%"),
        ("FPR95", "50.0\u00a0%"),
        ("unknown objects: AUROC", "90.0\u00a0%"),
        ("unknown objects: FPR95", "25.0\u00a0%"),
    ]


def test_read_reliability__without_bins(tmp_path):
    assert read(tmp_path, bins=None).bins == ()
    assert read_reliability(tmp_path / "none.json") is None


@pytest.mark.parametrize("changes", [{"bins": [{"low": 0.0}]}, {"bins": 3}, {"ece": "x"}, {"unknown": 3}])
def test_read_reliability__damaged(tmp_path, changes):
    with pytest.raises(CheckpointError, match=r"reliability\.json' cannot be read: it is not of the form"):
        read(tmp_path, **changes)
