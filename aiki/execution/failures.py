"""Own how an exception becomes a `Failure`: type, message, traceback text and cause; never a pickle."""

from __future__ import annotations

import traceback
from typing import Final

from msgspec.structs import replace

from aiki.core.errors import AikiError, TaskFailed
from aiki.execution.unwinding import is_internal
from aiki.wire.codec import encode
from aiki.wire.limits import ERROR_BYTES
from aiki.wire.messages import Failure

_TYPE_CHARS: Final = 200
_MESSAGE_CHARS: Final = 2_000
_SHORT_CHARS: Final = ERROR_BYTES // (4 * 6) - 50
_TRACEBACK_BYTES: Final = ERROR_BYTES - 3 * _MESSAGE_CHARS - 1_000


def failure_of(error: BaseException, *, task: str | None = None, attempts: int = 0, unknown: bool = False) -> Failure:
    """Return `error` as it is stored. `task` is the task that gave up after `attempts`."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if isinstance(error, TaskFailed):
        task, attempts = error.task, error.attempts
    return Failure(
        _cut(type(error).__name__, _TYPE_CHARS),
        _cut(_text(error), _MESSAGE_CHARS),
        traceback=_traceback(error),
        cause=None if cause is None else _cut(f"{type(cause).__name__}: {_text(cause)}", _MESSAGE_CHARS),
        task=task,
        attempts=attempts,
        unknown=unknown,
    )


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


def _text(error: BaseException) -> str:
    try:
        text = _members(error) if isinstance(error, BaseExceptionGroup) else str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the error
        return "(its text cannot be read: __str__ raised)"
    if isinstance(error, AikiError) and error.hint:
        text = f"{text} ({error.hint})"
    # A lone surrogate cannot be stored.
    return text.encode("utf-8", "backslashreplace").decode()


def _members(group: BaseExceptionGroup[BaseException]) -> str:
    """Return what went wrong in the branches: the group's own text only counts them."""
    inside = "; ".join(f"{type(error).__name__}: {_text(error)}" for error in group.exceptions)
    return f"{group.message}: {inside}"


def _traceback(error: BaseException) -> str:
    """Return the traceback from the user's first frame on, its middle cut out if it is long.

    Where Aiki refused a call it ends with the user's line: how we came to refuse it is no help.
    """
    trace = error.__traceback__
    while trace is not None and is_internal(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        report = traceback.TracebackException(type(error), error, trace)
        _end_with_the_users_line(report)
        lines = list(report.format())
    except Exception:  # noqa: BLE001 - a broken __repr__ or __str__ again
        lines = traceback.format_tb(trace)
    text = "".join(lines).encode("utf-8", "backslashreplace")
    if len(text) > _TRACEBACK_BYTES:
        half = _TRACEBACK_BYTES // 2
        text = text[:half] + b"\n  ...\n" + text[-half:]
    return text.decode(errors="ignore")


def _end_with_the_users_line(report: traceback.TracebackException) -> None:
    if issubclass(report.exc_type, AikiError):
        theirs = [place for place, frame in enumerate(report.stack) if not is_internal(frame.filename)]
        del report.stack[theirs[-1] + 1 if theirs else 0 :]
    for inside in report.exceptions or ():
        _end_with_the_users_line(inside)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
