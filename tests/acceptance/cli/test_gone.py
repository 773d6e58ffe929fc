"""A run whose time is over is gone for every command, also when aikid is killed over it, and its key is held."""

from __future__ import annotations

import asyncio
import signal

from tests.acceptance.cli.conftest import Aiki, Start
from tests.clocks import HOUR, set_database_clock
from tests.servers import Aikid, Aikids
from tests.waiting import wait_until_sync

ENQUEUE = ["enqueue", "hello", "name=Ada", "--key", "k-1", "--label", "tenant=a", "-o", "ids"]


def test_a_run_goes_after_its_period_and_its_key_after_its_own(
    aiki: Aiki, start: Start, start_aikid: Aikids, database: str, namespace: str
) -> None:
    first = start_aikid()
    env = {"AIKI_URL": first.nats_url, "AIKI_NAMESPACE": namespace}
    worker = start("worker", "start", "-m", "flows", env=env)
    worker.wait_for_log("serves")
    for command in (ENQUEUE, ["enqueue", "hello"]):
        assert aiki(*command, "--wait", env=env).code == 0
    assert aiki("run", "list", "--count", env=env).lines == ["2"]
    (old,) = aiki("run", "list", "--label", "tenant=a", "-o", "ids", env=env).lines
    worker.close()
    first.close()
    asyncio.run(set_database_clock(database, ahead_seconds=2 * HOUR))

    killed = start_aikid(env={"AIKI_RETENTION": "1h", "AIKI_FAILPOINTS": "expiry.before_commit=kill"}, start=False)
    super(Aikid, killed).start()  # it dies as soon as it looks, be that before it serves
    assert killed.wait() == -signal.SIGKILL
    start_aikid(arguments=["--retention", "completed=1h", "--key-retention", "30d"])
    wait_until_sync(lambda: aiki("run", "list", "-o", "ids", env=env).lines == [], 30, what="no run is listed")

    shown = aiki("run", "show", old, env=env)
    assert (shown.code, "deleted after its retention" in shown.err) == (5, True)
    for command in (["status", old], ["run", "history", old], ["wait", old]):
        gone = aiki(*command, env=env)
        assert (gone.code, "retention" in gone.err) == (5, True), command
    assert aiki("run", "list", "--label", "tenant=a", "-o", "ids", env=env).lines == []
    assert aiki("run", "list", "--count", env=env).lines == ["0"]
    assert aiki(*ENQUEUE, env=env).lines == [old], "its key is held"
    conflict = aiki("enqueue", "hello", "name=Eve", "--key", "k-1", env=env)
    assert (conflict.code, "deleted after its retention" in conflict.err) == (6, True)
    again = aiki("enqueue", "hello", "name=Eve", "--key", "k-1", "--on-conflict", "restart", "-o", "ids", env=env)
    assert again.code == 0
    assert again.lines != [old]
