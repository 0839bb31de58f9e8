"""Every script of benchmarks measures by the common rules, writes the one form of result, and is described."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from vfmseg.cli.program import ENVIRONMENT

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "measuring")


@pytest.fixture
def measuring(monkeypatch):
    for name, value in ENVIRONMENT.items():  # it sets them for good; here they go again
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("measuring", FOLDER / "measuring.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script__measures_by_the_common_rules(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [
        name
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    ]
    outside = [name for name in imported if name.partition(".")[0] not in sys.stdlib_module_names]
    assert outside[0] == "measuring", "torch must find the environment set"
    calls = {
        node.func.attr: node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "measuring"
    }
    assert {"parser", "parse", "report"} <= set(calls)
    assert {"compare", "ratios"} & set(calls)
    assert ast.literal_eval(calls["report"].args[0]) == path.stem
    assert ast.unparse(tree.body[-1]) == "if __name__ == '__main__':\n    main()"


def test_readme__describes_every_script_and_no_other():
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    described = [line.split("`")[1] for line in lines if line.startswith("| `") and ".py`" in line]
    assert described == [path.name for path in SCRIPTS]


def test_ratios__are_of_the_same_round(measuring):
    found = measuring.ratios([2.0, 8.0, 3.0], [1.0, 2.0, 3.0])
    assert found == {"median_s": 3.0, "ratio": 2.0, "ratio_range": [1.0, 4.0], "seconds": [2.0, 8.0, 3.0]}


def test_rounds__first_one_does_not_count(measuring):
    count = iter(range(100))
    found = measuring.rounds({"a": lambda: next(count), "b": lambda: next(count)}, 3)
    assert sorted(found["a"] + found["b"]) == [2, 3, 4, 5, 6, 7]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's account of the process")
def test_compare__report_has_times_and_peak_of_each_side(measuring, tmp_path, capsys):
    group = measuring.compare(
        {"small": lambda: sum(range(1000)), "large": lambda: b"1" * 2**25}, "small", repeats=2
    )
    assert 30 < group["large"]["peak_mib"] < 40
    assert group["small"]["peak_mib"] < 2
    group["large"]["limit"] = 7.0
    options = Namespace(repeats=2, out=tmp_path / "x.json")
    measuring.report("x", options, "small", {"sizes": group})
    written = json.loads(options.out.read_text())
    assert list(written) == ["benchmark", "settings", "machine", "base", "results"]
    assert written["settings"] == {"repeats": 2}
    assert written["results"] == {"sizes": group}
    large = next(line for line in capsys.readouterr().out.splitlines() if "large" in line)
    assert large.endswith("MiB  limit 7")
