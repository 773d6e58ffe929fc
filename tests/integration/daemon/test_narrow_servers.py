"""aikid on NATS servers that take small messages: it says so, works down to 64 KiB, and does not start below."""

from __future__ import annotations

import pytest

from aiki.wire.packing import payload_bytes
from tests import servers
from tests.servers import Aikids, Program

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
