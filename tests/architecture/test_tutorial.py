"""The tutorial, typed in an empty folder from its first command to its last, gives what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vfmseg.cli.program import main

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|python)\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_tutorial__every_command_and_snippet_runs_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for language, text in BLOCKS:
        if language == "python":
            exec(compile(text, "tutorial.md", "exec"), {})
            continue
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            assert words[0] == "vfmseg"
            assert main(words[1:]) == 0, line
    for written in ("runs/scenes/report.html", "runs/mine/result.json", "runs/python/recipe.yaml"):
        assert (tmp_path / written).is_file(), written
    for kind, suffix in (("masks", "png"), ("overlays", "jpg"), ("confidence", "png")):
        assert list((tmp_path / "predicted" / kind).rglob(f"*.{suffix}")), kind
