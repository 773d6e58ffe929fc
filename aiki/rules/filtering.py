"""Own what may be asked of lists of runs together, and what their words mean. Pure."""

from __future__ import annotations

import re
from typing import Final

from aiki.core.errors import UsageError
from aiki.core.states import State
from aiki.wire.codec import encode
from aiki.wire.limits import KEY_CHARS
from aiki.wire.messages import ListRuns
from aiki.wire.messages.options import HIGHEST_PRIORITY

_BACKSLASH: Final = 0x5C
_HIGH: Final = 0x80
ERROR_BEGINS: Final = 1_000
"""Bytes of an error in which its type stands."""
_TIMES: Final = range(1 - (1 << 62), 1 << 62)
_TEXTS: Final = ("workflow", "version", "not_version", "key", "key_prefix", "error", "worker")


def check_filter(request: ListRuns) -> None:
    """Raise UsageError if no list can be of all these words together, or one of them is none."""
    texts = [getattr(request, name) or "" for name in _TEXTS]
    if any("\0" in text for text in (*request.labels, *request.labels.values(), *texts)):
        raise UsageError("a filter holds NUL")
    for name, time in (("since", request.since), ("before", request.before)):
        if time is not None and time not in _TIMES:
            raise UsageError(f"`{name}` is out of range")
    if request.since is not None and request.before is not None and request.since >= request.before:
        raise UsageError("no run is at least as new as one time and older than an earlier one")
    if request.roots and request.parent is not None:
        raise UsageError("roots are runs that have no parent: ask for them, or for the children of a run, not both")
    if request.version is not None and request.workflow is None:
        raise UsageError("a version is that of a workflow: name the workflow, too")
    if request.priority is not None and abs(request.priority) > HIGHEST_PRIORITY:
        raise UsageError(f"priorities are from {-HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}")
    _check_keys(request.key, request.key_prefix)


def _check_keys(key: str | None, prefix: str | None) -> None:
    if key is not None and prefix is not None:
        raise UsageError("runs have a key, or one that begins so: ask for one of both")
    for text in (key, prefix):
        if text is not None and not 0 < len(text) <= KEY_CHARS:
            raise UsageError(f"an idempotency key, and what it begins with, has 1 to {KEY_CHARS} characters")


def states_of(request: ListRuns) -> list[State]:
    """Return the states that are asked for, if any: an error is that of runs that failed, unless more is said."""
    return request.states or ([State.FAILED] if request.error is not None else [])


def error_pattern(kind: str) -> str:
    """Return what the beginning of an error matches that is of this type, or says that a task failed by one.

    Both engines match it with `escaped` text, in the syntax that Python's and Postgres's expressions have in common.
    """
    name = re.escape(escaped(encode(kind))[1:-1])
    task = f'TaskFailed","message":"task \'[A-Za-z0-9_-]{{1,64}}\' failed (once|[0-9]+ times): {name}: '
    return f'^[{{]"type":"({name}"|{task})'


def escaped(error: bytes) -> str:
    """Return bytes as Postgres's `encode(..., 'escape')` does: no text has to be valid for that."""
    return "".join(
        "\\\\" if byte == _BACKSLASH else chr(byte) if 0 < byte < _HIGH else f"\\{byte:03o}" for byte in error
    )


def is_by_key(request: ListRuns) -> bool:
    """Tell whether the list is in the order of keys: no index has those with one beginning by their times."""
    return request.key_prefix is not None and request.parent is None
