"""Recipe files and overrides in, a checked recipe or one complete error out."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vfmseg.errors import RecipeError
from vfmseg.runs.decoder_recipe import DECODER_RECIPES, LinearRecipe, Mask2FormerRecipe
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import (
    find_recipe,
    list_recipes,
    packaged_recipes_roots,
    read_recipe,
    recipe_tree,
    recipe_yaml,
)


def refused(source: object, overrides: dict[str, object] | None = None) -> str:
    with pytest.raises(RecipeError) as caught:
        read_recipe(source, overrides)  # type: ignore[arg-type]
    return str(caught.value)


def lines(message: str) -> list[str]:
    return [line.removeprefix("  - ") for line in message.splitlines()[1:]]


def test_read_recipe__empty_mapping_is_the_defaults() -> None:
    assert read_recipe({}).recipe == Recipe()


def test_read_recipe__takes_a_recipe_back() -> None:
    made = read_recipe({"training": {"steps": 7}}).recipe
    assert read_recipe(made).recipe == made
    assert read_recipe(made, {"seed": 3}).recipe.seed == 3


def test_read_recipe__remembers_name_notes_and_what_was_typed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    loaded = read_recipe(file, {"training.steps": 5}, notes=("a note",))
    assert loaded.name == "mine"
    assert loaded.notes == ("a note",)
    assert loaded.given == {"training": {"steps": 5}}


def test_read_recipe__does_not_change_what_it_is_given() -> None:
    source = {"training": {"steps": 5}, "decoder": {"name": "mask2former", "num_queries": 9}}
    overrides = {"training": {"warmup": 0.1}, "decoder": {"name": "linear"}}
    before = (yaml.safe_dump(source), yaml.safe_dump(overrides))
    read_recipe(source, overrides)
    assert (yaml.safe_dump(source), yaml.safe_dump(overrides)) == before


# overrides


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.steps": 5, "training.warmup": 0.1},
        {"training": {"steps": 5, "warmup": 0.1}},
        {"training": {"steps": 5}, "training.warmup": 0.1},
        {"training.warmup": 0.1, "training": {"steps": 5}},
    ],
)
def test_overrides__dotted_and_nested_mean_the_same(overrides: dict[str, object]) -> None:
    training = read_recipe({"training": {"steps": 9, "poly_power": 0.5}}, overrides).recipe.training
    assert (training.steps, training.warmup, training.poly_power) == (5, 0.1, 0.5)


def test_overrides__dotted_keys_work_in_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "dotted.yaml"
    file.write_text("training.steps: 12\ntraining: {warmup: 0.5}\n")
    training = read_recipe(file).recipe.training
    assert (training.steps, training.warmup) == (12, 0.5)


def test_overrides__win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("encoder: {name: dinov2-s, image_size: 256}\n")
    encoder = read_recipe(file, {"encoder.name": "dinov2-l"}).recipe.encoder
    assert (encoder.name, encoder.image_size) == ("dinov2-l", 256)


def test_overrides__one_of_the_encoder_sizes_keeps_the_others() -> None:
    source = {"encoder": {"weights": "random", "overrides": {"depth": 2, "embed_dim": 64}}}
    made = read_recipe(source, {"encoder.overrides.depth": 3}).recipe
    assert made.encoder.overrides == {"depth": 3, "embed_dim": 64}


# decoders


def test_decoder__its_name_decides_which_keys_there_are() -> None:
    made = read_recipe({"decoder": {"name": "mask2former", "num_queries": 50}}).recipe.decoder
    assert made == Mask2FormerRecipe(num_queries=50)
    assert read_recipe({"decoder": {}}).recipe.decoder == LinearRecipe()


def test_decoder__another_name_drops_the_keys_of_the_one_before() -> None:
    source = {"decoder": {"name": "mask2former", "num_queries": 50}}
    assert read_recipe(source, {"decoder.name": "linear"}).recipe.decoder == LinearRecipe()


@pytest.mark.parametrize(
    "overrides",
    [
        {"decoder.name": "mask2former", "decoder.num_queries": 7},
        {"decoder.num_queries": 7, "decoder.name": "mask2former"},
        {"decoder": {"num_queries": 7, "name": "mask2former"}},
    ],
)
@pytest.mark.parametrize(
    "source", [{}, {"decoder": {"name": "linear"}}, {"decoder": {"name": "mask2former"}}]
)
def test_decoder__keys_typed_with_its_name_stay_in_any_order(
    source: dict[str, object], overrides: dict[str, object]
) -> None:
    assert read_recipe(source, overrides).recipe.decoder == Mask2FormerRecipe(num_queries=7)


def test_decoder__keys_of_another_decoder_are_refused_with_the_reason() -> None:
    message = refused({"decoder.num_queries": 5})
    expected = "unknown key 'decoder.num_queries'. Another decoder has it: set decoder.name, too."
    assert lines(message) == [expected]


def test_decoder__unknown_name_lists_those_there_are() -> None:
    message = refused({"decoder.name": "mask2fromer"})
    (line,) = lines(message)
    assert line.startswith(f"decoder.name 'mask2fromer' is unknown; allowed: {', '.join(DECODER_RECIPES)}.")
    assert "Did you mean mask2former" in line


# errors


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("encoder.patchsize", "encoder.patch_size"),
        ("training.step", "training.steps"),
        ("training.learning_rat", "training.learning_rate"),
        ("data.scenes.trainn", "data.scenes.train"),
        ("steps", "training.steps"),
        ("training.batch_size", "data.batch_size"),
        ("bach_size", "data.batch_size"),
        ("encodr", "encoder"),
        ("decoder.nam", "decoder.name"),
    ],
)
def test_unknown_key__offers_the_nearest(typed: str, meant: str) -> None:
    (line,) = lines(refused({typed: "x"}))
    assert line.startswith(f"unknown key {typed!r}. Did you mean {meant}")


def test_unknown_key__offers_nothing_where_nothing_is_near() -> None:
    assert lines(refused({"training.zzzzzz": 1})) == ["unknown key 'training.zzzzzz'."]


def test_errors__all_of_them_at_once_with_the_file_named(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("encoder: {image_size: big}\ntraining: {steps: 0, warmup: 1.5}\nseeds: 1\n")
    message = refused(file, {"decoder.name": "unet"})
    assert message.startswith(f"Recipe {file}: 5 things are wrong.\n")
    for part in ("encoder.image_size", "training.steps", "training.warmup", "seeds", "decoder.name"):
        assert part in message


def test_errors__contradictions_are_listed_together() -> None:
    message = refused({"encoder.image_size": 500, "data.name": "cityscapes"})
    assert message.startswith("The recipe: 2 things are wrong.\n")
    assert "data.path is missing" in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.steps", 0, "training.steps = 0: input should be greater than 0"),
        ("training.steps", True, "training.steps = True: input should be a number, not a switch"),
        ("training.learning_rate", True, "input should be a number, not a switch"),
        ("training.validate_every", True, "input should be a number, not a switch"),
        ("training.learning_rate", float("inf"), "input should be a finite number"),
        ("training.warmup", 1.5, "or input should be less than or equal to 1"),
        ("training.validate_every", 1.5, "or input should be less than or equal to 1"),
        ("trainer.limit_val_batches", 0, "trainer.limit_val_batches = 0: input should be greater than 0"),
        ("trainer.devices", [], "list should have at least 1 item"),
        ("training.precision", "fp16", "input should be '16-mixed', 'bf16-mixed' or '32-true'"),
        ("training.class_weights", "some", "input should be 'none' or 'auto'"),
        ("training.loggers", ["mlflow"], "input should be 'tensorboard' or 'wandb'"),
        ("encoder.image_size", [1, 2, 3], "tuple should have at most 2 items"),
        ("encoder.overrides", {"depth": "deep"}, "encoder.overrides.depth = 'deep'"),
        ("seed", -1, "seed = -1: input should be greater than or equal to 0"),
        ("seed", None, "seed = None: input should be a valid integer"),
        (
            "trainer.devices",
            -1,
            "trainer.devices = -1: input should be 'auto', or input should be greater than 0",
        ),
        ("task", "depth", "task = 'depth': input should be 'semantic', 'panoptic' or 'instance'"),
        ("encoder", "dinov2-b", "encoder = 'dinov2-b': a section has keys of its own, such as encoder.name"),
        ("decoder", "linear", "decoder = 'linear': a section has keys of its own, such as decoder.name"),
    ],
)
def test_errors__a_wrong_value_says_key_value_and_what_is_allowed(key: str, value: object, said: str) -> None:
    (line,) = lines(refused({key: value}))
    assert said in line
    assert "pydantic" not in line


# values


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("training: {learning_rate: 1e-4}", ("training", "learning_rate"), 1e-4),
        ("training: {learning_rate: 1.0e-4}", ("training", "learning_rate"), 1e-4),
        ("training: {validate_every: 1}", ("training", "validate_every"), 1),
        ("training: {validate_every: 1.0}", ("training", "validate_every"), 1.0),
        ("encoder: {patch_size: null}", ("encoder", "patch_size"), None),
        ("encoder: {image_size: [352, 480]}", ("encoder", "image_size"), (352, 480)),
        ("data: {path: 2026}", ("data", "path"), "2026"),
        ("trainer: {devices: [0, 3]}", ("trainer", "devices"), [0, 3]),
        ("trainer: {devices: auto}", ("trainer", "devices"), "auto"),
        ("", ("seed",), 0),
    ],
)
def test_values__as_yaml_writes_them(tmp_path: Path, text: str, key: tuple[str, ...], value: object) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(text)
    found: object = read_recipe(file).recipe
    for part in key:
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("typed", "read"), [("1.00", 1.0), ("0.10", 0.1), ("007", 7)])
def test_values__as_typed_on_the_command_line(typed: str, read: float) -> None:
    """A number that may be a name reaches the recipe as the word that was typed."""
    found = read_recipe({"training.validate_every": typed}).recipe.training.validate_every
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "must hold `key: value` lines, but holds a list."),
        (b"a: [1\n", "is not YAML: while parsing a flow sequence"),
        (b"\xff\xfe\x00", "is not YAML: it is not UTF-8 text"),
        (b"data: {path: 2026-13-01}\n", "is not YAML: month must be in 1..12"),
    ],
)
def test_read_recipe__a_file_that_is_no_recipe(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content)
    message = refused(file)
    assert str(file) in message
    assert said in message


def test_read_recipe__a_key_twice_names_file_key_and_lines(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(
        "seed: 1\ntraining:\n  steps: 5\n  warmup: 0.1\n  steps: 6\ntraining.warmup: 0.2\nseed: 1\n"
    )
    message = refused(file)
    assert message == (
        f"{file}: the key seed stands in line 1 and again in line 7; the key training.steps stands in line 3 and again "
        "in line 5; the key training.warmup stands in line 4 and again in line 6. Only the last would count: keep one of "
        "each."
    )


# round trip


_RECIPES = st.fixed_dictionaries(
    {},
    optional={
        "encoder.name": st.text(min_size=1),
        "encoder.image_size": st.one_of(
            st.integers(1, 64).map(lambda n: 16 * n),
            st.tuples(st.integers(1, 64), st.integers(1, 64)).map(lambda s: [16 * s[0], 16 * s[1]]),
        ),
        "encoder.sub_norm": st.booleans(),
        "data.path": st.text(),
        "data.batch_size": st.integers(1, 10**6),
        "training.learning_rate": st.floats(1e-12, 1e3),
        "training.weight_decay": st.floats(0, 10),
        "training.gradient_clip": st.one_of(st.none(), st.floats(1e-6, 10)),
        "training.validate_every": st.one_of(st.integers(1, 10**6), st.floats(1e-6, 1)),
        "training.class_weights": st.one_of(
            st.sampled_from(["none", "auto"]), st.lists(st.floats(1e-3, 1e3), min_size=1)
        ),
        "training.loggers": st.lists(st.sampled_from(["tensorboard", "wandb"])),
        "trainer.devices": st.one_of(
            st.just("auto"), st.integers(1, 8), st.lists(st.integers(0, 7), min_size=1)
        ),
        "trainer.limit_val_batches": st.one_of(st.integers(1, 100), st.floats(1e-6, 1)),
        "init_from": st.text(),
        "seed": st.integers(0, 2**63),
    },
)


@given(_RECIPES)
@settings(max_examples=60)
def test_recipe_yaml__is_read_back_to_the_same_recipe(overrides: dict[str, object]) -> None:
    made = read_recipe(overrides).recipe
    assert read_recipe(yaml.safe_load(recipe_yaml(made))).recipe == made
    assert read_recipe(recipe_tree(made)).recipe == made


def test_recipe_yaml__holds_plain_values_only_and_mask2former_too(tmp_path: Path) -> None:
    made = read_recipe({"decoder": {"name": "mask2former"}, "encoder.image_size": [96, 160]}).recipe
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_yaml(made), encoding="utf-8")
    assert "!!" not in file.read_text()
    assert read_recipe(file).recipe == made
    assert read_recipe(tmp_path).recipe == made  # a run folder is a recipe


# where recipes and data are found


@pytest.mark.parametrize(
    "name", ["configs/scenes_linear_semantic.yaml", "scenes_linear_semantic.yaml", "scenes_linear_semantic"]
)
def test_find_recipe__packaged_ones_from_anywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(name).name == "scenes_linear_semantic.yaml"


def test_find_recipe__a_file_beside_the_caller_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    own = tmp_path / "configs" / "scenes_linear_semantic.yaml"
    own.write_text("seed: 5\n")
    assert read_recipe("configs/scenes_linear_semantic.yaml").recipe.seed == 5


def test_find_recipe__unknown_name_offers_the_nearest() -> None:
    with pytest.raises(RecipeError) as caught:
        find_recipe("configs/ade20k_liner_semantic.yaml")
    message = str(caught.value)
    assert "There is no recipe 'configs/ade20k_liner_semantic.yaml'." in message
    assert "Did you mean configs/ade20k_linear_semantic.yaml" in message
    assert "`vfmseg list recipes`" in message


def test_list_recipes__names_lead_to_files() -> None:
    found = list_recipes()
    assert "configs/scenes_linear_semantic.yaml" in found
    assert not any(name.startswith(("configs/data/", "configs/studies/")) for name in found)
    assert all(find_recipe(name).is_file() for name in found)
    assert packaged_recipes_roots()


def test_data_path__relative_is_found_beside_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes" / "images").mkdir(parents=True)
    file = tmp_path / "recipes" / "mine.yaml"
    file.write_text("data: {name: folder, path: images}\n")
    monkeypatch.chdir(tmp_path)
    assert read_recipe(file).recipe.data.path == str((tmp_path / "recipes" / "images").resolve())


def test_data_path__what_exists_where_the_program_runs_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipes" / "images").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    file = tmp_path / "recipes" / "mine.yaml"
    file.write_text("data: {name: folder, path: images}\n")
    monkeypatch.chdir(tmp_path)
    assert read_recipe(file).recipe.data.path == "images"


def test_data_path__that_exists_nowhere_stays_as_typed(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data: {name: folder, path: images}\n")
    assert read_recipe(file).recipe.data.path == "images"


def test_data_path__home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ROOT", "/data")
    monkeypatch.setenv("HOME", "/people/me")
    for written, expected in (("$DATA_ROOT/ade", "/data/ade"), ("~/ade", "/people/me/ade")):
        file = tmp_path / "mine.yaml"
        file.write_text(f"data: {{name: folder, path: {written}}}\n")
        assert read_recipe(file).recipe.data.path == expected
