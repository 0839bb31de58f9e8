"""Words in, an exit code and at most one clear message out."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from vfmseg.cli.program import VERBS, Parser, main, split_recipe_words
from vfmseg.errors import RecipeError


def refused(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the message of a command line that must end in exit code 2, without a traceback."""
    assert main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("vfmseg: ")
    assert "Traceback" not in printed.err
    return printed.err.removeprefix("vfmseg: ").rstrip("\n")


# which words belong to the verb, which to the recipe


@pytest.mark.parametrize(
    ("line", "own", "recipe"),
    [
        ("", "", ""),
        ("-c R --out D", "-c R --out D", ""),
        ("-c R --training.steps 5 --out D", "-c R --out D", "--training.steps 5"),
        ("--training.steps=5 --out=D", "--out=D", "--training.steps=5"),
        ("--resume --training.compile --out D", "--resume --out D", "--training.compile"),
        ("--data.path - x --resume", "--resume", "--data.path - x"),
        ("--trainer.devices -1 -c R", "-c R", "--trainer.devices -1"),
        ("--trainer.devices [0] [1]", "", "--trainer.devices [0] [1]"),
        ("CKPT --seed 1", "CKPT", "--seed 1"),
        ("-cR -h", "-cR -h", ""),
    ],
)
def test_split_recipe_words__every_value_stays_with_its_option(line: str, own: str, recipe: str) -> None:
    options = {"-c", "--config", "--out", "--resume", "-h", "--help"}
    assert split_recipe_words(line.split(), options) == (own.split(), recipe.split())


def test_parser__remembers_its_options_and_raises_instead_of_leaving() -> None:
    parser = Parser(prog="vfmseg x")
    parser.add_argument("-o", "--out", type=int)
    parser.add_argument("word")
    assert {"-o", "--out", "-h", "--help"} <= parser.own_options
    assert "word" not in parser.own_options
    with pytest.raises(
        RecipeError, match=r"invalid int value: 'a'\. `vfmseg x --help` shows what is possible\."
    ):
        parser.parse_args(["--out", "a", "b"])
    with pytest.raises(RecipeError):  # no abbreviations: a new option must not change what an old line means
        parser.parse_args(["--ou", "1", "b"])


# help


def _lists_every_verb(printed: str) -> bool:
    return all(f"  {verb}" in printed and what in printed for verb, what in VERBS.items())


