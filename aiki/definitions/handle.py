"""Own the hold on one run that its enqueuer gets: id, type of the result, and the Door that it speaks through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

from typing_extensions import TypeVar

from aiki.core.duration import Duration, to_seconds
from aiki.core.errors import Conflict, WaitTimeout
from aiki.core.states import TERMINAL, State
from aiki.definitions import status, stored
from aiki.definitions.retrying import RetryOrder
from aiki.definitions.status import RunStatus
from aiki.inside.event import check_event

if TYPE_CHECKING:
    from aiki.definitions.call import Call
    from aiki.definitions.view import RunView
    from aiki.definitions.why import Why
    from aiki.inside.event import BoundEvent, Event
    from aiki.payload import Result
    from aiki.wire import messages

V = TypeVar("V")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Door(Protocol):
    """What a handle asks of whoever gave it. All of it raises NotFound for a run that does not exist."""

    async def read(self, run_id: str) -> messages.RunStatus:
        """Return the run as it is now."""
        ...

    async def why(self, run_id: str) -> Why:
        """Return why the run does not move."""
        ...

    async def end(self, run_id: str) -> messages.RunStatus:
        """Return the run as soon as it has ended or needs a person."""
        ...

    def changes(self, run_id: str) -> AsyncGenerator[messages.RunStatus, None]:
        """Yield the run as it is now, then again at each change, until it has ended."""
        ...

    def follow(self, run_id: str) -> AsyncGenerator[RunView, None]:
        """Yield the run in full as it is now, then again at each change, until it has ended."""
        ...

    async def pause(self, run_id: str, reason: str | None) -> messages.RunStatus:
        """Hold the run until it is resumed, and return it. Raises Conflict if its state forbids it."""
        ...

    async def cancel(self, run_id: str, reason: str | None, *, force: bool) -> messages.RunStatus:
        """Cancel the run or have it told to end, and return it. Raises Conflict if it has ended otherwise."""
        ...

    async def wake(self, run_id: str) -> messages.RunStatus:
        """End the sleep that goes on in the run, and return it. Raises Conflict if its state forbids it."""
        ...

    async def resume(self, run_id: str) -> messages.RunStatus:
        """Let the run go on, and return it. Raises Conflict if its state forbids it."""
        ...

    async def move(self, run_id: str, version: str, *, keep_blocked: bool, force: bool) -> messages.RunStatus:
        """Have another version carry out the run, and return it. Raises PayloadError, or Conflict if it cannot be."""
        ...

    async def retry(self, run_id: str, order: RetryOrder) -> tuple[str, bool]:
        """Have another run go on in the run's place; return its id, and whether it is new. Raises Conflict."""
        ...

    async def send(self, run_id: str, event: BoundEvent[Any], key: str | None) -> None:
        """Put the event into the run's inbox. Raises RunEnded, Conflict, Overloaded."""
        ...


