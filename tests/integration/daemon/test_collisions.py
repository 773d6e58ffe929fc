"""Who sends what collides with itself has the trouble alone: no other of its batch is kept waiting for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from nats.aio.client import Client as Connection

from aiki.wire.messages import Enqueue, Send, Sent
from aikid.app import App
from tests.integration.daemon.asking import ask_together
from tests.integration.daemon.engine import Engine, entry, event, new_id, new_run, op, unit

pytestmark = pytest.mark.anyio

OURS, THEIRS = "ours", "theirs"


def entangled(run_id: str) -> list[Sent]:
    """Return events that share ids and keys in a chain: whichever of them is left out, two of the others collide."""
    ids = [new_id() for _ in range(3)]
    names = [(ids[0], "1"), (ids[1], "1"), (ids[1], "2"), (ids[2], "2")]
    return [event(run_id, id=id, key=key, digest="0" * 32) for id, key in names]


async def test_events_that_share_ids_and_keys_hold_up_no_event_of_others(app: App, bus: Connection) -> None:
    mine, other = new_run(), new_run()
    await ask_together(app, bus, (OURS, Enqueue([mine])), (THEIRS, Enqueue([other])))
    sends = (THEIRS, Send(entangled(other.id))), (OURS, Send([event(mine.id)]))
    replies: list[dict[str, Any]] = [json.loads(reply) for reply in await ask_together(app, bus, *sends)]
    assert replies[1]["ok"] == {"outcomes": [{"result": "taken"}]}
    assert "error" in replies[0] or {one["result"] for one in replies[0]["ok"]["outcomes"]} >= {"taken"}


async def test_a_unit_whose_sends_share_an_id_is_refused_alone(engine: Engine) -> None:
    await engine.queued_run()
    await engine.queued_run()
    forger, other = (run.fence for run in (await engine.claim_reply(await engine.session())).runs)
    sent = op(other.run_id)
    forged = replace(unit(forger), ops=[sent, replace(sent, name="rejected")])
    assert await engine.results(forged, unit(other, 0, entry())) == ["refused", "done"]
