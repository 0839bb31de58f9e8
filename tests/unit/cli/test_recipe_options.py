"""A recipe's name and the words typed after it in, a loaded recipe out."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfmseg.cli.program import Parser
from vfmseg.cli.recipe_options import add_recipe_options, read
from vfmseg.errors import RecipeError

SCENES = "configs/scenes_linear_semantic.yaml"


def test_read__lays_words_over_the_recipe_and_passes_notes_on() -> None:
    loaded = read(SCENES, ["--training.steps", "9", "--init_from", "-", "runs/a"])
    assert loaded is not None
    assert loaded.recipe.training.steps == 9
    assert loaded.recipe.init_from == "runs/a"
    assert loaded.name == "scenes_linear_semantic"
    assert "taken as a slip" in loaded.notes[0]


def test_read__understands_published_names() -> None:
    words = [
        "--root",
        "somewhere",
        "--model.freeze_encoder",
        "True",
        "--trainer.max_steps",
        "5",
        "--no_compile",
    ]
    loaded = read("configs/ade20k_linear_semantic.yaml", words)
    assert loaded is not None
    recipe = loaded.recipe
    assert (recipe.data.path, recipe.tuning.method) == ("somewhere", "frozen")
    assert (recipe.training.steps, recipe.training.compile) == (5, False)


def test_read__what_the_verb_adds_wins() -> None:
    loaded = read(SCENES, ["--seed", "1"], extra={"seed": 2})
    assert loaded is not None
    assert loaded.recipe.seed == 2


def test_read__without_a_recipe_still_refuses_stray_words() -> None:
    assert read(None, ["--seed", "1"]) is None
    with pytest.raises(RecipeError, match="Unexpected word 'stray'"):
        read(None, ["stray"])


def test_read__a_run_folder_is_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("seed: 4\n")
    loaded = read(str(tmp_path), [])
    assert loaded is not None
    assert loaded.recipe.seed == 4


@pytest.mark.parametrize("words", [["-c", "R"], ["--config", "R"], ["-cR"], ["--config=R"]])
def test_option__the_recipe_in_all_spellings(words: list[str]) -> None:
    parser = Parser(prog="vfmseg x")
    add_recipe_options(parser, required=True)
    assert parser.parse_args(words).config == "R"
    with pytest.raises(RecipeError, match="-c/--config"):
        parser.parse_args([])


EOMT = "configs/dinov2/coco/panoptic/eomt_large_640.yaml"


def test_read__published_options_of_eomt_are_understood_and_said() -> None:
    words = [
        *("--model.network.masked_attn_enabled", "False", "--trainer.logger.init_args.name", "mine"),
        *(
            "--trainer.devices",
            "4",
            "--data.batch_size",
            "4",
            "--data.path",
            "somewhere",
            "--compile_disabled",
        ),
    ]
    loaded = read(EOMT, words)
    assert loaded is not None
    assert loaded.name == "mine"
    assert loaded.recipe.decoder.masks == "never"  # type: ignore[union-attr]
    assert (loaded.recipe.trainer.devices, loaded.recipe.data.batch_size) == (4, 4)
    assert [note.split(":")[0] for note in loaded.notes] == [
        "--model.network.masked_attn_enabled False",
        "--trainer.logger.init_args.name mine",
    ]
    validated = read(EOMT, words, trains=False)
    assert validated is not None
    assert validated.recipe.decoder.masks == "annealed"  # type: ignore[union-attr]


def test_read__a_run_is_named_after_its_recipe_and_the_folders_that_tell_it_from_others() -> None:
    loaded = read(EOMT, ["--data.path", "somewhere"])
    assert loaded is not None
    assert loaded.name == "dinov2_coco_panoptic_eomt_large_640"
