"""Own the worker as users hold it: what it serves, and its life from the block's begin to the end of the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aiki.client.client import Client
from aiki.core.duration import Duration
from aiki.core.errors import Denied, UsageError
from aiki.definitions import bodies
from aiki.definitions.registry import Registry
from aiki.execution import Pools
from aiki.wire.limits import CLAIM_RUNS
from aiki.worker import options
from aiki.worker.interrupts import obeying_ctrl_c
from aiki.worker.lifespan import Lifespan, Shared
from aiki.worker.serving import Serving

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow


class Worker:
    """A worker in code: `async with Worker(client, workflows=[...]) as worker: await worker.run()`.

    It starts at the block's begin and drains at its end. `id` names it to people (default: host and process id);
    `max_concurrent_runs` counts runs that can move, those that only wait hold no slot; `drain` is how long tasks may
    go on after a stop; `lease` is after how long without a sign of life its runs go to other workers; `linger` is how
    long a run that only waits stays in memory, without a slot; `start_timeout` is how long NATS may refuse the
    credentials, or what a worker must be permitted, before `run()` raises Denied.

    `lifespan` makes what tasks share (pools, HTTP clients): a function that returns an async context manager, entered
    before the first run and left after the drain; `task_run().shared(Type)` gives its value. `fetch_batch`, 1 to 200,
    is the most runs in one claim; `idle_poll`, 100 ms to 1 h, is how long an idle worker waits for a hint before it
    asks by itself: what a hint that got lost may cost.
    """

    def __init__(
        self,
        client: Client,
        *,
        workflows: Iterable[Workflow[..., Any]] = (),
        id: str | None = None,
        max_concurrent_runs: int = 100,
        drain: Duration = "30s",
        lease: Duration = "30s",
        linger: Duration = "10s",
        start_timeout: Duration = "30s",
        lifespan: Lifespan | None = None,
        fetch_batch: int = CLAIM_RUNS,
        idle_poll: Duration = "5s",
    ) -> None:
        if not isinstance(client, Client):
            raise UsageError(
                f"a Worker takes a Client, not a {type(client).__name__}",
                hint="async with Client.connect() as client: ...",
            )
        self._options = options.checked(
            id=id,
            max_concurrent_runs=max_concurrent_runs,
            drain=drain,
            lease=lease,
            linger=linger,
            start_timeout=start_timeout,
            fetch_batch=fetch_batch,
            idle_poll=idle_poll,
        )
        self.registry = Registry(workflows, on_new=self._on_added)
        """What it serves; more may be added while it runs."""
        self._client = client
        self._shared = Shared(lifespan)
        self._pools = Pools()
        self._serving: Serving | None = None
        """From its opening on."""
        self._watching: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._denied: Denied | None = None
        """Why it has to end, if NATS has refused it for too long."""
        self._interrupts = ExitStack()
        """Holds Ctrl-C from `run()` to the end of the drain."""

    @property
    def id(self) -> str:
        """What people know it by."""
        return self._options.id

    async def __aenter__(self) -> Self:
        """Open the session and begin to claim. BodyWarnings tell what bodies read that is another on replay.

        Raises UsageError without workflows, ConfigError if the lifespan fails, Unavailable without a daemon.
        """
        if not len(self.registry):
            raise UsageError("a worker needs at least one workflow", hint="Worker(client, workflows=[...])")
        for workflow in self.registry:
            bodies.warn(workflow.name, workflow.fn)
        await self._shared.enter()
        try:
            await self._open()
        except BaseException:
            await self._shared.leave()
            raise
        return self

    async def _open(self) -> None:
        serving = Serving(
            self._client.transport,
            self.registry,
            self._options,
            pools=self._pools,
            shared=self._shared.value,
            stopped=self._stopped,
            on_denied=self._on_denied,
        )
        await serving.open()
        self._serving = serving
        self._watching = asyncio.create_task(self._watch_refusals())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drain: claim nothing more, let tasks end within `drain`, record them, give everything else back at once."""
        assert self._serving is not None
        try:
            self.stop()
            await self._serving.close()
            self._pools.close()
        finally:
            if self._watching is not None:
                self._watching.cancel()
            self._interrupts.close()
            await self._shared.leave()

    async def run(self) -> None:
        """Serve until `stop()`. Raises what made claiming impossible, Denied if NATS goes on refusing us, UsageError.

        Ctrl-C stops it too, where it is awaited by the main task of `asyncio.run()`; a second one ends the process.
        """
        if self._serving is None:
            raise UsageError(
                "this Worker was not opened: it serves inside its `async with` block",
                hint="async with Worker(client, workflows=[...]) as worker: await worker.run()",
            )
        claiming = self._serving.claiming
        self._interrupts.enter_context(obeying_ctrl_c(self.stop, drain_seconds=self._options.drain_seconds))
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait([stopped, claiming], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self._denied is not None:
            raise self._denied
        if claiming.done() and not claiming.cancelled():
            claiming.result()

    def stop(self) -> None:
        """Make `run()` return, so that the block's end drains. Call it on the worker's loop."""
        self._stopped.set()

    def _on_added(self, workflow: Workflow[..., Any]) -> None:
        if self._serving is not None:
            bodies.warn(workflow.name, workflow.fn)
            self._serving.serve(workflow)

    async def _watch_refusals(self) -> None:
        self._on_denied(await self._client.transport.denied(self._options.start_seconds))

    def _on_denied(self, error: Denied) -> None:
        self._denied = self._denied or error
        self.stop()
