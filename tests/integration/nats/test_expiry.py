"""Credentials that expire while we are connected: the server ends the connection, and takes it back with fresh ones."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aiki.core.keyfiles import KeyFiles
from aiki.nats import Connection, Refused
from tests.servers import Nats
from tests.servers.operator import HOUR_SECONDS, Operator
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio

EXPIRED = "User Authentication Expired"


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "user.creds"


def fill(file: Path, credentials: str) -> None:
    """Replace what the file holds, in its place."""
    file.write_text(credentials)


@pytest.fixture
def nats(make_nats: Callable[[], Nats], operator: Operator) -> Nats:
    """A server that lets in whom the operator's account has signed."""
    made = make_nats()
    made.restart_with(**operator.settings())
    return made


@pytest.fixture
async def connection(nats: Nats, operator: Operator, file: Path) -> AsyncIterator[Connection]:
    """A connection by credentials from the file that soon expire."""
    fill(file, operator.credentials(seconds=patient(2)))
    made = Connection([nats.url], keys=KeyFiles(creds=file), name="test")
    await made.connect(seconds=patient(3))
    yield made
    await made.close()


async def test_fresh_credentials_in_the_same_file_are_read_and_everything_is_as_before(
    connection: Connection, operator: Operator, file: Path
) -> None:
    connection.subscribe("test.echo", lambda message: connection.send(message.reply, message.data))
    assert (await connection.request("test.echo", b"here", seconds=patient(2))).data == b"here"
    assert await connection.refusals.lasting(0) == EXPIRED
    fill(file, operator.credentials(seconds=HOUR_SECONDS))
    await wait_until(lambda: connection.connected)
    assert (await connection.request("test.echo", b"again", seconds=patient(2))).data == b"again"
    assert not connection.refusals


async def test_what_has_expired_is_told_though_the_server_soon_calls_it_a_violation(connection: Connection) -> None:
    def is_called_a_violation() -> bool:
        try:
            connection.send("test.lost", b"")
        except Refused as error:
            return str(error).startswith("Authorization Violation (what ")
        return False

    await wait_until(is_called_a_violation)
    told = await connection.refusals.lasting(0)
    assert re.fullmatch(
        rf"{EXPIRED}, and now Authorization Violation \(what .*user\.creds holds expired at .* UTC\)", told
    )
