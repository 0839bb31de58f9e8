"""What README and docs tell people to type, copy and open exists: commands, recipes, snippets, links."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from vfmseg.cli.program import VERBS, Parser, split_recipe_words
from vfmseg.cli.recipe_options import read
from vfmseg.data.description import read_description
from vfmseg.models.encoders.catalog import ENCODERS
from vfmseg.runs.recipe_keys import keys
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.studies.study_file import study_of

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
LANGUAGES = {"sh", "python", "yaml", "text"}


class Snippet(NamedTuple):
    """One fenced block."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _snippets() -> Iterator[Snippet]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            yield Snippet(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])


SNIPPETS = list(_snippets())


def of(language: str) -> list[Snippet]:
    """Return the snippets of one language."""
    return [snippet for snippet in SNIPPETS if snippet.language == language]


def commands(snippet: Snippet) -> list[list[str]]:
    """Return the commands of a shell snippet as words; comments and continued lines are understood."""
    joined = snippet.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def test_pages__every_block_says_its_language() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        understood = len(list(BLOCK.finditer(text)))  # those without a language, or indented, are not
        assert text.count("```") == 2 * understood, page
    assert {snippet.language for snippet in SNIPPETS} <= LANGUAGES


@pytest.mark.parametrize("snippet", of("sh"), ids=str)
def test_shell__commands_exist_and_their_options_parse(
    snippet: Snippet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    for words in commands(snippet):
        while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # VARIABLE=value before the command
            words = words[1:]
        assert words[0] in CHECKS, f"{words[0]} is not a command the documentation may use"
        CHECKS[words[0]](words[1:])


def _check_vfmseg(words: list[str]) -> None:
    words = words[: words.index(">")] if ">" in words else words
    if words in (["--help"], ["--version"]):
        return
    verb, *rest = words
    assert verb in VERBS, f"vfmseg has no verb {verb}"
    if rest == ["--help"]:
        return
    module = importlib.import_module(f"vfmseg.cli.{verb.replace('-', '_')}_verb")
    parser = Parser(prog=f"vfmseg {verb}")
    module.add_options(parser)
    own, recipe_words = (
        split_recipe_words(rest, parser.own_options) if module.TAKES_RECIPE_KEYS else (rest, [])
    )
    options, unknown = parser.parse_known_args(own)
    assert unknown == [], f"vfmseg {verb} does not know {unknown}"
    config = getattr(options, "config", None)
    if module.TAKES_RECIPE_KEYS:  # options for a recipe that is not ours are laid over one that is
        is_ours = config is not None and config.startswith("configs/")
        read(config if is_ours else "configs/scenes_linear_semantic.yaml", recipe_words)


def _check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        if "=" not in word:
            assert re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE), f"make has no target {word}"


def _check_python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        assert words[1] in ("vfmseg", "pip", "pytest", "venv", "mkdocs"), words
    else:
        assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"


def _check_nothing(words: list[str]) -> None:
    """Programs of the machine, used as they are."""


CHECKS = {
    "vfmseg": _check_vfmseg,
    "make": _check_make,
    "python": _check_python,
    "pip": _check_nothing,
    "git": _check_nothing,
    "cd": _check_nothing,
    "bash": _check_nothing,
}


@pytest.mark.parametrize("snippet", of("python"), ids=str)
def test_python__snippets_compile_and_import_what_exists(snippet: Snippet) -> None:
    compile(snippet.text, str(snippet), "exec")
    for match in re.finditer(
        r"^(?:from (vfmseg[\w.]*) import ([\w, ]+)|import (vfmseg[\w.]*))$", snippet.text, re.MULTILINE
    ):
        module = importlib.import_module(match[1] or match[3])
        for name in (match[2] or "").split(","):
            assert not name.strip() or hasattr(module, name.strip()), f"{module.__name__} has no {name}"


@pytest.mark.parametrize("snippet", of("python"), ids=str)
def test_python__public_names_exist(snippet: Snippet) -> None:
    import vfmseg

    for name in re.findall(r"\bvfmseg\.(\w+)\(", snippet.text):
        assert name in vfmseg.__all__


@pytest.mark.parametrize("snippet", of("yaml"), ids=str)
def test_yaml__snippets_are_recipes_studies_or_data_descriptions(snippet: Snippet) -> None:
    tree = yaml.safe_load(snippet.text)
    if "names" in tree:
        read_description(snippet.text, str(snippet))
    elif "axes" in tree:
        study_of(tree, name="study", source=str(snippet))
    else:
        read_recipe(tree)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links__lead_to_files_and_headings(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for match in LINK.finditer(text):
        target, _, heading = (match[1] or match[2]).partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
        if heading:
            assert heading in _anchors(file), f"{file.relative_to(ROOT)} has no heading #{heading}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_recipe_keys__named_in_the_text_exist(page: Path) -> None:
    sections = {key.split(".")[0] for key in keys() if "." in key}
    known = set(keys()) | {key.rpartition(".")[0] for key in keys()}
    pattern = rf"`((?:{'|'.join(sorted(sections))})\.[a-z_.]+)`"
    named = re.findall(pattern, page.read_text(encoding="utf-8"))
    files = {"data.yaml", "trainer.ckpt"}
    assert [name for name in named if name not in known | files] == []


@functools.cache
def generated_pages() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


@pytest.mark.parametrize("name", ["command-line.md", "recipe.md", "data-sets.md"])
def test_generated_pages__are_up_to_date(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert written == generated_pages()[name], "run `make docs`, or python docs/generate.py"


def test_navigation__holds_every_page() -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def paths(tree: object) -> Iterator[str]:
        if isinstance(tree, str):
            yield tree
        elif isinstance(tree, dict):
            for value in tree.values():
                yield from paths(value)
        elif isinstance(tree, list):
            for value in tree:
                yield from paths(value)

    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(paths(config["nav"])) == sorted(pages)


def test_readme__encoders_named_in_the_table_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("## Encoders")[1].split("\n## ")[0]
    named = re.findall(
        r"`([\w+.-]+)`", "\n".join(line for line in table.splitlines() if line.startswith("|"))
    )
    assert len(named) > 10
    assert [name for name in named if name not in ENCODERS] == []


def test_readme__make_help_lists_every_target_it_names() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony is not None
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert described == set(phony[1].split())
