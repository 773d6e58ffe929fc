"""Own the application's door to Aiki: enqueue runs, hold them, read them.

A client needs no database credentials and no workflow code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from aiki.client.door import ClientDoor
from aiki.client.enqueueing import AnyCall, Enqueueing, refusal
from aiki.client.following import Follows
from aiki.client.named import NamedCall, RouteBook
from aiki.client.runs import Runs
from aiki.client.sending import Sending
from aiki.client.waits import Waits
from aiki.client.wire import Wire
from aiki.client.workers import LiveWorkers
from aiki.client.workflows import RegisteredWorkflows
from aiki.core.duration import to_seconds
from aiki.core.errors import AikiError, UsageError
from aiki.core.ids import parse_run_id
from aiki.core.keyfiles import FilePath, key_files
from aiki.core.variables import variable
from aiki.definitions.handle import Handle
from aiki.process.spawned import is_importing_main
from aiki.wire.messages import Enqueued

if TYPE_CHECKING:
    from aiki.client.blocking import BlockingClient
    from aiki.client.retention import RetentionPolicies
    from aiki.client.schedules import Schedules
    from aiki.core.duration import Duration
    from aiki.definitions.call import Call
    from aiki.definitions.options import OnConflict
    from aiki.inside.event import BoundEvent
    from aiki.payload import Result
    from aiki.transport import Transport

R = TypeVar("R")


class Client:
    """A connection to Aiki. Open one with `async with Client.connect() as client`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._routes, sending = RouteBook(wire), Sending(wire)
        self._follows = Follows(wire)
        self.runs = Runs(wire, self._routes, sending, self._follows)
        self.workflows = RegisteredWorkflows(wire)
        self.workers = LiveWorkers(wire)
        self._waits = Waits(wire)
        self._door = ClientDoor(wire, self._waits, self._follows, sending, self._routes)
        self._enqueueing = Enqueueing(wire, self._waits, self._routes)

    @property
    def transport(self) -> Transport:
        """The connection, which a Worker shares. Raises UsageError for the client of a TestEnv, which has none."""
        from aiki.transport import Transport

        if isinstance(self._wire, Transport):
            return self._wire
        raise UsageError("a TestEnv runs itself what its client enqueues: it takes no Worker", hint="env.enqueue(...)")

    async def open(self) -> None:
        """Begin to receive what is pushed."""
        await self._waits.open()

    async def close(self) -> None:
        """Stop to wait for runs; the connection stays with whoever has made it."""
        await self._waits.close()
        await self._follows.close()

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | None = None,
        *,
        namespace: str | None = None,
        timeout: Duration = "2s",
        fail_fast: bool = False,
        creds: FilePath | None = None,
        tls_ca: FilePath | None = None,
        tls_cert: FilePath | None = None,
        tls_key: FilePath | None = None,
    ) -> AsyncGenerator[Client, None]:
        """Connect, and close at the end of the block.

        `url` is one address or several with commas between them, and defaults to AIKI_URL, then nats://127.0.0.1:4222;
        `namespace` to AIKI_NAMESPACE, then `default`. `creds` is a credentials file (a user's JWT and seed), `tls_ca`
        the authorities to trust in place of the system's, `tls_cert` and `tls_key` our own certificate; each defaults
        to its variable, such as AIKI_CREDS. The files are read anew at each reconnect.
        Raises Unavailable if no aikid answers there within `timeout`, Denied if NATS refuses us then or its certificate
        cannot be trusted, and ConfigError if a file cannot be used; a wait of more than 2 s is logged. With `fail_fast`
        nobody is waited for who is not there: it is tried once, and `timeout` is for who is there and slow.
        """
        from aiki.transport import DEFAULT_URL, reach  # only here: the client of a TestEnv needs no NATS

        given = {"creds": creds, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
        if is_importing_main():
            raise UsageError(
                "a process that is to run tasks imports the program's main module, which would connect here once more",
                hint='if __name__ == "__main__": asyncio.run(main())',
            )
        transport = await reach(
            url or variable(os.environ, "AIKI_URL") or DEFAULT_URL,
            key_files(given, os.environ),
            namespace=namespace or variable(os.environ, "AIKI_NAMESPACE") or "default",
            name="aiki-client",
            seconds=to_seconds(timeout),
            fail_fast=fail_fast,
        )
        client = cls(transport)
        try:
            await client.open()
            yield client
        finally:
            with _shielded():
                await client.close()
                await transport.close()

    @classmethod
    def blocking(
        cls,
        url: str | None = None,
        *,
        namespace: str | None = None,
        timeout: Duration = "2s",
        fail_fast: bool = False,
        creds: FilePath | None = None,
        tls_ca: FilePath | None = None,
        tls_cert: FilePath | None = None,
        tls_key: FilePath | None = None,
    ) -> AbstractContextManager[BlockingClient[Client]]:
        """Connect for code without an event loop: `with Client.blocking() as client`. It takes what `connect` takes."""
        from aiki.client.blocking import connect

        keys = {"creds": creds, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
        return connect(partial(cls.connect, url, namespace=namespace, timeout=timeout, fail_fast=fail_fast, **keys))

    @property
    def schedules(self) -> Schedules:
        """The schedules of the namespace."""
        from aiki.client.schedules import Schedules  # few programs have to do with them

        return Schedules(self._wire, self._door, self._routes)

    @property
    def retention(self) -> RetentionPolicies:
        """How long ended runs are kept in the namespace."""
        from aiki.client.retention import RetentionPolicies

        return RetentionPolicies(self._wire)

    # -- enqueue

    @overload
    async def enqueue(self, call: Call[R], /) -> Handle[R]: ...
    @overload
    async def enqueue(
        self,
        workflow: str,
        payload: Mapping[str, Any] | None = None,
        /,
        *,
        version: str | None = None,
        idempotency_key: str | None = None,
        on_conflict: OnConflict = "error",
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        delay: Duration | None = None,
        start_at: datetime | None = None,
        send: BoundEvent[Any] | None = None,
        timeout: Duration | None = None,
        cancel_timeout: Duration | None = None,
    ) -> Handle[Any]: ...
    async def enqueue(
        self, call: Call[Any] | str, payload: Mapping[str, Any] | None = None, /, **options: Any
    ) -> Handle[Any]:
        """Enqueue one run: a bound workflow, or a workflow's name with its payload.

        Once this has returned, the run is committed (promise P1). Raises PayloadError, NotFound (no such workflow or
        version), Conflict (the idempotency key was used with another input), RunEnded (its run was to be sent an event
        and has ended), Unavailable.
        """
        if isinstance(call, str):
            return await self._enqueue_one(NamedCall(call, payload or {}).options(**_given(options)))
        if payload is not None or options:
            raise UsageError("options of a bound workflow are set before: workflow.options(...).bind(...)")
        return await self._enqueue_one(call)

    async def enqueue_many(self, calls: Iterable[Call[R]], /) -> list[Handle[R]]:
        """Enqueue many runs in few commits; the handles come in the calls' order.

        All payloads are checked before the first is sent. If the daemon refuses some (a Conflict), the others are
        enqueued all the same and the first refusal is raised, saying how many there were; a repeat with the same
        idempotency keys is harmless.
        """
        outcomes = await self.enqueue_batch(calls)
        refused = [outcome for outcome in outcomes if isinstance(outcome, AikiError)]
        if refused:
            first = refused[0]
            first.add_note(f"{len(refused)} of {len(outcomes)} runs were refused, the others are enqueued")
            raise first
        return cast("list[Handle[R]]", outcomes)

    async def enqueue_batch(self, calls: Iterable[Call[Any] | NamedCall], /) -> list[Handle[Any] | AikiError]:
        """Enqueue many runs and return, in order, a handle or the error that one was refused with.

        Raises the first error of a payload that does not fit, before anything is sent.
        """
        bound = list(calls)
        answers = await self._enqueueing.batch(bound)
        return [
            refusal(answer, call) or self._handle(answer, call) for call, answer in zip(bound, answers, strict=True)
        ]

    def handle(self, run_id: str, /, *, result: Result | None = None) -> Handle[Any]:
        """Return a handle of a run by its id; nobody is asked. `Workflow.handle()` gives a typed one."""
        try:
            run_id = parse_run_id(run_id)
        except ValueError:
            raise UsageError(
                f"{run_id!r} is not a run id", hint="await client.runs.find(...) resolves prefixes"
            ) from None
        return Handle(run_id, self._door, result=result)

    async def _enqueue_one(self, call: AnyCall) -> Handle[Any]:
        answer = await self._enqueueing.one(call)
        if error := refusal(answer, call):
            raise error
        return self._handle(answer, call)

    def _handle(self, answer: Enqueued, call: AnyCall) -> Handle[Any]:
        result = None if isinstance(call, NamedCall) else call.result
        return Handle(answer.id, self._door, result=result, created=answer.created)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _shielded() -> AbstractContextManager[object]:
    """Keep the scopes of anyio from cancelling the block again and again; where nobody has imported it, none is there.

    Its own import would take a short command longer than all that it says to the server.
    """
    anyio = sys.modules.get("anyio")
    return nullcontext() if anyio is None else anyio.CancelScope(shield=True)