def test_help__without_a_word_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert _lists_every_verb(capsys.readouterr().out)


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help__lists_every_verb(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([word])
    assert left.value.code == 0
    assert _lists_every_verb(capsys.readouterr().out)


def test_version__is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("vfmseg")


@pytest.mark.parametrize("verb", VERBS)
def test_help__of_each_verb_says_what_it_does_and_documents_every_option(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([verb, "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert f"vfmseg {verb}" in printed
    parser = Parser(prog=f"vfmseg {verb}")
    importlib.import_module(f"vfmseg.cli.{verb.replace('-', '_')}_verb").add_options(parser)
    for option in parser.own_options:
        assert option in printed


@pytest.mark.parametrize("verb", ["fit", "validate", "predict", "report", "check-data"])
def test_help__names_all_tasks(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    described = capsys.readouterr().out.partition("\n\n")[2].partition("\n\n")[0]
    assert all(task in described for task in ("semantic", "panoptic", "instance"))


def test_help__of_fit_lists_recipe_keys_and_published_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    printed = capsys.readouterr().out
    assert "--training.steps  [20000]" in printed
    assert "--decoder.num_queries  [100 (mask2former); 200 (mask2former_full, eomt)]" in printed
    assert "--model.network.encoder_name: encoder.name" in printed
    assert "--random_weights" in printed


# mistakes


def test_unknown_verb__offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("fitt", capsys)
    assert message.startswith("There is no verb 'fitt'. Did you mean fit")
    assert message.endswith(f"Known: {', '.join(VERBS)}.")


def test_unknown_option__of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("--verbose", capsys)
    assert message == "unrecognized arguments: --verbose. `vfmseg --help` shows what is possible."


def test_unknown_option__of_a_verb_without_recipe_offers_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    message = refused("report runs/a --helq", capsys)
    assert message.startswith("vfmseg report does not know '--helq'. Did you mean --help")
    assert message.endswith("`vfmseg report --help` shows what it has.")


def test_unknown_word__after_the_options_of_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert "vfmseg fit does not know 'extra'." in refused("fit --resume extra", capsys)


def test_missing_argument__is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the following arguments are required: DIR" in refused("report", capsys)


def test_fit__without_a_recipe_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("fit --training.steps 5", capsys)
    assert message.startswith("Say what to train: vfmseg fit -c RECIPE.")
    assert "`vfmseg list recipes`" in message


def test_fit__with_an_unknown_recipe_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("fit -c configs/camvid_linear.yaml", capsys)
    assert message.startswith(
        "There is no recipe 'configs/camvid_linear.yaml'. Did you mean configs/camvid_linear"
    )


def test_fit__reports_all_mistakes_of_file_and_options_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("training: {steps: 0}\n")
    message = refused(f"fit -c {file} --encoder.nam dinov2-s --training.poly_power -1", capsys)
    first, *wrong = message.splitlines()
    assert first == f"Recipe {file}: 3 things are wrong."
    assert sorted(wrong) == [
        "  - training.poly_power = -1: input should be greater than or equal to 0",
        "  - training.steps = 0: input should be greater than 0",
        "  - unknown key 'encoder.nam'. Did you mean encoder.name?",
    ]


def test_fit__an_option_without_its_value_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("fit -c scenes_linear_semantic --training.steps --out somewhere", capsys)
    assert "training.steps = True: input should be a number, not a switch; give it a value" in message
    assert not Path("somewhere").exists()


def test_validate__without_a_checkpoint_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused("validate", capsys).startswith("Say which checkpoint: vfmseg validate runs/")


@pytest.mark.parametrize("line", ["validate {}/none", "validate --ckpt_path {}/none --trainer.devices 1"])
def test_validate__without_a_checkpoint_there(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(line.format(tmp_path), capsys).startswith(f"There is no checkpoint at {tmp_path}/none.")


def test_report__of_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is no run folder: recipe.yaml is missing" in refused(f"report {tmp_path}", capsys)


def test_validate__two_checkpoints_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused("validate runs/a --ckpt_path runs/b", capsys)
    assert message == "Say one checkpoint: runs/a, or --ckpt_path runs/b. They mean the same."


def test_fit__nothing_to_resume_in_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(f"fit --out {tmp_path} --resume", capsys)
    assert message.startswith(f"There is nothing to resume in {tmp_path}: it holds no recipe.yaml.")


def test_stray_word__says_where_a_folder_belongs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "files and folders before the first recipe key" in refused("validate --seed 1 runs/a", capsys)


def test_operating_system__refusal_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(f"report {'a' * 300}", capsys)
    assert "File name too long" in message
    assert message.endswith("(VFMSEG_TRACEBACK=1 shows where)")


def test_output__a_terminal_that_lacks_a_letter_ends_no_work() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = [sys.executable, "-m", "vfmseg", "fit", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "--training.steps" in done.stdout


def test_traceback__is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFMSEG_TRACEBACK", "1")
    with pytest.raises(RecipeError, match="There is no verb 'fitt'"):
        main(["fitt"])


def test_warnings__are_one_line_without_the_code_that_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from vfmseg.cli import program

    said: list[str] = []

    def run(words: list[str]) -> int:
        for file in (program.__file__, warnings.__file__):
            said.append(warnings.formatwarning("2 of 3 are odd.", RuntimeWarning, file, 1))
        return 0

    monkeypatch.setattr(program, "_run", run)
    before = warnings.formatwarning
    assert main(["fit"]) == 0
    monkeypatch.setenv("VFMSEG_TRACEBACK", "1")
    assert main(["fit"]) == 0
    assert warnings.formatwarning is before
    assert said[0] == "vfmseg: 2 of 3 are odd.\n"
    assert all(
        text.startswith(file)
        for text, file in zip(said[1:], (warnings.__file__, program.__file__), strict=False)
    )


# stopped


def _raise(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    from vfmseg.cli import program

    def run(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(program, "_run", run)
    return main(["fit"])


def test_exit_code__ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _raise(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "vfmseg: stopped\n"


def test_exit_code__ctrl_c_of_which_lightning_has_made_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = SystemExit(1)
    error.__context__ = KeyboardInterrupt()
    assert _raise(error, monkeypatch) == 130
    assert capsys.readouterr().err == "vfmseg: stopped\n"


def test_exit_code__sigterm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from vfmseg.cli import program

    def deaf(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, deaf)
    try:
        monkeypatch.setattr(program, "_run", lambda words: signal.raise_signal(signal.SIGTERM))
        assert main(["validate"]) == 143
        assert capsys.readouterr().err == "vfmseg: stopped\n"
        assert signal.getsignal(signal.SIGTERM) is deaf
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("line", ["--version", "list encoders"])
def test_exit_code__nobody_reads_the_output(line: str) -> None:
    words = [sys.executable, "-m", "vfmseg", *line.split()]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert said == ""


def test_message__of_a_loader_worker_comes_without_its_traceback() -> None:
    from torch._utils import ExceptionWrapper

    from vfmseg.cli.program import _message
    from vfmseg.errors import ImageError

    try:
        raise ImageError("a.jpg cannot be decoded.\nRemove it.")
    except ImageError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(ImageError, match="Original Traceback") as caught:
        wrapped.reraise()
    assert _message(caught.value) == "a.jpg cannot be decoded.\nRemove it."


@pytest.mark.parametrize(("number", "code"), [(15, 143), (2, 130)])
def test_exit_code__a_run_that_saved_itself_after_a_signal(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vfmseg.training.callbacks.stopping import StoppedBySignalError

    assert _raise(StoppedBySignalError("Stopped; go on with X", number), monkeypatch) == code
    assert capsys.readouterr().err == "vfmseg: Stopped; go on with X\n"
