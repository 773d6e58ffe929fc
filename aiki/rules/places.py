"""Own where runs stand in lists, and how the place where a page begins is told and read again: a cursor. Pure.

It is what stands in the last run that was looked at, so that it holds also when that run is gone.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple, TypeAlias

from aiki.core.errors import UsageError
from aiki.rules.filtering import is_by_key
from aiki.wire.messages import ListRuns

_PLACE: Final = re.compile(r"([0-9]{1,16})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_KEY_PLACE: Final = re.compile(r"k\.([A-Za-z0-9_-]*={0,2})")
_FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"


class Place(NamedTuple):
    """Where a run stands among those that are listed by time: when it was stored, in microseconds, and its id."""

    created: int
    id: str


class KeyPlace(NamedTuple):
    """Where a run stands in the order of keys."""

    key: str
    workflow: str


AnyPlace: TypeAlias = Place | KeyPlace


def begin(request: ListRuns) -> AnyPlace | None:
    """Return behind which place the page begins that is asked for; None if nothing is before it.

    Raises UsageError for a cursor that no page of such a list has given.
    """
    by_key = is_by_key(request)
    if request.cursor is None:
        return None if request.before is None or by_key else Place(request.before, _FIRST_ID)
    place = _key_place(request.cursor) if by_key else _place(request.cursor)
    if place is None:
        raise UsageError("the cursor of a list is what an earlier page of the same list gave")
    return place


def _place(cursor: str) -> Place | None:
    found = _PLACE.fullmatch(cursor)
    return Place(int(found[1]), found[2]) if found else None


def _key_place(cursor: str) -> KeyPlace | None:
    if (found := _KEY_PLACE.fullmatch(cursor)) is None:
        return None
    try:
        workflow, _, key = urlsafe_b64decode(found[1]).decode().partition("\0")
    except ValueError:
        return None
    return None if "\0" in key else KeyPlace(key, workflow)


def told(place: AnyPlace) -> str:
    """Return the place as a cursor."""
    if isinstance(place, Place):
        return f"{place.created}.{place.id}"
    text = f"{place.workflow}\0{place.key}"
    return f"k.{urlsafe_b64encode(text.encode()).decode()}"
