"""Words of a command line in, an exit code out: picks the verb, and prints a user's mistake without a traceback.

Exit codes: 0 done; 1 done, but what was checked is not in order; 2 a mistake, said in one message; 130 and 143
stopped by Ctrl-C or SIGTERM, a fit after saving; 141 nobody reads the output any more, as in `vfmseg ... | head`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from vfmseg.errors import RecipeError, VfmsegError, nearest

VERBS: dict[str, str] = {
    "demo": "generate scenes, fit a tiny model, validate, predict, report: the whole path, offline",
    "fit": "fine-tune a vision foundation model by a recipe, for semantic, panoptic or instance segmentation",
    "validate": "score a checkpoint on data: mIoU (semantic), PQ (panoptic) or mask AP (instance)",
    "predict": "segment images and folders with a checkpoint, semantic, panoptic or instance",
    "merge": "fold a tuning (LoRA, SoMA) into the encoder's weights, with equal outputs",
    "report": "make one HTML page of a run, or of models compared over targets: semantic, panoptic or instance",
    "check-data": "examine a data set before training on it, for the task semantic, panoptic or instance",
    "benchmark": "run a study: a grid of recipes and seeds, resumable, with a ranking at the end",
    "list": "show encoders, tunings, decoders, datasets, recipes or studies",
}
"""Verb -> one line of help; the verb ``a-b`` lives in ``vfmseg.cli.a_b_verb``."""

ENVIRONMENT: dict[str, str] = {
    # Threads of torch's CPU kernels wait for each other by spinning. Where a loader worker or another program
    # wants the same core, a step then takes ten times as long; waiting asleep costs next to nothing.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Large tensors of a CPU lie on large pages: a fresh map of features is then not paid for page by page.
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""Variable -> value, for what is read when torch is loaded; whatever the user has set stays."""

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
"""How the paths of our own files begin."""

_OPTION = re.compile("--|-[A-Za-z]")
"""How an option begins; a lone dash and a negative number are values."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises our errors and remembers which options it has."""

    def __init__(self, **settings: Any) -> None:
        self.own_options: set[str] = set()
        super().__init__(**{"allow_abbrev": False, **settings})

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Add an argument and remember its names."""
        self.own_options.update(name for name in names if name.startswith("-"))
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise RecipeError(f"{message}. `{self.prog} --help` shows what is possible.")


def main(arguments: list[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: words after the program's name; by default those it was started with.

    Returns:
        The exit code.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a class name that the terminal's encoding lacks ends no work
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else arguments
    try:
        with _stopped_by_sigterm(), _warnings_in_one_line():
            try:
                return _run(words)
            finally:
                sys.stdout.flush()  # here, where a reader who has gone is noticed
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (VfmsegError, OSError) as error:  # OSError: whatever of the machine nobody had a better word for
        if os.environ.get("VFMSEG_TRACEBACK"):
            raise
        hint = "" if isinstance(error, VfmsegError) else " (VFMSEG_TRACEBACK=1 shows where)"
        print(f"vfmseg: {_message(error)}{hint}", file=sys.stderr)
        stopped_by = getattr(error, "signal_number", None)
        return 2 if stopped_by is None else 128 + int(stopped_by)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except SystemExit as left:
        if isinstance(left.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of Ctrl-C
            return _stopped(signal.SIGINT)
        if left.code == 128 + signal.SIGTERM:
            return _stopped(signal.SIGTERM)
        raise


def _stopped(number: int) -> int:
    print("vfmseg: stopped", file=sys.stderr)
    return 128 + number


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """Have SIGTERM leave the program, which Lightning would only make a note of; a fit in its steps saves first."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Have warnings say what is wrong, without the line of code that noticed it, which says nothing to a user."""
    before = warnings.formatwarning

    def one_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if filename.startswith(_PACKAGE) and not os.environ.get("VFMSEG_TRACEBACK"):
            return f"vfmseg: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _message(error: Exception) -> str:
    """Return what an error says; one of a loader worker comes wrapped in its traceback."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].rstrip()


def _run(words: list[str]) -> int:
    chosen = words[0] if words and words[0] in VERBS else None
    if chosen is None:
        return _without_verb(words)
    module = importlib.import_module(f"vfmseg.cli.{chosen.replace('-', '_')}_verb")
    line = VERBS[chosen]
    parser = Parser(
        prog=f"vfmseg {chosen}",
        description=f"{line[0].upper()}{line[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_options(parser)
    own = words[1:]
    recipe_words: list[str] = []
    if module.TAKES_RECIPE_KEYS:
        own, recipe_words = split_recipe_words(own, parser.own_options)
    options, rest = parser.parse_known_args(own)
    if rest:
        raise RecipeError(
            f"vfmseg {chosen} does not know {rest[0]!r}.{nearest(rest[0], parser.own_options)} "
            f"`vfmseg {chosen} --help` shows what it has."
        )
    code: int = module.run(options, recipe_words)
    return code


def split_recipe_words(words: list[str], own_options: set[str]) -> tuple[list[str], list[str]]:
    """Return (words for the verb's own parser, recipe options with their values).

    Done before argparse sees the words, which would take the value of an option it does not know for one of
    its own positional arguments.
    """
    own: list[str] = []
    recipe: list[str] = []
    target = own
    for word in words:
        if _OPTION.match(word):
            name = word.partition("=")[0]
            target = recipe if word.startswith("--") and name not in own_options else own
        target.append(word)
    return own, recipe


def _without_verb(words: list[str]) -> int:
    if words and not words[0].startswith("-"):
        raise RecipeError(
            f"There is no verb {words[0]!r}.{nearest(words[0], VERBS)} Known: {', '.join(VERBS)}."
        )
    top = Parser(prog="vfmseg", description="Any vision foundation model becomes a segmentation model.")
    top.usage = "vfmseg VERB [options]"
    top.epilog = "verbs:\n" + "\n".join(f"  {name:11} {line}" for name, line in VERBS.items())
    top.epilog += "\n\n`vfmseg VERB --help` explains one."
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("--version", action="store_true", help="print the version")
    options = top.parse_args(words)
    if options.version:
        from vfmseg.runs.version import vfmseg_version

        print(vfmseg_version())
    else:
        top.print_help()
    return 0
