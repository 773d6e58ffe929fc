"""aikid on NATS servers that take small messages: it says so, works down to 64 KiB, and does not start below.

Nor on servers of before what it asks of them.
"""

from __future__ import annotations

import asyncio

import pytest

from aiki.core.errors import ConfigError
from aiki.core.keyfiles import KeyFiles
from aiki.wire.packing import payload_bytes
from aikid.bus import Bus
from tests import servers
from tests.servers import Aikids, Program
from tests.waiting import patient

KB = 1024


@pytest.mark.parametrize(("max_payload", "warned"), [(64 * KB, True), (512 * KB - 1, True), (512 * KB, False)])
def test_it_starts_and_warns_where_large_payloads_do_not_fit(
    start_aikid: Aikids, max_payload: int, warned: bool
) -> None:
    with servers.running_nats(max_payload=max_payload) as nats:
        daemon = start_aikid(nats_url=nats.url)
        assert ("max_payload" in daemon.logged()) is warned
        assert (f"more than {payload_bytes(max_payload)} are refused" in daemon.logged()) is warned
        assert daemon.logged().count("max_payload is") <= 1


@pytest.mark.parametrize("command", [[], ["check"]])
def test_it_does_not_start_where_too_little_fits(start_aikid: Aikids, command: list[str]) -> None:
    with servers.running_nats(max_payload=64 * KB - 1) as nats:
        daemon = start_aikid(nats_url=nats.url, arguments=command, start=False)
        Program.start(daemon)
        assert daemon.wait() == 78
        assert "max_payload is 65,535 bytes, and aikid needs 65,536" in daemon.logged()
        assert "raise max_payload" in daemon.logged()


def test_it_says_so_when_a_reconnect_leads_to_such_a_server(start_aikid: Aikids) -> None:
    with servers.running_nats() as nats:
        daemon = start_aikid(nats_url=nats.url)
        assert "max_payload" not in daemon.logged()
        nats.restart_with(max_payload=64 * KB)
        daemon.wait_for_log("max_payload is 65536 bytes")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("version", "is_taken"),
    [("2.9.25", False), ("1.4.1", False), ("2.10.0-beta.1", True), ("2.10.4", True), ("3.0.0", True), ("", True)],
)
async def test_a_server_that_is_too_old_is_refused(version: str, is_taken: bool) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"%s","max_payload":1048576}\r\n' % version.encode())
        while line := await reader.readline():
            if line == b"PING\r\n":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        bus = Bus(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", KeyFiles(), on_return=lambda: None)
        if is_taken:
            await bus.connect(seconds=patient(5))
        else:
            with pytest.raises(ConfigError, match=f"nats-server is {version}, and aikid needs 2.10 or later"):
                await bus.connect(seconds=patient(5))
        await bus.aclose()
