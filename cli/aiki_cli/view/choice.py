"""Own a choice among the columns of a command's rows. What columns there are stands in `view.columns`.

A row of a command is known by its number of cells: no two kinds that one command shows have as many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki import UsageError


@dataclass(frozen=True)
class Choice:
    """Columns that were chosen."""

    command: str
    kinds: Sequence[Sequence[str]]
    """The names of the cells, of each kind of row that the command shows."""
    names: Sequence[str]
    may_lack: bool = False
    """Whether a row that lacks one has an empty cell there: nothing is refused once something is done."""

    @classmethod
    def of(cls, command: str, kinds: Sequence[Sequence[str]], typed: str, *, may_lack: bool = False) -> Choice:
        """Return the choice that was typed. Raises UsageError for a name that no row of the command has."""
        known = [name for kind in kinds for name in kind]
        if not known:
            raise UsageError(f"`aiki {command}` shows no rows with columns to choose among")
        names = [name.strip() for name in typed.split(",")]
        for name in names:
            if name not in known:
                raise _unknown(command, name, known)
        return cls(command, kinds, names, may_lack)

    def pick(self, cells: Sequence[object]) -> list[object]:
        """Return the chosen cells of a row. Raises UsageError if rows of this kind lack one of them."""
        known = next((kind for kind in self.kinds if len(kind) == len(cells)), ())
        by_name = dict(zip(known, cells, strict=False))
        for name in self.names:
            if name not in by_name and not self.may_lack:
                raise _unknown(self.command, name, known)
        return [by_name.get(name) for name in self.names]


def _unknown(command: str, name: str, known: Sequence[str]) -> UsageError:
    from aiki.core.near import nearest

    meant = nearest(name, known)
    error = UsageError(f"`aiki {command}` has no column {name!r} here{f': did you mean {meant}?' if meant else ''}")
    error.add_note(f"columns: {', '.join(dict.fromkeys(known)) or 'none'}")
    return error
