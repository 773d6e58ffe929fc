"""Own the blocking hold on a run, and what all that blocks needs: the async client, and a walk over what it yields.

The async client knows the blocking one, which is opened from it; here a Protocol says what it must be.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from aiki.client.portal import Portal
from aiki.core.errors import UsageError
from aiki.definitions.handle import Handle

if TYPE_CHECKING:
    from aiki.client.named import NamedCall
    from aiki.client.retention import RetentionPolicies
    from aiki.client.runs import Runs
    from aiki.client.schedules import Schedules
    from aiki.client.workers import LiveWorkers
    from aiki.client.workflows import RegisteredWorkflows
    from aiki.core.duration import Duration
    from aiki.core.errors import AikiError
    from aiki.definitions.call import Call
    from aiki.definitions.status import RunStatus
    from aiki.definitions.view import RunView
    from aiki.definitions.why import Why
    from aiki.inside.event import Event
    from aiki.payload import Result

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class AsyncClient(Protocol):
    """A client whose methods are awaited."""

    runs: Runs
    workflows: RegisteredWorkflows
    workers: LiveWorkers

    @property
    def schedules(self) -> Schedules:
        """The schedules of the namespace."""
        ...

    @property
    def retention(self) -> RetentionPolicies:
        """How long ended runs are kept in the namespace."""
        ...

    async def enqueue(self, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Enqueue one run."""
        ...

    async def enqueue_many(self, calls: Iterable[Call[R]], /) -> list[Handle[R]]:
        """Enqueue many runs in few commits."""
        ...

    async def enqueue_batch(self, calls: Iterable[Call[Any] | NamedCall], /) -> list[Handle[Any] | AikiError]:
        """Enqueue many runs and return a handle or a refusal for each."""
        ...

    def handle(self, run_id: str, /, *, result: Result | None = None) -> Handle[Any]:
        """Return a handle of a run by its id."""
        ...


def walk(portal: Portal[AsyncClient], items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Yield what the async generator does, on the portal's loop. Raises UsageError in a fork that has not begun it."""
    client = portal.client
    try:
        while True:
            if portal.client is not client:
                raise UsageError("a fork cannot go on with what was begun before it", hint="begin anew in the fork")
            try:
                yield portal.call(lambda: anext(items))
            except StopAsyncIteration:
                return
    finally:
        if portal.serves(client):
            portal.call(items.aclose)


class BlockingHandle(Generic[R]):
    """A `Handle` whose methods block."""

    def __init__(self, handle: Handle[R], portal: Portal[AsyncClient]) -> None:
        self.run_id = handle.run_id
        self.created = handle.created
        """False if an earlier run with the same idempotency key was found instead."""
        self._held = handle
        self._client = portal.client
        self._portal = portal

    def __repr__(self) -> str:
        return f"BlockingHandle({self.run_id!r})"

    @property
    def _handle(self) -> Handle[R]:
        client = self._portal.client
        if client is not self._client:
            self._held = client.handle(self.run_id, result=self._held.result_type)
            self._client = client
        return self._held

    def status(self) -> RunStatus:
        """Return the run as it is now. Raises NotFound."""
        return self._portal.call(self._handle.status)

    def why(self) -> Why:
        """Return why the run does not move; as `Handle.why`."""
        return self._portal.call(self._handle.why)

    def result(self, *, timeout: Duration | None = None) -> R:
        """Wait for the run's end and return its result; raises as `Handle.result`."""
        return self._portal.call(partial(self._handle.result, timeout=timeout))

    def pause(self, *, reason: str | None = None) -> RunStatus:
        """Hold the run until it is resumed; as `Handle.pause`."""
        return self._portal.call(partial(self._handle.pause, reason=reason))

    def cancel(self, *, reason: str | None = None, wait: Duration | None = None, force: bool = False) -> RunStatus:
        """Cancel the run; as `Handle.cancel`."""
        return self._portal.call(partial(self._handle.cancel, reason=reason, wait=wait, force=force))

    def wake(self) -> RunStatus:
        """End the sleep that goes on in the run; as `Handle.wake`."""
        return self._portal.call(self._handle.wake)

    def resume(self) -> RunStatus:
        """Let the run go on; as `Handle.resume`."""
        return self._portal.call(self._handle.resume)

    def move(self, version: str, *, keep_blocked: bool = False, force: bool = False) -> RunStatus:
        """Have another version carry out the run; as `Handle.move`."""
        return self._portal.call(partial(self._handle.move, version, keep_blocked=keep_blocked, force=force))

    @overload
    def retry(
        self,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
    ) -> BlockingHandle[R]: ...
    @overload
    def retry(self, *, input: Call[R] | Mapping[str, Any]) -> BlockingHandle[R]: ...
    def retry(
        self,
        *,
        from_task: str | None = None,
        from_start: bool = False,
        input: Call[Any] | Mapping[str, Any] | None = None,
        keep: str | Iterable[str] = (),
        again: str | Iterable[str] = (),
        force: bool = False,
    ) -> BlockingHandle[R]:
        """Have a run that failed or was cancelled go on in a new one; as `Handle.retry`."""
        said: dict[str, Any] = {"from_task": from_task, "from_start": from_start, "input": input, "force": force}
        asked = partial(self._handle.retry, keep=keep, again=again, **said)
        return BlockingHandle(self._portal.call(asked), self._portal)

    @overload
    def send(self, event: Event[None], /, *, idempotency_key: str | None = None) -> None: ...
    @overload
    def send(self, event: Event[V], value: V, /, *, idempotency_key: str | None = None) -> None: ...
    def send(self, event: Event[Any], value: Any = None, /, *, idempotency_key: str | None = None) -> None:
        """Send the run an event; as `Handle.send`."""
        self._portal.call(partial(self._handle.send, event, value, idempotency_key=idempotency_key))

    def watch(self) -> Iterator[RunStatus]:
        """Yield the run's status now and after each change, the last one being its end."""
        return walk(self._portal, self._handle.watch())

    def follow(self) -> Iterator[RunView]:
        """Yield the run in full now and after each change; as `Handle.follow`."""
        return walk(self._portal, self._handle.follow())
