"""Writes the two reference pages that the program itself knows best: its verbs with their options, and the recipe keys.

Usage: ``python docs/generate.py`` (``make docs`` does it). A test compares the pages with what this prints.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from vfmseg.cli.aliases import ALIASES, RANDOM_WEIGHTS
from vfmseg.cli.program import VERBS, Parser
from vfmseg.runs.recipe_reader import keys

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py (`make docs`); edit the program, not this page. -->\n"

EXIT_CODES = """\
| code | meaning |
|---|---|
| 0 | done |
| 1 | done, and what was examined is not in order (`check-data`) |
| 2 | a mistake; the message says what is wrong, what is allowed and what to type next |
| 130, 143 | stopped by Ctrl-C or SIGTERM, after saving |

With the environment variable `VFMSEG_TRACEBACK` set, a mistake ends in Python's traceback instead of one message.
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
    parts = [
        "# Command line\n",
        NOTE,
        "`vfmseg VERB [options]`, also `python -m vfmseg VERB [options]`. `vfmseg VERB --help` prints what stands here.\n",
        "| verb | does |\n|---|---|",
        *(f"| [`{verb}`](#{verb}) | {line} |" for verb, line in VERBS.items()),
        "\nThe exit code says how it went:\n",
        EXIT_CODES,
    ]
    for verb, line in VERBS.items():
        module = importlib.import_module(f"vfmseg.cli.{verb.replace('-', '_')}_verb")
        parser = RecordingParser(prog=f"vfmseg {verb}")
        module.add_options(parser)
        parts += [f"## {verb}\n", f"{line[0].upper()}{line[1:]}.\n", "| argument | meaning |\n|---|---|"]
        parts += [
            f"| {_spelling(action)} | {_cell(action.help or '')} |"
            for action in parser.recorded
            if action.help != argparse.SUPPRESS and "--help" not in action.option_strings
        ]
        recipe_keys = "Every [recipe key](recipe.md) is an option, too: `--training.steps 100`."
        parts.append(f"\n{recipe_keys}\n" if module.TAKES_RECIPE_KEYS else "")
    parts += [
        "## Recipe keys as options\n",
        "`--a.b value`, `--a.b=value`, or `--a.b` alone for `true`. Values are read as YAML: `[0, 1]`, `true`, `1e-4`, "
        "words. What is typed wins over the recipe file. Recipe keys stand after the verb's own arguments, whose order "
        "is free. One switch is no recipe key: "
        f"`--{RANDOM_WEIGHTS}` builds any model without its weights, whatever else says.\n",
        "## Options of the published programs\n",
        "Command lines of the published benchmark and of EoMT keep working with `vfmseg` in place of "
        "`python main.py`, as far as the decoder and task exist here:\n",
        "| published option | here |\n|---|---|",
        *(f"| `--{name}` | {_cell(meaning)} |" for name, (meaning, _) in ALIASES.items()),
    ]
    return "\n".join(parts) + "\n"


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        several = " ..." if action.nargs in ("+", "*") else ""
        return f"`{_cell(str(value if action.metavar or action.choices else action.dest))}{several}`"
    takes_value = action.nargs != 0
    return ", ".join(f"`{name} {_cell(str(value))}`" if takes_value else f"`{name}`" for name in action.option_strings)


def _recipe() -> str:
    parts = [
        "# Recipe\n",
        NOTE,
        "A recipe is a short YAML file; every key below may be left out and then has its default. Unknown keys, wrong "
        "values and contradictions are errors, reported all at once. The resolved recipe is saved with each run as "
        "`recipe.yaml`, which `-c` takes back. A `data.path` that is relative is looked for where the program is run, "
        "then beside the recipe file.\n",
        "```yaml\nencoder: {name: dinov2-b, image_size: 512, patch_size: 16}\ndecoder: {name: linear}\n"
        "data: {name: folder, path: my_images, batch_size: 4}\ntraining: {steps: 4000, warmup: 0.05}\nseed: 0\n```\n",
        "The decoder's keys depend on `decoder.name`: `linear` has none beside its name.",
    ]
    section = None
    for key, (default, documentation) in keys().items():
        top = key.split(".")[0] if "." in key else "top level"
        if top != section:
            section = top
            parts.append(f"\n## {top}\n\n| key | default | meaning |\n|---|---|---|")
        shown = f"`{_cell(default)}`" if default else "empty"
        parts.append(f"| `{key}` | {shown} | {_cell(documentation)} |")
    return "\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """Return text that cannot break a table row."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
