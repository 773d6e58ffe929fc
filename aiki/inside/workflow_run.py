"""Own `WorkflowRun`: the run as its body sees it.

What is durable it asks the execution behind it for; only the run's random numbers are its own.
"""

from __future__ import annotations

import uuid
from asyncio import _get_running_loop
from collections.abc import Awaitable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

import msgspec

from aiki.core.duration import Duration, to_microseconds
from aiki.core.keys import PATCH, TIMER, UNTIL
from aiki.core.moments import to_datetime, to_wire
from aiki.inside.asks import sending, wait_any, wait_for
from aiki.inside.child import Child, results
from aiki.inside.durable import Ask, Durable
from aiki.inside.event import Awaited, Event, Message
from aiki.inside.labels import set_labels
from aiki.inside.log import RunLog
from aiki.inside.onward import JournalSize
from aiki.payload.details import OF_RUN, encode_details
from aiki.wire.codec import encode
from aiki.wire.messages import Said

if TYPE_CHECKING:
    from random import Random

    from aiki.inside.fired import FiredSlot

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")


class Sleep(Ask[Awaitable[None]]):
    """A wait of this length."""

    kind: ClassVar[str] = TIMER
    microseconds: int

    def __str__(self) -> str:
        return "run.sleep()"


class SleepUntil(Ask[Awaitable[None]]):
    """A wait for this date, in microseconds since 1970."""

    kind: ClassVar[str] = UNTIL
    microseconds: int

    def __str__(self) -> str:
        return "run.sleep_until()"


class Patched(Ask[bool]):
    """Whether to take the new side of a change."""

    kind: ClassVar[str] = PATCH
    change_id: str

    def __str__(self) -> str:
        return "run.patched()"


