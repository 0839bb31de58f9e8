"""YAML text in, plain values out; a key that stands there twice is an error, not overwritten in silence."""

from __future__ import annotations

from typing import Any

from vfmseg.errors import DataError

_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(text: str, title: str) -> Any:
    """Parse YAML.

    Keys count as recipes read them: ``a.b: 1`` is the ``b`` of the section ``a``.

    Args:
        text: the file's content.
        title: what messages call the file.

    Raises:
        DataError: it is not YAML, holds a value that cannot be, or keys twice; the message names the lines.
    """
    import yaml  # waits until a file is read: `--help` and `list` do not pay for it

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        top = loader.get_single_node()
        repeated = _repeated_keys(loader, top)
        loaded = None if top is None else loader.construct_document(top)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-02-30
        raise DataError(f"{title} is not YAML: {error}") from error
    finally:
        loader.dispose()
    if repeated:
        raise DataError(f"{title}: {'; '.join(repeated)}. Only the last would count: keep one of each.")
    return loaded


def _repeated_keys(loader: Any, top: Any) -> list[str]:
    """Describe every key of a composed document that stands there more than once, in the order of the document."""
    lines_of: dict[tuple[object, ...], list[int]] = {}
    pending: list[tuple[tuple[object, ...], Any]] = [((), top)]
    seen: set[int] = set()
    while pending:
        place, node = pending.pop()
        if id(node) in seen or not isinstance(getattr(node, "value", None), list):
            continue  # what an alias stands for is looked at where it is written
        seen.add(id(node))
        inside: list[tuple[tuple[object, ...], Any]] = []
        for number, item in enumerate(node.value):
            if not isinstance(item, tuple):
                inside.append(((*place, f"[{number}]"), item))
                continue
            key, value = item
            if key.tag == _MERGE or not isinstance(key.value, str):
                continue  # merged keys are there to be overridden; a list or mapping as a key is refused later
            # compared as Python does: 1 and 0x1, yes and true are one key
            word = loader.construct_object(key)
            here = (*place, *(word.split(".") if isinstance(word, str) else (word,)))
            lines_of.setdefault(here, []).append(key.start_mark.line + 1)
            inside.append((here, value))
        pending += reversed(inside)  # so that a node is met where it is written, before its aliases
    repeated = sorted(
        ((sorted(lines), place) for place, lines in lines_of.items() if len(lines) > 1),
        key=lambda one: one[0],
    )
    return [
        f"the key {'.'.join(map(str, place)).replace('.[', '[')} stands in line {lines[0]} and again in line "
        f"{', '.join(map(str, lines[1:]))}"
        for lines, place in repeated
    ]
