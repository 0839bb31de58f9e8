"""Files of one kind in a listing, found by the names that a JSON gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vfmseg.data.pairing import is_hidden
from vfmseg.data.source import summarise_folders
from vfmseg.errors import ArchiveError, LabelError

_SEVERAL: Final = -2
"""In place of a line, where several folders have a file of one name."""


@dataclass(frozen=True)
class Part:
    """One kind of file: in which source, below which folder, with which ending."""

    source: int
    folder: str
    """For a JSON its path."""
    suffix: str | tuple[str, ...] = ""
    """Several endings are alternatives; one in lower case also stands for upper case."""
    is_shared: bool = False
    """Other splits have files there too: those that the JSON does not name are not counted as unpaired."""


class NamedFiles:
    """The files of one part by their names, with or without the folders above."""

    def __init__(self, part: Part, names: Sequence[str], archive: str, title: str, json_title: str) -> None:
        """Look for the files.

        Args:
            part: which they are.
            names: all files of the source.
            archive: what messages call the source.
            title: data set and split, for messages.
            json_title: what messages call the JSON.

        Raises:
            ArchiveError: there are none.
        """
        self.names = names
        self.is_shared = part.is_shared
        prefix = f"{part.folder}/" if part.folder else ""
        endings, start = part.suffix, len(prefix)
        every = "\n".join(names)  # looked through as a whole first: one question instead of 100,000
        may_be_hidden = every.startswith(".") or any(part in every for part in ("/.", "\n.", "__MACOSX"))
        self._lines = {
            name[start:]: line
            for line, name in enumerate(names)
            if name.startswith(prefix)
            and (name.endswith(endings) or name.lower().endswith(endings))
            and not (may_be_hidden and is_hidden(name))
        }
        if not self._lines:
            shown = endings if isinstance(endings, str) else endings[0]
            raise ArchiveError(
                f"{archive} is not what {title} needs: expected files {prefix}*{shown}, but inside is "
                f"{summarise_folders(names)}."
            )
        self._by_file_name: dict[str, int] | None = None
        self._title = json_title
        self._taken: set[int] = set()

    def take(self, wanted: Sequence[str]) -> list[int]:
        """Return the lines of files that a JSON names, -1 where there is none.

        Raises:
            LabelError: several files fit a name, or one is named twice.
        """
        lines = [-1 if line is None else line for line in map(self._lines.get, wanted)]
        for i, line in enumerate(lines):
            if line < 0:
                lines[i] = self._short_names().get(wanted[i].rpartition("/")[2], -1)
                if lines[i] == _SEVERAL:
                    raise LabelError(
                        f"{self._title} names {wanted[i]}, and several folders hold a file of this name."
                    )
        self._taken.update(lines)
        self._taken.discard(-1)
        if len(self._taken) < len(lines) - lines.count(-1):
            twice = next(line for line in lines if line >= 0 and lines.count(line) > 1)
            raise LabelError(f"{self._title} names the file {self.names[twice]} for two images.")
        return lines

    def left(self) -> list[str]:
        """Return the files that were not taken."""
        if len(self._taken) == len(self._lines):
            return []
        return [self.names[line] for line in self._lines.values() if line not in self._taken]

    def _short_names(self) -> dict[str, int]:
        """Return file name -> line, or ``_SEVERAL``."""
        if self._by_file_name is None:
            self._by_file_name = {}
            for path, line in self._lines.items():
                short = path.rpartition("/")[2]
                self._by_file_name[short] = _SEVERAL if short in self._by_file_name else line
        return self._by_file_name