class WorkflowRun:
    """The first argument of every workflow: the run as its body sees it.

    `origin_id` is the first of its retries, so it is the same over all of them; `run_id` is this run. `attempt` is the
    workflow's own, from 1: a body that begins again after its worker was lost is still in the same one. `generation` is
    which life of the run this is, from 0: `workflow.continue_as_new(run, ...)` begins the next one. `schedule` is the
    slot of the schedule that has fired the run, the same over its retries and generations; None if none has, as for
    children.
    """

    __slots__ = (
        *("_body", "_input", "_log", "_random"),
        *("generation", "idempotency_key", "labels", "origin_id", "schedule", "version", "workflow"),
    )

    def __init__(
        self,
        body: Durable,
        *,
        origin_id: str,
        workflow: str,
        version: str,
        input: msgspec.Raw,
        idempotency_key: str | None,
        labels: Mapping[str, str],
        generation: int = 0,
        schedule: FiredSlot | None = None,
    ) -> None:
        self._body = body
        self._log: RunLog | None = None
        self._random: Random | None = None
        self.origin_id = origin_id
        self.workflow = workflow
        self.version = version
        self._input = input
        self.idempotency_key = idempotency_key
        self.labels = labels
        self.generation = generation
        self.schedule = schedule

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.run_id} of {self.workflow} {self.version}>"

    @property
    def run_id(self) -> str:
        """This run: of what a retry has taken over from another run, that one."""
        return self._body.run_id()

    @property
    def attempt(self) -> int:
        """The workflow's own attempt, from 1; it rises where a retry goes on, not in what that has taken over."""
        return self._body.attempt()

    @property
    def input(self) -> dict[str, Any]:
        """The input of this generation, by parameter name: plain JSON, a fresh copy each time."""
        read: dict[str, Any] = msgspec.json.decode(self._input)
        return read

    @property
    def log(self) -> RunLog:
        """A logger that is silent on replay."""
        if self._log is None:
            self._log = RunLog(self._body.replaying, run_id=self.run_id, workflow=self.workflow)
        return self._log

    def set_details(self, details: Any) -> None:
        """Show people what the run is at: JSON of at most 16 KiB, in `aiki status` and `RunStatus.details`.

        The last ones stand, also after a crash and when the run has ended; None takes them back. They are written with
        what comes about next, and not again on replay. Raises PayloadError if they cannot be stored.
        """
        self._body.show(msgspec.Raw(encode(Said(msgspec.Raw(encode_details(details, owner=OF_RUN))))))

    def set_labels(self, labels: Mapping[str, str | None], /) -> None:
        """Change the labels by which lists and orders find the run: those that are named here; None takes one away.

        Done once, in the commit that records it, and not again on replay; `labels` says what they are since. A run that
        was past this point when the code came to it goes on without. Raises UsageError for more labels than 20, and
        for names and values that labels cannot have.
        """
        self._body.require_inside("run.set_labels()")
        if (ask := set_labels(labels, self.labels)) is not None:
            self.labels = self._body.ask(ask)

    @property
    def journal_size(self) -> JournalSize:
        """How much the run has recorded in this generation: `entries` and `bytes`, the same on replay.

        A run fails at 50,000 entries or 50 MB, and replays all that it has when it is taken up again: long before that
        let it go on by `workflow.continue_as_new(run, ...)`.
        """
        return self._body.journal_size()

    def now(self) -> datetime:
        """Return the run's time: that of the last outcome delivered to it, aware, in UTC."""
        return to_datetime(self._body.now())

    async def sleep(self, delay: Duration) -> None:
        """Wait durably for a timedelta or text such as "10m"; a long wait holds no worker.

        Raises UsageError if the text is no duration.
        """
        await self._body.ask(Sleep(to_microseconds(delay)))

    async def sleep_until(self, when: datetime) -> None:
        """Wait durably until `when`, an aware datetime; a date in the past does not wait.

        Raises UsageError if `when` is no datetime, or has no time zone.
        """
        hint = "await run.sleep_until(run.now() + timedelta(hours=1))"
        await self._body.ask(SleepUntil(to_wire(when, what="sleep_until()", hint=hint)))

    @overload
    async def wait_for(self, event: Awaited[R], /, *, timeout: Duration | None = None) -> R: ...
    @overload
    async def wait_for(self, event: Awaited[R], /, *, count: int, timeout: Duration | None = None) -> list[R]: ...
    async def wait_for(
        self, event: Awaited[Any], /, *, count: int | None = None, timeout: Duration | None = None
    ) -> Any:
        """Wait durably for the next event of this name and return what it carries; with `count` for as many, as a list.

        An event that came before the wait is taken, too: the oldest that no wait has taken. Of several waits for one
        name the first one asked is served first. Raises EventTimeout if not all have come within `timeout`, and takes
        none then; one that came in time is never too late. Raises PayloadError on an event, which is then taken, that
        no longer fits the type. A wait holds no worker.
        """
        return await self._body.ask(wait_for(event, count=count, timeout=timeout))

    @overload
    async def wait_any(self, a: Event[A], /, *, timeout: Duration | None = None) -> Message[A]: ...
    @overload
    async def wait_any(
        self, a: Event[A], b: Event[B], /, *, timeout: Duration | None = None
    ) -> Message[A] | Message[B]: ...
    @overload
    async def wait_any(
        self, a: Event[A], b: Event[B], c: Event[C], /, *, timeout: Duration | None = None
    ) -> Message[A] | Message[B] | Message[C]: ...
    @overload
    async def wait_any(
        self, a: Event[A], b: Event[B], c: Event[C], d: Event[D], /, *, timeout: Duration | None = None
    ) -> Message[A] | Message[B] | Message[C] | Message[D]: ...
    @overload
    async def wait_any(
        self, a: Event[A], b: Event[B], c: Event[C], d: Event[D], e: Event[E], /, *, timeout: Duration | None = None
    ) -> Message[A] | Message[B] | Message[C] | Message[D] | Message[E]: ...
    # Not `a, *events`: with two events mypy would take it as soon as the result is put where it does not fit.
    @overload
    async def wait_any(
        self,
        a: Event[Any],
        b: Event[Any],
        c: Event[Any],
        d: Event[Any],
        e: Event[Any],
        f: Event[Any],
        /,
        *events: Event[Any],
        timeout: Duration | None = None,
    ) -> Message[Any]: ...
    async def wait_any(self, /, *events: Event[Any], timeout: Duration | None = None) -> Message[Any]:
        """Wait durably for the next event of any of these names; of the others nothing is taken.

        `approved.matches(message)` tells which it is. Raises as `wait_for`.
        """
        return await self._body.ask(wait_any(events, timeout=timeout))

    @overload
    async def send(self, run_id: str, event: Event[None], /, *, idempotency_key: str | None = None) -> None: ...
    @overload
    async def send(self, run_id: str, event: Event[R], value: R, /, *, idempotency_key: str | None = None) -> None: ...
    async def send(
        self, run_id: str, event: Event[Any], value: Any = None, /, *, idempotency_key: str | None = None
    ) -> None:
        """Send an event to a run, durably and once, also if this run is taken up again; return when it was taken.

        A run takes what has an `idempotency_key` once for each name and key. Raises RunEnded if the run has ended,
        SendFailed if it did not take the event, PayloadError if the value does not fit the event's type.
        """
        sender = (self.origin_id, self.generation, self.attempt)
        await self._body.ask(sending(run_id, event, value, sender=sender, idempotency_key=idempotency_key))

    async def all(self, children: Iterable[Child[R]], /) -> list[R]:
        """Wait durably until all of these children have ended, and return their results in the same order.

        However many they are, it is one wait: a run that has left memory for it is not woken by each of them. Raises
        ChildFailed, once all have ended, if one did not complete: the first of them in this order.
        """
        return await results(self._body, children)

    def random(self) -> float:
        """Return a number in [0, 1) that is the same on replay."""
        return self._generator("run.random()").random()

    def uuid(self) -> uuid.UUID:
        """Return a random UUID that is the same on replay."""
        return uuid.UUID(int=self._generator("run.uuid()").getrandbits(128), version=4)

    def patched(self, change_id: str) -> bool:
        """Tell whether to take the new code: true for runs that first come here after the change was deployed.

        `if run.patched("add-fraud-check"): await check.run(run, order)` lets runs in flight go on as they began.
        """
        return self._body.ask(Patched(change_id))

    def _generator(self, what: str) -> Random:
        self._body.require_inside(what)
        if self._random is None:
            from random import Random

            # Each generation has numbers of its own: what was unique in one would come again in the next.
            seed = f"{self.origin_id}:{self.generation}" if self.generation else self.origin_id
            self._random = Random(seed)  # noqa: S311 - it must repeat
        return self._random


def current_body() -> WorkflowRun | None:
    """Return the run whose workflow body is calling, or None outside of workflow bodies."""
    # The loop and not a context variable: a context is inherited by whatever a body starts, its loop is not.
    run = getattr(_get_running_loop(), "workflow_run", None)
    return run if isinstance(run, WorkflowRun) else None
