"""Own what a body asks for of its children, and what it and its execution know of each one, `Kin`.

A child's output stands in no entry of its parent: it is kept with the end of the child, and read from there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import ClassVar

from msgspec import Struct

from aiki.core.keys import ALL, END, START, STOP
from aiki.inside.durable import Ask
from aiki.wire.messages import Arrival, ChildEnd, RunOptions
from aiki.wire.messages.options import ParentClose


class Kin(Struct, eq=False):
    """A run that a body has started, or has found by its key."""

    key: str
    """That of its start."""
    id: str
    """The id of its start, by which its parent knows it."""
    run_id: str
    workflow: str
    is_owned: bool
    """Whether its start has made it: what was found by its key is another's, and not to be cancelled."""
    is_told: bool
    """Whether it is told of a cancel of its parent: what was found by its key, or is abandoned, is not."""
    end: ChildEnd | None = None
    """How it has ended, once the body has been given that."""
    told: tuple[int, str, int] | None = None
    """By which delivery: its number, from 1, its key, and the run's time then."""


class Start(Ask[Awaitable[Kin]]):
    """A child that is started, or with a key found."""

    kind: ClassVar[str] = START
    workflow: str
    version: str
    input: bytes
    form: bytes
    """The input in canonical form."""
    digest: str
    options: RunOptions
    close: ParentClose
    sender: tuple[str, int, int]
    """The origin's id, its generation and its attempt: with the key of the call they make the id of the start."""
    id: str = ""
    asked_at: int = 0
    """The run's time, in microseconds, when it was asked for first."""
    child: Kin | None = None

    def __str__(self) -> str:
        return f"start of workflow {self.workflow!r}"


class EndOf(Ask[Awaitable[None]]):
    """The end of a child."""

    kind: ClassVar[str] = END
    child: Kin

    def __str__(self) -> str:
        return "child.result()"


class EndOfAll(Ask[Awaitable[None]]):
    """The ends of several children, all together."""

    kind: ClassVar[str] = ALL
    children: Sequence[Kin]
    left: list[Kin]
    """Those of them of which nothing has come yet, as far as was looked."""
    come: list[Arrival] | None = None
    """What has come of them, oldest first, once that is all; other waits may have taken some of it."""

    def __str__(self) -> str:
        return "run.all()"


class Stop(Ask[Awaitable[None]]):
    """A child that is told to end."""

    kind: ClassVar[str] = STOP
    child: Kin
    reason: str | None
    sender: tuple[str, int, int]
    id: str = ""

    def __str__(self) -> str:
        return "child.cancel()"


def all_of(children: Sequence[Kin]) -> EndOfAll:
    """Return the ask for the ends of these."""
    return EndOfAll(children, [child for child in reversed(children) if child.end is None])
