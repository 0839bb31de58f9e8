"""Writes the two reference pages that the program knows best: its verbs and the recipe keys.

Usage: ``python docs/generate.py`` (``make docs`` does it). A test compares the pages with what this prints.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from vfmseg.cli.aliases import ALIASES, RANDOM_WEIGHTS, REFUSED, SAID
from vfmseg.cli.program import VERBS, Parser
from vfmseg.runs.recipe_keys import keys

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py (`make docs`); edit the program, not this page. -->\n"

COMMAND_LINE = """\
`vfmseg VERB [options]`, also `python -m vfmseg VERB [options]`. `vfmseg VERB --help` prints what stands here.

The exit code says how it went:

| code | meaning |
|---|---|
| 0 | done |
| 1 | done, but not all is in order: `check-data` has findings, `predict` could not read some images |
| 2 | a mistake; the message says what is wrong, what is allowed and what to type next |
| 130, 143 | stopped by Ctrl-C or SIGTERM, after saving |

With the environment variable `VFMSEG_TRACEBACK` set, a mistake ends in Python's traceback.
"""

RECIPE_KEYS = f"""\
## Recipe keys as options

`--a.b value`, `--a.b=value`, or `--a.b` alone for `true`. Values are read as YAML: `[0, 1]`, `true`, `1e-4`,
words. What is typed wins over the recipe file. Arguments without a dash stand before the first recipe key.
One switch is no recipe key: `--{RANDOM_WEIGHTS}` builds any model without its weights, whatever else says.

## Options of the published programs

Command lines of the [published benchmark](../how-to/benchmark-protocol.md) and of [EoMT](../how-to/eomt.md) work with
`vfmseg` in place of `python main.py`:
"""

RECIPE = """\
A recipe is a short YAML file; every key below may be left out and then has its default. Unknown keys, wrong
values and contradictions are errors, reported all at once. The resolved recipe is saved with each run as
`recipe.yaml`, which `-c` takes back. A relative `data.path` is looked for where the program is run, then
beside the recipe file.

```yaml
encoder: {name: dinov2-b, image_size: 512, patch_size: 16}
decoder: {name: linear}
data: {name: folder, path: my_images, batch_size: 4}
training: {steps: 4000, warmup: 0.05}
seed: 0
```

The keys of `decoder` depend on `decoder.name` (`linear` has no other), those of `tuning` on `tuning.method` (`full`,
`frozen` and `bitfit` have no other).
"""


class RecordingParser(Parser):
    """A verb's parser that keeps its arguments for the page."""

    def __init__(self, **settings: Any) -> None:
        self.recorded: list[argparse.Action] = []
        super().__init__(**settings)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:  # type: ignore[override]
        """Add an argument and keep it."""
        action = super().add_argument(*names, **settings)
        self.recorded.append(action)
        return action


def pages() -> dict[str, str]:
    """Return the generated pages by their file name below ``docs/reference``."""
    return {"command-line.md": _command_line(), "recipe.md": _recipe()}


def _command_line() -> str:
    parts = ["# Command line\n", NOTE, COMMAND_LINE, "| verb | does |\n|---|---|"]
    parts += [f"| [`{verb}`](#{verb}) | {line} |" for verb, line in VERBS.items()]
    for verb, line in VERBS.items():
        module = importlib.import_module(f"vfmseg.cli.{verb.replace('-', '_')}_verb")
        parser = RecordingParser(prog=f"vfmseg {verb}")
        module.add_options(parser)
        parts += [f"\n## {verb}\n", f"{line[0].upper()}{line[1:]}.\n", "| argument | meaning |\n|---|---|"]
        parts += [
            f"| {_spelling(action)} | {_cell(action.help or '')} |"
            for action in parser.recorded
            if "--help" not in action.option_strings
        ]
        if module.TAKES_RECIPE_KEYS:
            parts.append("\nEvery [recipe key](recipe.md) is an option, too: `--training.steps 100`.")
    parts += ["", RECIPE_KEYS, "| published option | here |\n|---|---|"]
    parts += [f"| `--{name}` | {_cell(meaning)} |" for name, (meaning, _) in ALIASES.items()]
    parts += [f"| `--{name}` | {_cell(meaning)} |" for name, meaning in SAID.items()]
    parts += [f"| `--{name}` | refused: {_cell(meaning)} |" for name, meaning in REFUSED.items()]
    return "\n".join(parts) + "\n"


def _spelling(action: argparse.Action) -> str:
    """Return how an argument is typed: ``-c RECIPE``, ``--resume``, ``inputs ...``."""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    if not action.option_strings:
        several = " ..." if action.nargs in ("+", "*") else ""
        return f"`{choices or action.metavar or action.dest}{several}`"
    value = "" if action.nargs == 0 else f" {choices or action.metavar or action.dest.upper()}"
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _recipe() -> str:
    sections: dict[str, list[str]] = {}
    for key, (default, documentation) in keys().items():
        row = f"| `{key}` | {f'`{default}`' if default else 'empty'} | {_cell(documentation)} |"
        sections.setdefault(key.split(".")[0] if "." in key else "top level", []).append(row)
    parts = ["# Recipe\n", NOTE, RECIPE]
    for section, rows in sections.items():
        parts += [f"## {section}\n", "| key | default | meaning |\n|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Return text that cannot break a table row."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
