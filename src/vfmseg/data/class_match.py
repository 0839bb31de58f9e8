"""The classes of a model and of other data in, which of them mean the same out: by name, or as the user says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from vfmseg.errors import DataError, nearest
from vfmseg.types import LabelSpace

_SHOWN = 12


@dataclass(frozen=True)
class ClassMatch:
    """What each class of the data is to a model of other classes."""

    model: LabelSpace
    """The model's classes."""
    model_ids: tuple[int | None, ...]
    """For each class of the data, the model's class that it counts as; None: the model knows none, so its pixels are
    ignored."""
    shared: tuple[int, ...]
    """Ids of the model's classes that the data has, ascending; these are scored."""
    ignored: tuple[str, ...]
    """Names of the data's classes that are ignored."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of the model's classes that the data lacks: not scored, and an error wherever they are predicted."""
        return tuple(name for i, name in enumerate(self.model.names) if i not in self.shared)

    @property
    def sentence(self) -> str:
        """What is scored and what is not, to be printed."""
        said = f"scored on {len(self.shared)} of the model's {self.model.num_classes} classes"
        if self.left_out:
            said += f"; left out, as the data lacks them, and an error where predicted: {_few(self.left_out)}"
        if self.ignored:
            said += f"; ignored, as the model does not know them: {_few(self.ignored)}"
        return said


def match_classes(
    model: LabelSpace,
    data: LabelSpace,
    *,
    drawn: Collection[int] | None = None,
    chosen: Mapping[str, str | None] | None = None,
) -> ClassMatch:
    """Find the model's class of each class of the data: as chosen, else the one of the same name.

    Names are the same also where they differ in case, or in spaces, underscores and dashes.

    Args:
        model: the model's classes.
        data: the data's.
        drawn: ids of the data's classes that its labels can hold; None: all. SYNTHIA has the 19 classes of Cityscapes,
            but no label of it holds three of them.
        chosen: the data's class -> the model's, or None for a class to be ignored.

    Raises:
        DataError: a chosen name that the data or the model does not have, a name that could be either of two, or no class
            in common.
    """
    chosen = chosen or {}
    for theirs, ours in chosen.items():
        for name, names, owner in ((theirs, data.names, "data"), (ours, model.names, "model")):
            if name is not None and name not in names:
                raise DataError(
                    f"classes maps {theirs!r} to {ours!r}, but the {owner} has no class {name!r}."
                    f"{nearest(name, names)} The {owner} has {_few(names)}."
                )
    model_ids = tuple(
        _chosen_id(model, chosen[name]) if name in chosen else _same_name(model, name) for name in data.names
    )
    _refuse_two_spellings(model, data, model_ids, chosen)
    there = [i for i in range(data.num_classes) if drawn is None or i in drawn]
    shared = tuple(sorted({found for i in there if (found := model_ids[i]) is not None}))
    if not shared:
        raise DataError(
            "The model and the data have no class in common.\n"
            f"  the model has: {_few(model.names)}\n"
            f"  the data has: {_few([data.names[i] for i in there])}\n"
            "Say which mean the same, as in --target 'NAME={path: PATH, classes: {sedan: car, track: road}}' "
            "(the data's name first)."
        )
    ignored = tuple(data.names[i] for i in there if model_ids[i] is None)
    return ClassMatch(model, model_ids, shared, ignored)


def is_same(match: ClassMatch) -> bool:
    """Tell whether the data's classes are just the model's: the same ones in the same order, all of them drawn."""
    num_classes = match.model.num_classes
    return match.model_ids == tuple(range(num_classes)) and len(match.shared) == num_classes


def _chosen_id(model: LabelSpace, name: str | None) -> int | None:
    return None if name is None else model.names.index(name)


def _same_name(model: LabelSpace, name: str) -> int | None:
    if name in model.names:
        return model.names.index(name)
    found = [i for i, own in enumerate(model.names) if _plain(own) == _plain(name)]
    if len(found) > 1:
        raise DataError(
            f"The data's class {name!r} could be the model's {' or '.join(repr(model.names[i]) for i in found)}. "
            f"Say which, as in classes: {{{name}: {model.names[found[0]]}}}."
        )
    return found[0] if found else None


def _refuse_two_spellings(
    model: LabelSpace,
    data: LabelSpace,
    model_ids: tuple[int | None, ...],
    chosen: Mapping[str, str | None],
) -> None:
    """Raise where two classes of the data would become one by their names only."""
    first: dict[int, str] = {}
    for name, model_id in zip(data.names, model_ids, strict=True):
        if model_id is None or name in chosen:
            continue
        if model_id in first:
            raise DataError(
                f"The data's classes {first[model_id]!r} and {name!r} could both be the model's "
                f"{model.names[model_id]!r}. Say so for both, or null for one to be ignored, as in classes: "
                f"{{{first[model_id]}: {model.names[model_id]}, {name}: null}}."
            )
        first[model_id] = name


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _few(names: Collection[str]) -> str:
    shown = list(names)[:_SHOWN]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")
