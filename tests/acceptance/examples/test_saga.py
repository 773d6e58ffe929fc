"""A trip that is taken back: after its cancel, and although its worker is killed half way."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from aiki import Client, RunFailed, State, Worker, task_run
from examples import saga
from tests.acceptance.examples.commands import ROOT
from tests.servers import Aikid, Program
from tests.waiting import ENOUGH, wait_until, wait_until_sync
from tests.worlds.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What partners are asked in this process."""
    ask, asked = saga.ask_partner, list[str]()

    def note(service: str, order: str, to: str) -> str:
        asked.append(f"{order} {service}")
        return ask(service, order, to)

    monkeypatch.setattr(saga, "ask_partner", note)
    return asked


async def test_a_trip_that_is_cancelled_is_taken_back_with_the_booking_that_it_was_in(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, note = asyncio.get_running_loop(), saga.ask_partner
    world = World(saga.book_trip, b'{"traveller": "Ada", "to": "Vienna"}')

    def cancel_at_the_hotel(service: str, order: str, to: str) -> str:
        if (service, order) == ("hotel", "book"):
            loop.call_soon_threadsafe(world.cancel)
            wait_until_sync(lambda: task_run().cancelled, what="the try is not told")
        return note(service, order, to)

    monkeypatch.setattr(saga, "ask_partner", cancel_at_the_hotel)
    await world.finish()
    assert world.state is State.CANCELLED
    assert asked == ["book flight", "book hotel", "call off hotel", "call off flight"]


async def test_a_trip_is_taken_back_once_although_its_worker_is_killed_while_it_is(
    aikid: Aikid, namespace: str, aiki_env: dict[str, str], tmp_path: Path, asked: list[str]
) -> None:
    command = [sys.executable, "-m", "tests.acceptance.examples.held_saga", str(tmp_path)]
    env = {**aiki_env, "PYTHONHASHSEED": "0"}
    first = Program(command, tmp_path, name="worker", env=env, cwd=ROOT)
    async with Client.connect(aikid.nats_url, namespace=namespace) as client:
        try:
            first.start()
            handle = await saga.book_trip.enqueue(client, "Ada", "Venice")
            await wait_until((tmp_path / "hangs").exists, 30, what="the hotel's calling off")
            first.kill9()
        finally:
            first.close()
        async with Worker(client, workflows=[saga.book_trip]):
            with pytest.raises(RunFailed, match="there are no cars in Venice"):
                await handle.result(timeout=ENOUGH)
        story = [entry async for entry in client.runs.history(handle.run_id)]
    assert asked == ["call off hotel", "call off flight"], "all else is on record"
    assert "rescue" in [entry.move for entry in story]
    entries = [entry for entry in story if entry.task]
    assert [entry.task for entry in entries] == ["book"] * 3 + ["call_off"] * 3
    outcomes = [entry.value.split(",") for entry in entries if entry.ok]
    assert [says for says, _ in outcomes[2:]] == [
        f"call off {service} Venice" for service in ("car", "hotel", "flight")
    ]
    assert [outcomes[4][1], outcomes[3][1]] == [reference for _, reference in outcomes[:2]], "those that it booked"
