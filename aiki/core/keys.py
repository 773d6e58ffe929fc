"""Own the grammar of entry keys: what makes one, and what one says. Nothing else looks into a key. Pure.

A key begins with the word of its kind and a colon: `task:name:digest:n` (the n-th call of this name and input in its
run), `task:name@key` (all calls of this idempotency key), `timer:0.25` (seconds), `until:1700000000000000`
(microseconds), `patch:change-id`, `event:a|b:digest:n` (the n-th wait for any of these events), `send:name:digest:n`,
`labels:a|b:digest:n` (the n-th time that these labels are set to these values).
Of children: `start:workflow:digest:n` or `start:workflow@key`, which is an entry's only with a key; `starts:N` (N of
those without one, which went into one unit); `end:` and what follows the kind in the start's key; `all:digest:n` (the
n-th wait for all of these children); `stop:workflow:digest:n`.
Two come unasked: `cancel:requested` or `cancel:timeout`, and `interrupt:body`; `retry:2` begins the second attempt of
the workflow itself. One is no entry's: `details:run`, of the row beside the journal that holds what a run shows of
itself.
Names are tokens, so none of these signs is in one; what follows `@` may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from aiki.core.moments import SECOND

TASK: Final = "task"
TIMER: Final = "timer"
UNTIL: Final = "until"
PATCH: Final = "patch"
EVENT: Final = "event"
SEND: Final = "send"
LABELS: Final = "labels"
START: Final = "start"
STARTS: Final = "starts"
END: Final = "end"
ALL: Final = "all"
STOP: Final = "stop"
CANCEL: Final = "cancel"
INTERRUPT: Final = "interrupt"
RETRY: Final = "retry"
DETAILS: Final = "details:run"

_ANY_CHARS: Final = 256
_TIMER: Final = re.compile(rf"{TIMER}:([0-9]{{1,12}}(?:\.[0-9]{{1,6}})?)|{UNTIL}:(-?[0-9]{{1,18}})")


def beginning(kind: str) -> str:
    """Return what the keys of a kind begin with, and no others."""
    return f"{kind}:"


_TASKS: Final = beginning(TASK)
_ENDS: Final = (beginning(END), beginning(ALL))

# -- making


def named(kind: str, name: str) -> str:
    """Return the key of what one name says."""
    return f"{kind}:{name}"


def of_input(kind: str, name: str, digest: str) -> str:
    """Return what the keys of all calls with one name and input have in common: `numbered` tells them apart."""
    return f"{kind}:{name}:{digest}"


def of_end(start: str) -> str:
    """Return the key of the end of the child that the start with this key has made."""
    return named(END, said_in(start))


def of_any(names: Sequence[str]) -> str:
    """Return the name of what has several: all of them, or if they are too many the first and how many others."""
    name = "|".join(names)
    return name if len(name) <= _ANY_CHARS else f"{names[0]}|+{len(names) - 1}"


def numbered(common: str, number: int) -> str:
    """Return the key of the n-th call, from 1, of one name and input."""
    return f"{common}:{number}"


def shared(kind: str, name: str, key: str) -> str:
    """Return the key of all calls with the idempotency key `key`."""
    return f"{kind}:{name}@{key}"


def timer(microseconds: int) -> str:
    """Return the key of a timer of this length."""
    return f"{TIMER}:{microseconds / SECOND:.6f}".rstrip("0").rstrip(".")


def until(microseconds: int) -> str:
    """Return the key of a timer for a date, in microseconds since 1970."""
    return f"{UNTIL}:{microseconds}"


# -- reading


def kind_of(key: str) -> str:
    """Return the word of the key's kind; "" if it has none."""
    kind, colon, _ = key.partition(":")
    return kind if colon else ""


def said_in(key: str) -> str:
    """Return what follows the key's kind."""
    return key.partition(":")[2]


def name_of(key: str) -> str:
    """Return the name of what was called: what follows the kind, without a digest and number or an idempotency key."""
    return said_in(key).partition("@")[0].partition(":")[0]


def is_task(key: str) -> bool:
    """Tell whether the key is that of a task."""
    return key.startswith(_TASKS)


def task_of(key: str) -> str | None:
    """Return the name of the task that a key of an entry or an attempt stands for; None for any other's."""
    return name_of(key) if is_task(key) else None


def is_of_ends(key: str) -> bool:
    """Tell whether an entry with this key has taken ends of children."""
    return key.startswith(_ENDS)


def timer_of(key: str) -> tuple[Literal["for", "until"], int] | None:
    """Return the length or the date, in microseconds, of the timer that a key stands for; None for any other key."""
    if not (found := _TIMER.fullmatch(key)):
        return None
    seconds, moment = found.groups()
    return ("until", int(moment)) if seconds is None else ("for", round(float(seconds) * SECOND))
