"""Own the application's door to Aiki: enqueue runs, hold them, read them.

A client needs no database credentials and no workflow code. Enqueue calls that are made at the same time travel
together.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

import anyio

from aiki.client.batching import Batcher
from aiki.client.named import NamedCall, RouteBook
from aiki.client.run_ids import RunIds
from aiki.client.runs import RegisteredWorkflows, Runs
from aiki.client.waits import Waits
from aiki.core.duration import to_seconds
from aiki.core.errors import WIRE_ERRORS, AikiError, Conflict, UsageError
from aiki.core.failpoints import failpoint
from aiki.core.ids import parse_run_id
from aiki.core.keyfiles import FilePath, key_files
from aiki.core.variables import variable
from aiki.definitions.handle import Handle
from aiki.process.spawned import is_importing_main
from aiki.transport import DEFAULT_URL, Transport, reach
from aiki.wire import weights
from aiki.wire.limits import BATCH_RUNS
from aiki.wire.messages import Enqueue, Enqueued, NewRun
from aiki.wire.packing import PAYLOAD_BYTES_LEAST, check_payload, parts

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aiki.client.blocking import BlockingClient
    from aiki.core.duration import Duration
    from aiki.definitions.call import Call
    from aiki.definitions.options import OnConflict
    from aiki.payload import Result

R = TypeVar("R")

ENQUEUE_SECONDS: Final = 30.0
ENQUEUE_LANES: Final = 3
AWAITED_RUNS: Final = 4
CHUNK_RUNS: Final = 500
"""Small enough that the daemon writes one chunk while the next is on its way."""
REQUEST_BYTES: Final = 512
"""An enqueue beside its runs."""


class Client:
    """A connection to Aiki. Open one with `async with Client.connect() as client`."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.runs = Runs(transport)
        self.workflows = RegisteredWorkflows(transport)
        self._ids = RunIds()
        self._routes = RouteBook(transport)
        self._waits = Waits(transport)
        self._enqueues: Batcher[NewRun, Enqueued] = Batcher(self._send, size=BATCH_RUNS // 4, lanes=ENQUEUE_LANES)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str | None = None,
        *,
        namespace: str | None = None,
        timeout: Duration = "2s",
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
        cannot be trusted, and ConfigError if a file cannot be used; a wait of more than 2 s is logged.
        """
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
        )
        client = cls(transport)
        try:
            await client._waits.open()
            yield client
        finally:
            with anyio.CancelScope(shield=True):
                await client._waits.close()
                await transport.close()

    @classmethod
    def blocking(
        cls,
        url: str | None = None,
        *,
        namespace: str | None = None,
        timeout: Duration = "2s",
        creds: FilePath | None = None,
        tls_ca: FilePath | None = None,
        tls_cert: FilePath | None = None,
        tls_key: FilePath | None = None,
    ) -> AbstractContextManager[BlockingClient]:
        """Connect for code without an event loop: `with Client.blocking() as client`. It takes what `connect` takes."""
        from aiki.client.blocking import connect

        keys = {"creds": creds, "tls_ca": tls_ca, "tls_cert": tls_cert, "tls_key": tls_key}
        return connect(partial(cls.connect, url, namespace=namespace, timeout=timeout, **keys))

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
    ) -> Handle[Any]: ...
    async def enqueue(
        self, call: Call[Any] | str, payload: Mapping[str, Any] | None = None, /, **options: Any
    ) -> Handle[Any]:
        """Enqueue one run: a bound workflow, or a workflow's name with its payload.

        Once this has returned, the run is committed (promise P1). Raises PayloadError, NotFound (no such workflow or
        version), Conflict (the idempotency key was used with another input), Unavailable.
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
        self.transport.check_loop()
        bound = list(calls)
        runs = [await self._to_new_run(call) for call in bound]
        answers: list[Enqueued | None] = [None] * len(runs)
        limit = anyio.CapacityLimiter(ENQUEUE_LANES)

        async def send(start: int, chunk: Sequence[NewRun]) -> None:
            async with limit:
                answers[start : start + len(chunk)] = await self._send(chunk)

        start = 0
        async with anyio.create_task_group() as group:
            for chunk in self._chunks(runs):
                group.start_soon(send, start, chunk)
                start += len(chunk)
        return [
            _refusal(answer) or self._handle(answer, _result_of(call))
            for call, answer in zip(bound, answers, strict=True)
            if answer is not None
        ]

    def handle(self, run_id: str, /, *, result: Result | None = None) -> Handle[Any]:
        """Return a handle of a run by its id; nobody is asked. `Workflow.handle()` gives a typed one."""
        try:
            run_id = parse_run_id(run_id)
        except ValueError:
            raise UsageError(
                f"{run_id!r} is not a run id", hint="await client.runs.find(...) resolves prefixes"
            ) from None
        return Handle(run_id, self.transport, self._waits, result=result)

    async def _enqueue_one(self, call: Call[Any] | NamedCall) -> Handle[Any]:
        self.transport.check_loop()
        answer = await self._enqueues.add(await self._to_new_run(call))
        if error := _refusal(answer):
            raise error
        return self._handle(answer, _result_of(call))

    async def _to_new_run(self, call: Call[Any] | NamedCall) -> NewRun:
        run_id = self._ids.next()
        run = await self._routes.to_new_run(call, run_id) if isinstance(call, NamedCall) else call.to_new_run(run_id)
        if len(run.input) > PAYLOAD_BYTES_LEAST:
            check_payload(len(run.input), f"the payload of {run.workflow!r}", room=self.transport.room)
        return run

    async def _send(self, runs: Sequence[NewRun]) -> list[Enqueued]:
        enqueued: list[Enqueued] = []
        # Whoever enqueues a few runs is likely to wait for them, whoever enqueues many is not.
        inbox = self._waits.expect([run.id for run in runs]) if len(runs) <= AWAITED_RUNS else None
        for chunk in self._chunks(runs):
            failpoint("client.before_enqueue")
            enqueued += (await self.transport.call(Enqueue(list(chunk), inbox), seconds=ENQUEUE_SECONDS)).runs
            failpoint("client.after_enqueue")
        return enqueued

    def _chunks(self, runs: Sequence[NewRun]) -> Iterator[Sequence[NewRun]]:
        """Yield the runs in order, as many at a time as fit one request, and its reply if all were refused."""
        return parts(runs, weights.of_run, self.transport.room - REQUEST_BYTES, CHUNK_RUNS)

    def _handle(self, answer: Enqueued, result: Result | None) -> Handle[Any]:
        return Handle(answer.id, self.transport, self._waits, result=result, created=answer.created)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _result_of(call: Call[Any] | NamedCall) -> Result | None:
    return None if isinstance(call, NamedCall) else call.result


def _refusal(answer: Enqueued) -> AikiError | None:
    if answer.error is None:
        return None
    kind = WIRE_ERRORS.get(answer.error.code, AikiError)
    if kind is not Conflict:
        return kind(answer.error.message)
    return Conflict(
        answer.error.message, hint=f'await client.handle("{answer.id}").status()', command=f"aiki status {answer.id}"
    )