class Handle(Generic[R_co]):
    """A run as its enqueuer holds it. Making one costs nothing and asks nobody."""

    def __init__(self, run_id: str, door: Door, *, result: Result | None = None, created: bool = True) -> None:
        self.run_id = run_id
        self.created = created
        """False if an earlier run with the same idempotency key was found instead, or an earlier retry."""
        self._door = door
        self._result = result

    def __repr__(self) -> str:
        return f"Handle({self.run_id!r})"

    @property
    def result_type(self) -> Result | None:
        """What reads the run's result, if its type is known."""
        return self._result

    async def status(self) -> RunStatus:
        """Return the run as it is now; if it was retried the newest retry, and `retry_of` says so. Raises NotFound."""
        return status.from_wire(await self._door.read(self.run_id))

    async def why(self) -> Why:
        """Return why the run does not move: what it waits for, since when, and what would move it. Raises NotFound.

        Who waits for another run is followed to the one that really waits. What stands in memory is asked of the worker
        that holds the run, which has 300 ms to answer.
        """
        return await self._door.why(self.run_id)

    async def result(self, *, timeout: Duration | None = None) -> R_co:
        """Wait for the run's end and return its result; without its type one that cannot be read is its raw text.

        If it was retried, that of the newest retry.
        Raises RunFailed (RunTimedOut by its own timeout) or RunCancelled if it ended so, RunBlocked at once if it needs
        a person, NotFound, and WaitTimeout after `timeout`; the run goes on all the same.
        """
        if timeout is None:
            return self._outcome(await self._door.end(self.run_id))
        seconds = to_seconds(timeout)
        try:
            async with asyncio.timeout(seconds):
                run = await self._door.end(self.run_id)
        except TimeoutError as error:
            raise WaitTimeout(
                f"run {self.run_id} has not ended within {seconds:g} s; it goes on",
                hint="await handle.result()",
                command=f"aiki wait {self.run_id}",
            ) from error
        return self._outcome(run)

    def _outcome(self, run: messages.RunStatus) -> R_co:
        if failed := status.error_of(run):
            raise failed
        value: R_co = stored.read(run.output) if self._result is None else self._result.decode(bytes(run.output))
        return value

    async def pause(self, *, reason: str | None = None) -> RunStatus:
        """Hold the run until it is resumed. One that runs starts nothing more, and rests once its tasks have ended.

        `reason` is told by whoever asks why it does not move.

        Raises Conflict if it has ended, or is blocked: then it stands still already.
        """
        return status.from_wire(await self._door.pause(self.run_id, reason))

    async def cancel(
        self, *, reason: str | None = None, wait: Duration | None = None, force: bool = False
    ) -> RunStatus:
        """Cancel the run. One that has begun is told: its tasks, then its body by CancelledError, and it may clean up.

        Returns it as it is since; with `wait` as soon as it has ended, or after so long. Raises Conflict if it has
        ended otherwise: the cancel was too late.

        With `force` it ends at once, and nothing that it has done is taken back: its body hears of nothing. Tasks that
        run are cut off as soon as their worker hears of it; what they have done until then stands.
        """
        seconds = None if wait is None else to_seconds(wait)
        run = await self._door.cancel(self.run_id, reason, force=force)
        if seconds is not None and run.state not in TERMINAL:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    run = await self._door.end(self.run_id)
            if run.state in TERMINAL - {State.CANCELLED}:
                raise Conflict(f"run {self.run_id} has ended {run.state}: the cancel was too late")
        return status.from_wire(run)

    async def wake(self) -> RunStatus:
        """End the sleep that goes on in the run, or its wait for its first start; never a timeout.

        Of several sleeps the one that is due first ends. Raises Conflict if nothing in it sleeps; of a running one only
        its worker knows that, which ends a sleep in memory, and else forgets the wake.
        """
        return status.from_wire(await self._door.wake(self.run_id))

    async def resume(self) -> RunStatus:
        """Let the run go on if it is paused or blocked, or waits for a retry. Raises Conflict if its state forbids it.

        What came meanwhile reaches it in the order in which it came.
        """
        return status.from_wire(await self._door.resume(self.run_id))

    async def move(self, version: str, *, keep_blocked: bool = False, force: bool = False) -> RunStatus:
        """Have another version of its workflow carry out the run: one that is queued, scheduled, paused or blocked.

        What is blocked is queued again, unless it is to be `keep_blocked`. Whether the code of that version asks for
        what the run has recorded is not looked at: `aiki run move` replays it first. By `force` the version need not be
        registered, and its schema is not asked whether it takes the input.

        Raises NotFound if no worker has ever served the version, PayloadError if it takes no input like the run's,
        Conflict if the run's state forbids it.
        """
        return status.from_wire(await self._door.move(self.run_id, version, keep_blocked=keep_blocked, force=force))

    # `self: Handle[R]`: another input is a call of the same result type, although the handle is covariant.
    @overload
    async def retry(
        self: Handle[R],
        *,
        from_task: str | None = None,
        from_start: bool = False,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
    ) -> Handle[R]: ...
    @overload
    async def retry(self: Handle[R], *, input: Call[R] | Mapping[str, Any]) -> Handle[R]: ...
    async def retry(
        self,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        input: Call[Any] | Mapping[str, Any] | None = None,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
    ) -> Handle[Any]:
        """Have a run that failed or was cancelled go on in a new one, and return that: one retry a run.

        It goes on from where this one failed, or from the first call of `from_task`: what was done before is not done
        again. With `from_start` all is done anew, under other idempotency keys, and so with another `input`.

        Raises Conflict if tasks or children have completed since the place that it goes on from, which no retry takes
        back: the results of those named in `keep` are used again, and with `force` all is done once more. A task that
        may begin but once, and whose outcome is unknown, begins again only if it is named in `again`.
        Events and waiters come to the new run. If there is a retry already, that is returned, with `created` false.
        """
        order = RetryOrder.of(
            from_task=from_task, from_start=from_start, input=input, keep=keep, again=again, force=force
        )
        run_id, is_new = await self._door.retry(self.run_id, order)
        return Handle(run_id, self._door, result=self._result, created=is_new)

    @overload
    async def send(self, event: Event[None], /, *, idempotency_key: str | None = None) -> None: ...
    @overload
    async def send(self, event: Event[V], value: V, /, *, idempotency_key: str | None = None) -> None: ...
    async def send(self, event: Event[Any], value: Any = None, /, *, idempotency_key: str | None = None) -> None:
        """Send the run an event: once this has returned, it is stored, and the run takes it when it waits for one.

        A run may be sent events in any state but a terminal one, also before it waits. With an `idempotency_key` the
        same event is taken once, also when it is sent again later; another value is a Conflict. Raises PayloadError
        before anything is sent, RunEnded (which says how), NotFound (no such run, or its workflow declares no such
        event), Overloaded if the run has 10,000 unread events, Unavailable.
        """
        check_event(event, method="send", example='await handle.send(Event("approved", type=str), "alice")')
        await self._door.send(self.run_id, event.bind(value), idempotency_key)

    async def watch(self) -> AsyncGenerator[RunStatus, None]:
        """Yield the run's status now and after each change, the last one being its end."""
        async with aclosing(self._door.changes(self.run_id)) as changes:
            async for run in changes:
                yield status.from_wire(run)

    async def follow(self) -> AsyncGenerator[RunView, None]:
        """Yield the run in full now and after each change, at most four times a second, the last one being its end.

        That is its status with the whole sentence of why it does not move, and its newest calls: what runs, what is
        tried again and when, what is waited for, and what has come. A loop that is slow sees the newest state.
        """
        async with aclosing(self._door.follow(self.run_id)) as views:
            async for view in views:
                yield view
