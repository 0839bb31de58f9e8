"""Writes the reference pages that the program knows best: its verbs, the recipe keys, the data sets.

Usage: ``python docs/generate.py`` (``make docs`` does it). A test compares the pages with what this prints.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import yaml

from vfmseg.cli.aliases import ALIASES, RANDOM_WEIGHTS, REFUSED, SAID
from vfmseg.cli.program import VERBS, Parser
from vfmseg.data.catalog import DATASETS, SPECS, tasks_of
from vfmseg.data.spec import CLASSES_FOLDER, read_label_map
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


DATA_SETS = """\
What `data.name` may be; `vfmseg list datasets` prints the same. `data.path` is the folder that holds the files, packed
as they were downloaded, or unpacked. GTA V, SYNTHIA and UrbanSyn are validated on Cityscapes, whose files are then needed
too. Licences are given in short: what binds is the publisher's text.
"""

PARTS = """\
Parts of splits can be asked for like a split:
`vfmseg validate CHECKPOINT --target 'night={name: acdc, path: DIR, split: val_night}'`. Test splits have no public labels
and cannot be scored.

- `acdc`: `train_` and `val_` with `fog`, `night`, `rain` or `snow`.
- `cityscapes_c`: `val_fog` is one corruption at all five severities, `val_fog_3` at one. Nobody publishes these images:
  they are looked for as `Cityscapes-C/fog/3/val/CITY/*_leftImg8bit.png`, one for each image of Cityscapes' val split.
"""

MIXED = """\
`data.fraction` trains on a part of the training split, `data.sources` on several data sets in place of it; validation
stays on the data set that `data.name` names:

```yaml
data:
  name: cityscapes
  path: DIR
  sources:
    - {name: gta5, weight: 2}
    - {name: synthia, weight: 1}
    - {name: cityscapes, weight: 1, fraction: 1/16}
```

Of every thousand images, 500 are then of GTA V and 250 of each of the others; without weights, every image is shown as
often as any other. What a fraction takes is drawn once, by `data.fraction_seed`, and listed in the run folder's
`training_images.txt`; a smaller fraction is a part of a larger one. Sources need the same classes in the same order.
`check-data` examines `data.name` alone.
"""

MAPPED = """\
BDD100K, ACDC and UrbanSyn store the numbers of the 19 classes. Other labels are mapped onto them by name, class by class,
as the table says; what it does not list is ignored. For Mapillary Vistas 1.2 that is the matching published with Rein
(arXiv 2312.04265); for 2.0 none is published, and the one of 1.2 is carried over to the finer names. `mapillary_own` and
`mapillary_v2_own` keep the classes that Mapillary evaluates. SYNTHIA has no terrain, truck or train in its images.
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
    return {"command-line.md": _command_line(), "recipe.md": _recipe(), "data-sets.md": _data_sets()}


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


def _data_sets() -> str:
    parts = ["# Data sets\n", NOTE, DATA_SETS]
    parts.append("| `data.name` | what | tasks | classes | splits | licence |\n|---|---|---|---|---|---|")
    parts += [
        f"| `{name}` | {info.title} | {', '.join(tasks_of(name))} | {info.num_classes or 'yours'} "
        f"| {', '.join(info.splits)} | {_cell(info.licence)} |"
        for name, info in DATASETS.items()
    ]
    parts += ["\n## Files\n", "| `data.name` | files | from |\n|---|---|---|"]
    parts += [
        f"| `{name}` | {_files(DATASETS[name].files)} | {_cell(DATASETS[name].homepage)} |" for name in SPECS
    ]
    parts += [
        "\n## Parts of splits\n",
        PARTS,
        "## Fractions and mixtures\n",
        MIXED,
        "## Classes mapped onto those of Cityscapes\n",
        MAPPED,
    ]
    sources = ("mapillary_v1.2", "mapillary_v2.0", "synthia")
    parts.append("| Cityscapes | Mapillary Vistas 1.2 | Mapillary Vistas 2.0 | SYNTHIA |\n|---|---|---|---|")
    for class_id, target in enumerate(read_label_map("cityscapes").label_space.names):
        cells = [_cell(", ".join(_counting_as(class_id, classes))) for classes in sources]
        parts.append(f"| {target} | {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


def _counting_as(class_id: int, classes: str) -> list[str]:
    """Return the names in a class file that count as one class of Cityscapes."""
    ids = read_label_map(classes, onto="cityscapes").raw_to_id
    rows = yaml.safe_load((CLASSES_FOLDER / f"{classes}.yaml").read_text(encoding="utf-8"))["classes"]
    return [row["name"] for row in rows if ids[row["id"]] == class_id]


def _files(names: tuple[str, ...]) -> str:
    shown = names if len(names) <= 4 else (names[0], "...", names[-1])
    return ", ".join(name if name == "..." else f"`{name}`" for name in shown)


def _cell(text: str) -> str:
    """Return text that cannot break a table row."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
