"""A schedule fires each of its slots once, in the commit that enqueues the run."""

from __future__ import annotations

import pytest
from nats.aio.client import Client as Connection

from aiki.core.states import State
from aiki.wire.messages import PutSchedule
from aikid.app import App
from tests.integration.daemon.asking import ask_together
from tests.integration.daemon.engine import Engine, completed, unit
from tests.integration.daemon.firing import declared, latest, show
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio


async def test_a_daemon_fires_a_schedule_by_itself(app: App, bus: Connection, engine: Engine) -> None:
    """Each second, the next one too."""
    schedule = declared(every=1_000_000, overlap="allow")
    await ask_together(app, bus, (engine.namespace, PutSchedule(schedule)))

    async def has_fired() -> bool:
        return len(await latest(engine)) > 1

    await wait_until(has_fired, what="two slots were fired")
    first, second = (await latest(engine))[:2]
    assert [first.result, second.result] == ["started", "started"]
    assert second.slot - first.slot == 1_000_000
    runs = [await engine.claim_one(), await engine.claim_one()]
    assert [(run.fired.schedule, run.fired.slot) for run in runs if run.fired] == [
        ("nightly", first.slot),
        ("nightly", second.slot),
    ]
    assert [run.fence.run_id for run in runs] == [first.run_id, second.run_id]
    await engine.record(unit(runs[0].fence, end=completed()))
    found = await show(engine)
    assert found.info is not None
    assert found.info.last_completed == first.slot
    assert found.slots[-1].state is State.COMPLETED
