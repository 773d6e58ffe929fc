"""Own `WorkflowRun`: the run as its body sees it.

What is durable it asks the execution behind it for; only the run's random numbers are its own.
"""

from __future__ import annotations

import uuid
from asyncio import _get_running_loop
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from aiki.core.duration import Duration, to_microseconds
from aiki.core.keys import PATCH, TIMER, UNTIL
from aiki.core.moments import to_datetime, to_wire
from aiki.inside.durable import Ask, Durable
from aiki.inside.log import RunLog

if TYPE_CHECKING:
    from random import Random


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
    workflow's own, from 1: a body that begins again after its worker was lost is still in the same one.
    """

    __slots__ = (
        *("_body", "_input", "_log", "_random"),
        *("attempt", "idempotency_key", "labels", "origin_id", "run_id", "version", "workflow"),
    )

    def __init__(
        self,
        body: Durable,
        *,
        run_id: str,
        origin_id: str,
        workflow: str,
        version: str,
        input: msgspec.Raw,
        idempotency_key: str | None,
        labels: Mapping[str, str],
        attempt: int = 1,
    ) -> None:
        self._body = body
        self._log: RunLog | None = None
        self._random: Random | None = None
        self.run_id = run_id
        self.origin_id = origin_id
        self.workflow = workflow
        self.version = version
        self._input = input
        self.idempotency_key = idempotency_key
        self.labels = labels
        self.attempt = attempt

    def __repr__(self) -> str:
        return f"<WorkflowRun {self.run_id} of {self.workflow} {self.version}>"

    @property
    def input(self) -> dict[str, Any]:
        """The input as it was enqueued, by parameter name: plain JSON, a fresh copy each time."""
        read: dict[str, Any] = msgspec.json.decode(self._input)
        return read

    @property
    def log(self) -> RunLog:
        """A logger that is silent on replay."""
        if self._log is None:
            self._log = RunLog(self._body.replaying, run_id=self.run_id, workflow=self.workflow)
        return self._log

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

            self._random = Random(self.origin_id)  # noqa: S311 - it must repeat
        return self._random


def current_body() -> WorkflowRun | None:
    """Return the run whose workflow body is calling, or None outside of workflow bodies."""
    # The loop and not a context variable: a context is inherited by whatever a body starts, its loop is not.
    run = getattr(_get_running_loop(), "workflow_run", None)
    return run if isinstance(run, WorkflowRun) else None
