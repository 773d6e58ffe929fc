"""Own how a public frozen class becomes JSON: its members by their names, and where JSON says another name or no word.

Values and schemas (`view.json_schema`) are both made by this: no output can say what its schema does not. It imports
none of those classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from aiki import AikiError
from aiki_cli.view.moments import utc


@dataclass(frozen=True)
class Spelling:
    """Where JSON is not, member for member, what a class is."""

    named: Mapping[str, str] = field(default_factory=dict)
    """Members that have another name there. The run that a thing is of is its `id`; any other has a longer name."""
    left_out: AbstractSet[str] = frozenset()
    added: Mapping[str, str] = field(default_factory=dict)
    """Properties that JSON has too, by the names that they have there."""
    blank: AbstractSet[str] = frozenset()
    """Members that are null if they are empty, or 0."""


_ID: Final = {"run_id": "id"}
_OF_A_RUN: Final = Spelling(_ID)
_SPELLINGS: Final[Mapping[str, Spelling]] = {
    "RunStatus": Spelling(_ID, left_out={"is_explained"}),
    "Failure": Spelling(left_out={"unknown", "cut"}, blank={"traceback", "attempts"}),
    "Why": Spelling(_ID, added={"since": "since"}),
    "HistoryEntry": Spelling(added={"task": "task", "seconds": "took"}),
    "ChildNote": _OF_A_RUN,
    "DeletedRun": _OF_A_RUN,
    "ImportOutcome": _OF_A_RUN,
    "TableSize": Spelling({"name": "table"}),
    "StorageUse": Spelling(added={"total_bytes": "total_bytes"}),
}
"""By the names of the classes, so that none of them is imported for another's sake."""


@dataclass(frozen=True)
class Member:
    """A member of a JSON object."""

    name: str
    attribute: str
    is_nullable: bool = False
    """Whether it is null where the class says that it is empty."""


_known: Final[dict[type[Any], Sequence[Member]]] = {}


def members(of: type[Any]) -> Sequence[Member]:
    """Return the members that JSON has of a class, in its order."""
    if of not in _known:
        _known[of] = _members(of)
    return _known[of]


def _members(of: type[Any]) -> Sequence[Member]:
    spelling = next((_SPELLINGS[one.__name__] for one in of.__mro__ if one.__name__ in _SPELLINGS), Spelling())
    own = of.__struct_fields__ if hasattr(of, "__struct_fields__") else [one.name for one in fields(of)]
    found = [
        Member(spelling.named.get(name, name), name, name in spelling.blank)
        for name in own
        if name not in spelling.left_out
    ]
    return [*found, *(Member(name, attribute) for name, attribute in spelling.added.items())]


def to_object(thing: object) -> dict[str, Any]:
    """Return the members of a thing by their names in JSON; what is in them is as it was."""
    found = {}
    for member in members(type(thing)):
        value = getattr(thing, member.attribute)
        found[member.name] = None if member.is_nullable and not value else value
    return found


def to_plain(value: object) -> object:
    """Return what `json` is to write for a value that it does not know: times in UTC, lengths in seconds.

    Raises TypeError for what has no place in JSON.
    """
    match value:
        case datetime():
            return utc(value)
        case timedelta():
            return value.total_seconds()
        case AikiError():
            return {"code": value.code, "message": value.message}
        case Path():
            return str(value)
        case Mapping():
            return dict(value)
        case Sequence() | AbstractSet():
            return list(value)
    if is_dataclass(value) or hasattr(value, "__struct_fields__"):
        return to_object(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")
