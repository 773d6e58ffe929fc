"""Own a client's hold on one run: its status, its result, its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, cast

from typing_extensions import TypeVar

from aiki.client import waits
from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import NotFound, WaitTimeout
from aiki.definitions import status, stored
from aiki.definitions.status import RunStatus
from aiki.wire.messages import Resume

if TYPE_CHECKING:
    from aiki.payload import Result
    from aiki.transport import Transport
    from aiki.wire import messages

R_co = TypeVar("R_co", covariant=True)


class Handle(Generic[R_co]):
    """A run as its enqueuer holds it. Making one costs nothing and asks nobody."""

    def __init__(
        self,
        run_id: str,
        transport: Transport,
        waiting: waits.Waits,
        *,
        result: Result | None = None,
        created: bool = True,
    ) -> None:
        self.run_id = run_id
        self.created = created
        """False if an earlier run with the same idempotency key was found instead."""
        self._transport = transport
        self._waits = waiting
        self._result = result

    def __repr__(self) -> str:
        return f"Handle({self.run_id!r})"

    @property
    def result_type(self) -> Result | None:
        """What reads the run's result, if its type is known."""
        return self._result

    async def status(self) -> RunStatus:
        """Return the run as it is now. Raises NotFound."""
        found = await waits.read(self._transport, [self.run_id])
        if self.run_id not in found:
            raise NotFound(f"run {self.run_id} does not exist in namespace {self._transport.namespace!r}")
        return status.from_wire(found[self.run_id])

    async def result(self, *, timeout: Duration | None = None) -> R_co:
        """Wait for the run's end and return its result; without its type one that cannot be read is its raw text.

        Raises RunFailed or RunCancelled if it ended so, RunBlocked at once if it needs a person, NotFound, and
        WaitTimeout after `timeout`; the run goes on all the same.
        """
        seconds = None if timeout is None else to_seconds(timeout)
        try:
            async with asyncio.timeout(seconds):
                run = await self._waits.end(self.run_id)
        except TimeoutError as error:
            raise WaitTimeout(
                f"run {self.run_id} has not ended within {seconds:g} s; it goes on",
                hint="await handle.result()",
                command=f"aiki wait {self.run_id}",
            ) from error
        if failed := status.error_of(run):
            raise failed
        return self._decode(run)

    def _decode(self, run: messages.RunStatus) -> R_co:
        value: Any = stored.read(run.output) if self._result is None else self._result.decode(bytes(run.output))
        return cast("R_co", value)

    async def resume(self) -> RunStatus:
        """Queue the run again if it is blocked or waits for a retry. Raises Conflict if its state forbids it."""
        return status.from_wire((await self._transport.call(Resume(self.run_id))).run)

    async def watch(self) -> AsyncGenerator[RunStatus, None]:
        """Yield the run's status now and after each change, the last one being its end."""
        async with aclosing(self._waits.changes(self.run_id)) as changes:
            async for run in changes:
                yield status.from_wire(run)
