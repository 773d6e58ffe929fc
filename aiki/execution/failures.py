"""Own how an exception becomes a `Failure`: type, message, traceback text and cause; never a pickle.

Its text is the user's code, and so may raise anything or never end: it is taken as `aiki.core.texts` takes it.
"""

from __future__ import annotations

import builtins
import traceback
from functools import partial
from typing import Final

from msgspec.structs import replace

from aiki.core.errors import AikiError, ChildFailed, RunFailed, TaskFailed
from aiki.core.frames import report, users_part
from aiki.core.texts import PLAIN, guarded
from aiki.wire.codec import encode
from aiki.wire.limits import ERROR_BYTES
from aiki.wire.messages import Failure

_TYPE_CHARS: Final = 200
_MESSAGE_CHARS: Final = 2_000
_SHORT_CHARS: Final = ERROR_BYTES // (4 * 6) - 50
_TRACEBACK_BYTES: Final = ERROR_BYTES - 3 * _MESSAGE_CHARS - 1_000
_GROUP_LEVELS: Final = 20
_PLAIN_LINKS: Final = 20
_PLAIN_TEXTS: Final = frozenset(
    {BaseException.__str__, KeyError.__str__, TaskFailed.__str__, ChildFailed.__str__, RunFailed.__str__}
)
_KNOWN: Final = frozenset(
    {*(kind for kind in vars(builtins).values() if isinstance(kind, type)), TaskFailed, ChildFailed, RunFailed}
)
_READ: Final = frozenset(
    {
        *("__getattribute__", "__getattr__", "__class__", "__dict__", "__str__", "__repr__", "args"),
        *("__cause__", "__context__", "__suppress_context__", "__traceback__", "__notes__"),
    }
)
"""What is looked for when an error is read: a class of the user's may have any of it."""


def failure_of(error: BaseException, *, task: str | None = None, attempts: int = 0, unknown: bool = False) -> Failure:
    """Return `error` as it is stored. `task` is the task that gave up after `attempts`.

    Always returns, and soon: what of the error cannot be read in time is left out, and said to be.
    """
    if isinstance(error, TaskFailed):
        task, attempts = error.task, error.attempts
    failure = Failure(_name(error), "", task=task, attempts=attempts, unknown=unknown)
    read = partial(_read, error, failure)
    why = read() if _is_plain(error) else guarded(read)
    if why is not None:
        # A copy: whoever still reads may go on to write into the other.
        failure = replace(failure, message=failure.message or f"(its text cannot be read: {why})")
        failure.traceback = failure.traceback or "".join(traceback.format_tb(users_part(error)))
    return failure


def _read(error: BaseException, failure: Failure) -> None:
    """Fill in what is read of the error, what matters most first."""
    failure.message = _cut(_text(error), _MESSAGE_CHARS)
    failure.traceback = _traceback(error)
    if (cause := _cause(error)) is not None:
        failure.cause = _cut(f"{_name(cause)}: {_text(cause)}", _MESSAGE_CHARS)


def _is_plain(error: BaseException) -> bool:
    """Tell whether no user code runs when the error is read: it has Python's own text, and so have its causes."""
    here: BaseException | None = error
    for _ in range(_PLAIN_LINKS):
        if here is None:
            return True
        if not _is_plain_class(type(here)) or hasattr(here, "__notes__"):
            return False
        if not all(type(part) in PLAIN for part in here.args):
            return False
        here = here.__context__ if here.__cause__ is None else here.__cause__
    return False


def _is_plain_class(kind: type) -> bool:
    # An AttributeError's text is its own, but Python looks for what else its object has, to suggest another name.
    if type(kind) is not type or kind.__str__ not in _PLAIN_TEXTS or issubclass(kind, AttributeError):
        return False
    return not any(_READ & vars(cls).keys() for cls in kind.__mro__ if cls not in _KNOWN)


def _cause(error: BaseException) -> BaseException | None:
    # Not by its truth: an error may have a length.
    if error.__cause__ is not None:
        return error.__cause__
    return None if error.__suppress_context__ else error.__context__


def encode_failure(failure: Failure) -> bytes:
    """Return the failure as JSON of at most ERROR_BYTES."""
    data = encode(failure)
    if len(data) <= ERROR_BYTES:
        return data
    # Text of nothing but escapes takes six times its length.
    return encode(
        replace(
            failure,
            type=_cut(failure.type, _SHORT_CHARS),
            message=_cut(failure.message, _SHORT_CHARS),
            traceback=_cut(failure.traceback, _SHORT_CHARS),
            cause=failure.cause and _cut(failure.cause, _SHORT_CHARS),
        )
    )


def _name(error: BaseException) -> str:
    # A metaclass may say otherwise, by code of its own.
    name: str = vars(type)["__name__"].__get__(type(error))
    return _cut(name, _TYPE_CHARS)


def _text(error: BaseException, levels: int = _GROUP_LEVELS) -> str:
    try:
        text = _members(error, levels) if isinstance(error, BaseExceptionGroup) else str(error)
    except BaseException as broken:  # noqa: BLE001 - a broken __str__ must not hide the error
        return f"(its text cannot be read: {_name(broken)} was raised)"
    if isinstance(error, AikiError) and error.hint:
        text = f"{text} ({error.hint})"
    # A lone surrogate cannot be stored; and a subclass of str could have an `encode` of its own.
    return str.encode(text, "utf-8", "backslashreplace").decode()


def _members(group: BaseExceptionGroup[BaseException], levels: int) -> str:
    """Return what went wrong in the branches: the group's own text only counts them."""
    if levels == 0:
        return f"{group.message}: …"
    inside = "; ".join(f"{_name(error)}: {_text(error, levels - 1)}" for error in group.exceptions)
    return f"{group.message}: {inside}"


def _traceback(error: BaseException) -> str:
    """Return the traceback from the user's first frame on, its middle cut out if it is long."""
    try:
        lines = list(report(error).format())
    except BaseException:  # noqa: BLE001 - a broken __repr__ or __str__ again
        lines = traceback.format_tb(users_part(error))
    text = "".join(lines).encode("utf-8", "backslashreplace")
    if len(text) > _TRACEBACK_BYTES:
        half = _TRACEBACK_BYTES // 2
        text = text[:half] + b"\n  ...\n" + text[-half:]
    return text.decode(errors="ignore")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
