"""Which version runs, installed or not."""

from importlib import metadata

import pytest

from vfmseg.cli.program import main
from vfmseg.runs.folder import environment
from vfmseg.runs.version import SOURCE_TREE, vfmseg_version


@pytest.fixture
def is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = metadata.version

    def ask(name: str) -> str:
        if name == "vfmseg":
            raise metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(metadata, "version", ask)


def test_version__is_that_of_the_installed_package() -> None:
    assert vfmseg_version() == metadata.version("vfmseg")


@pytest.mark.usefixtures("is_not_installed")
def test_version__of_a_source_tree_is_said_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert vfmseg_version() == SOURCE_TREE
    found = environment("vfmseg")
    assert found["vfmseg"] == SOURCE_TREE
    assert found["torch"] == metadata.version("torch")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0+source"
