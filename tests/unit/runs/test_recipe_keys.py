"""What help, docs and hints say of the recipe's keys."""

from __future__ import annotations

import yaml

from vfmseg.runs.choices import CHOICES
from vfmseg.runs.decoder_recipe import DECODER_RECIPES
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_keys import keys
from vfmseg.runs.recipe_reader import read_recipe, recipe_tree


def test_keys__every_one_is_documented_with_its_default_as_yaml_writes_it() -> None:
    found = keys()
    undocumented = [key for key, (_, documentation) in found.items() if not documentation]
    assert undocumented == []
    assert found["training.steps"][0] == "20000"
    assert found["training.gradient_clip"][0] == "null"
    assert found["data.scenes.image_size"][0] == "[96, 160]"
    assert found["augmentation.flip"][0] == "true"
    assert found["encoder.name"][0] == "dinov2-b"


def test_keys__say_which_words_a_choice_has() -> None:
    found = {key: documentation for key, (_, documentation) in keys().items()}
    assert found["tuning.method"].endswith(
        " One of: full, frozen, rein, lora, soma, adaptformer, vpt, bitfit, partial."
    )
    assert found["training.loggers"].endswith(" Any of: tensorboard, wandb.")
    assert found["task"].endswith(" One of: semantic, panoptic, instance.")
    assert " of: " not in found["encoder.positions"], "its sentence names all words already"


def _leaves(tree: dict[str, object], prefix: str = "") -> set[str]:
    found = set()
    for key, value in tree.items():
        is_section = isinstance(value, dict) and f"{prefix}{key}" != "encoder.overrides"
        found |= _leaves(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}"}  # type: ignore[arg-type]
    return found


def test_keys__are_exactly_those_a_recipe_has() -> None:
    every = [
        _leaves(recipe_tree(read_recipe({choice.key: word}).recipe))
        for choice in CHOICES.values()
        for word in choice.kinds
    ]
    assert set(keys()) == set().union(*every)


def test_keys__are_accepted_with_their_own_defaults() -> None:
    overrides = {
        key: yaml.safe_load(default) if default else ""
        for key, (default, _) in keys().items()
        if key.partition(".")[0] not in CHOICES
    }
    assert read_recipe(overrides).recipe == Recipe()


def test_keys__of_decoders_say_whose_default_and_meaning_they_are() -> None:
    found = keys()
    assert found["decoder.num_queries"][0] == "100 (mask2former); 200 (mask2former_full, eomt)"
    assert found["decoder.embed_dim"] == (
        "256",
        "mask2former, mask2former_full: Channels inside the decoder.",
    )
    assert found["decoder.num_blocks"][0] == "9 (mask2former, mask2former_full); null (eomt)"
    assert "eomt: Last blocks of the encoder" in found["decoder.num_blocks"][1]
    for name, kind in DECODER_RECIPES.items():
        for key, value in vars(kind()).items():
            shown = found[f"decoder.{key}"][0] if key != "name" else name
            if f"({name}" in shown or f", {name}" in shown:
                shown = next(part for part in shown.split("; ") if name in part).partition(" (")[0]
            assert yaml.safe_load(shown) == value
