"""Own where a retry of a failed body begins: at the outcome that failed it, found through what it raised.

Each failure that a body gets for a call of its own is marked with its place, which is the number of its delivery. A
body mostly raises something else because of it, so the marks are looked for through causes too. The exceptions are the
user's, whose code must not run here: only what Python itself keeps of an exception is read, and past their methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from asyncio import Future

_MARK: Final = "_aiki_cut"
_LOOKED_AT: Final = 1_000
"""Exceptions of one failure, at most: causes may go in a circle."""
_GROUP_LEVELS: Final = 20
_dict_of: Final[Any] = vars(BaseException)["__dict__"].__get__
_cause_of: Final[Any] = vars(BaseException)["__cause__"].__get__
_context_of: Final[Any] = vars(BaseException)["__context__"].__get__
_members_of: Final[Any] = vars(BaseExceptionGroup)["exceptions"].__get__


class Cut(NamedTuple):
    """The outcome that failed a body."""

    place: int
    """The number of its delivery, from 1."""
    key: str
    at: int
    """The run's time then."""


def mark(future: Future[Any], cut: Cut) -> None:
    """Note on the failure that a caller gets by this future which outcome it is, unless that is known already."""
    # Not by `exception()`: that would count as a look at it, and nobody would be told of one that is never awaited.
    error = getattr(future, "_exception", None)
    if error is not None:
        mark_error(error, cut)


def mark_error(error: BaseException, cut: Cut) -> None:
    """Note on a failure which outcome it is, unless that is known already."""
    _dict_of(error).setdefault(_MARK, cut)


def cut_of(error: BaseException) -> Cut | None:
    """Return the outcome that failed a body which has raised this; None if it was none.

    That is the one of the error itself, of the first in the journal in a group, or else of its nearest cause.
    """
    return _cut(error, iter(range(_LOOKED_AT)), _GROUP_LEVELS)


def members(error: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, also in its groups; of one that is none, itself."""
    found: list[BaseException] = []
    left = [error]
    while left and len(found) < _LOOKED_AT:
        one = left.pop()
        if issubclass(type(one), BaseExceptionGroup):
            left += _members_of(one)
        else:
            found.append(one)
    return found


def said_by(error: BaseException, name: str) -> Any:
    """Return what an error of ours holds under a name, also if a class of the user's is made of it."""
    return _dict_of(error).get(name)


def _cut(error: BaseException, looks: Iterator[int], levels: int) -> Cut | None:
    here: BaseException | None = error
    while here is not None and next(looks, None) is not None:
        cut: Cut | None = _dict_of(here).get(_MARK)
        if cut is None and levels and issubclass(type(here), BaseExceptionGroup):
            found = [_cut(member, looks, levels - 1) for member in _members_of(here)]
            cut = min((one for one in found if one is not None), default=None)
        if cut is not None:
            return cut
        cause = _cause_of(here)
        here = _context_of(here) if cause is None else cause
    return None
