"""Own the embedded servers while this process lives: start, watch, start again, stop.

A server that dies is started again on the same data, after a growing pause if it keeps dying; our own code rides over
that as over any restart of a server elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiki.core.errors import ConfigError
from aikid.embedded.child import Server, last_lines
from aikid.embedded.home import open_home
from aikid.embedded.nats import Nats
from aikid.embedded.postgres import Postgres
from aikid.threads import in_thread

log = logging.getLogger(__name__)

ADDRESSES: Final = "servers.json"
"""In the data folder while the servers run: their addresses and our process id, for people and tools."""
STEADY_SECONDS: Final = 30.0
"""A server that lived so long is started again at once if it dies."""
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_STOP_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Addresses:
    """Where the embedded servers answer."""

    database_url: str
    nats_url: str


@asynccontextmanager
async def embedded_servers(data_dir: Path, *, nats_port: int, start_seconds: float) -> AsyncIterator[Addresses]:
    """Run Postgres and nats-server on `data_dir` for the length of the context.

    Both answer when it is entered and have ended when it is left. Raises ConfigError if the folder or the port is
    taken, the binaries are missing, or a server does not start within `start_seconds`.
    """
    with open_home(data_dir) as home:
        if home.elsewhere:
            log.info("%s is closed to the servers' account: their data is in %s", data_dir, home.folder.path)
        postgres = Postgres(home.folder, home.account)
        nats = Nats(home.folder, home.account, port=nats_port)
        async with supervised([postgres, nats], start_seconds=start_seconds):
            addresses = Addresses(postgres.url(), nats.url)
            home.data.write(ADDRESSES, json.dumps({"pid": os.getpid(), **vars(addresses)}, indent=1) + "\n")
            try:
                yield addresses
            finally:
                home.data.remove(ADDRESSES)


@asynccontextmanager
async def supervised(servers: Sequence[Server], *, start_seconds: float) -> AsyncIterator[None]:
    """Run `servers` for the length of the context; they start together and stop one by one, the last one first."""
    async with AsyncExitStack() as stack:
        keepers = [_Keeper(server, start_seconds) for server in servers]
        for keeper in keepers:
            stack.push_async_callback(keeper.stop)
            keeper.start()
        for keeper in keepers:
            await keeper.up()
        yield


class _Keeper:
    """Keeps one server running from `start` to `stop`."""

    def __init__(self, server: Server, start_seconds: float) -> None:
        self._server = server
        self._start_seconds = start_seconds
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"keep {self._server.name}")

    async def up(self) -> None:
        """Return when the server answered for the first time. Raises ConfigError if it could not be started."""
        assert self._task is not None
        answered = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait((answered, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))
        # Why a start failed was told by `up`; any other error is a bug of ours, and must not hide behind the stop.
        if not self._task.cancelled() and (error := self._task.exception()) and self._up.is_set():
            log.error("%s was no longer watched", self._server.name, exc_info=error)

    async def _run(self) -> None:
        server = self._server
        deadline = time.monotonic() + self._start_seconds
        try:
            await in_thread(server.prepare)
        except OSError as error:
            raise ConfigError(f"{server.name} cannot be started: {error}", hint="is the data folder yours?") from error
        pause = _FIRST_PAUSE
        while True:
            try:
                lived = await self._live_once(deadline)
            except ConfigError as error:
                if not self._up.is_set():
                    raise
                # It has run before (the programs are being replaced, perhaps): nobody else would try again.
                log.warning("%s cannot be started again: %s", server.name, error)
                lived = 0.0
            pause = _FIRST_PAUSE if lived > STEADY_SECONDS else min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _live_once(self, deadline: float) -> float:
        """Run the server from its start to its end and return how many seconds it lived."""
        server = self._server
        began = time.monotonic()
        process = server.spawn()
        try:
            while process.poll() is None and not await in_thread(lambda: server.is_ready(process)):
                self._give_up_after(deadline)
                await asyncio.sleep(_POLL_SECONDS)
            if process.poll() is None:
                if self._up.is_set():
                    log.info("%s answers again (process %d)", server.name, process.pid)
                else:
                    log.debug("%s answers (process %d)", server.name, process.pid)
                    self._up.set()
                await _ended(process)
            self._give_up_after(deadline)
            reason = last_lines(server, 1)
            log.error("%s ended with code %s; starting it again (%s)", server.name, process.returncode, reason)
        finally:
            await _end(process, first=server.stop_signal, then=server.kill_signal)
        return time.monotonic() - began

    def _give_up_after(self, deadline: float) -> None:
        if not self._up.is_set() and time.monotonic() > deadline:
            raise ConfigError(
                f"{self._server.name} does not start:\n{last_lines(self._server)}", hint=f"less {self._server.log}"
            )


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Return when `process` has ended, and reap it."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        # Not Linux, or a sandbox that forbids it.
        await in_thread(process.wait)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.wait()


async def _end(process: subprocess.Popen[bytes], *, first: signal.Signals, then: signal.Signals) -> None:
    for number in (first, then, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await _ended(process)
