"""What daemons and workers say while a server is away: when it goes, and when it is back, however often they try."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from aiki import Client, Worker, WorkflowRun, workflow
from aikid.store import migrate
from tests.servers import Aikid, Aikids, Nats, Postgres
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio

TRIES = 3
"""How often somebody tries in vain, at least, before the server is back."""


@workflow
async def echo(run: WorkflowRun, text: str) -> str:
    return text


@workflow
async def other(run: WorkflowRun) -> None:
    """A second route: a worker with more routes than slots asks for runs every second."""


@asynccontextmanager
async def working(url: str, namespace: str) -> AsyncIterator[None]:
    """Run a worker in this process; a run is carried out by it before and after the block."""
    async with (
        Client.connect(url, namespace=namespace) as client,
        Worker(client, workflows=[echo, other], max_concurrent_runs=1),
    ):
        for text in ("before", "after"):
            assert await (await echo.enqueue(client, text)).result(timeout=ENOUGH) == text
            if text == "before":
                yield


def said_by(daemon: Aikid, *levels: str) -> list[str]:
    """Return the daemon's lines of these levels."""
    lines = [json.loads(line) for line in daemon.logged().splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] in levels]


def said_here(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what the client and the worker in this process say of what they need."""
    return [one.getMessage() for one in caplog.records if one.levelno == level and one.name == "aiki.transport"]


def tells(lines: list[str], *beginnings: str) -> bool:
    """Tell whether there is exactly one line for each beginning, in this order, of what the first one names.

    What else is away in the meantime has lines of its own: a daemon may find the server again after a worker has.
    """
    subject = beginnings[0].partition(" ")[0]
    about = [line for line in lines if line.startswith(f"{subject} ")]
    return len(about) == len(beginnings) and all(map(str.startswith, about, beginnings))


def tries(lines: list[str], beginning: str) -> bool:
    return sum(line.startswith(beginning) for line in lines) >= TRIES


async def test_nats_that_is_away_is_said_once(
    start_aikid: Aikids, make_nats: Callable[[], Nats], namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    nats = make_nats()
    daemon = start_aikid(nats_url=nats.url, arguments=["--log-level", "debug"])
    async with working(nats.url, namespace):
        caplog.set_level(logging.DEBUG)
        await anyio.to_thread.run_sync(nats.kill9)
        await wait_until(lambda: tries(said_by(daemon, "debug"), "NATS is away still"))
        await wait_until(lambda: tries(said_here(caplog, logging.DEBUG), "NATS is away still"))
        await anyio.to_thread.run_sync(nats.start)
    back = ("NATS is away: ", "NATS is back after ")
    await wait_until(lambda: tells(said_here(caplog, logging.WARNING), *back))
    await wait_until(lambda: tells(said_by(daemon, "warning", "error"), *back))


async def test_postgres_that_is_away_is_said_once(
    start_aikid: Aikids,
    make_postgres: Callable[[], Postgres],
    nats: Nats,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    postgres = make_postgres()
    migrate.upgrade(url := postgres.create_database("aiki"))
    daemon = start_aikid(database_url=url, arguments=["--log-level", "debug"])
    async with working(nats.url, namespace):
        caplog.set_level(logging.DEBUG)
        postgres.kill9()
        await wait_until(lambda: tries(said_by(daemon, "debug"), "Postgres is away still"), 20)
        await wait_until(lambda: tells(said_here(caplog, logging.WARNING), "aikid does not serve us: Postgres"), 20)
        postgres.start()
    served = ("aikid does not serve us: Postgres", "aikid serves us again after ")
    await wait_until(lambda: tells(said_here(caplog, logging.WARNING), *served))
    await wait_until(lambda: tells(said_by(daemon, "warning", "error"), "Postgres is away: ", "Postgres is back after"))


async def test_a_daemon_that_is_away_is_said_once(
    start_aikid: Aikids, nats: Nats, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = start_aikid()
    async with working(nats.url, namespace):
        caplog.set_level(logging.DEBUG)
        daemon.kill9()
        await wait_until(lambda: tries(said_here(caplog, logging.DEBUG), "aikid does not serve us still"), 20)
        await anyio.to_thread.run_sync(daemon.start)
    served = ("aikid does not serve us: no aikid serves namespace", "aikid serves us again after ")
    await wait_until(lambda: tells(said_here(caplog, logging.WARNING), *served))
