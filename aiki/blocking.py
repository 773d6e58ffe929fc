"""Own the client for code without an event loop: the async client on a thread of its own, behind one portal.

It is no second API: a call goes through as it is, and a handle's coroutines are awaited on the portal.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from aiki.client import Client

if TYPE_CHECKING:
    from aiki.call import Call
    from aiki.core.duration import Duration
    from aiki.handle import Handle
    from aiki.status import RunStatus

R = TypeVar("R")


class BlockingHandle(Generic[R]):
    """A `Handle` whose methods block."""

    def __init__(self, handle: Handle[R], portal: BlockingPortal) -> None:
        self.run_id = handle.run_id
        self._handle = handle
        self._portal = portal

    def status(self) -> RunStatus:
        """Return the run as it is now."""
        return self._portal.call(self._handle.status)

    def result(self, *, timeout: Duration | None = None) -> R:
        """Wait for the run's end and return its result; raises as `Handle.result`."""
        return self._portal.call(partial(self._handle.result, timeout=timeout))

    def watch(self) -> Iterator[RunStatus]:
        """Yield the run's status now and after each change, the last one being its end."""
        changes = self._handle.watch()
        try:
            while True:
                try:
                    yield self._portal.call(anext, changes)
                except StopAsyncIteration:
                    return
        finally:
            self._portal.call(changes.aclose)


class BlockingClient:
    """A `Client` whose methods block. `aio` is the async client, for `call`."""

    def __init__(self, client: Client, portal: BlockingPortal) -> None:
        self.aio = client
        self._portal = portal

    @overload
    def enqueue(self, call: Call[R], /) -> BlockingHandle[R]: ...
    @overload
    def enqueue(
        self, workflow: str, payload: Mapping[str, Any] | None = None, /, **options: Any
    ) -> BlockingHandle[Any]: ...
    def enqueue(self, call: Any, payload: Mapping[str, Any] | None = None, /, **options: Any) -> BlockingHandle[Any]:
        """Enqueue one run; as `Client.enqueue`."""
        return BlockingHandle(self._portal.call(partial(self.aio.enqueue, call, payload, **options)), self._portal)

    def enqueue_many(self, calls: Iterable[Call[R]], /) -> list[BlockingHandle[R]]:
        """Enqueue many runs in few commits; as `Client.enqueue_many`."""
        return [
            BlockingHandle(handle, self._portal) for handle in self._portal.call(self.aio.enqueue_many, list(calls))
        ]

    def handle(self, run_id: str, /) -> BlockingHandle[Any]:
        """Return a handle of a run by its id."""
        return BlockingHandle(self.aio.handle(run_id), self._portal)


@contextmanager
def connect(
    url: str | None = None, *, namespace: str | None = None, timeout: Duration = "2s"
) -> Generator[BlockingClient, None, None]:
    """Connect on a thread of its own, and close both at the end of the block."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Client.connect(url, namespace=namespace, timeout=timeout)) as client,
    ):
        yield BlockingClient(client, portal)
