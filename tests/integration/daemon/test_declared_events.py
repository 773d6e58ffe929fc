"""Workflows that declare their events: what others send them is refused where it is judged."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from aiki.wire.messages import Outcome, Route
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, event, op, unit

pytestmark = pytest.mark.anyio


async def test_a_sent_event_that_the_workflow_does_not_declare_is_refused_until_its_code_takes_it(
    engine: Engine,
) -> None:
    run_id = await engine.queued_run()
    await engine.session(routes=[Route(WORKFLOW, VERSION, events=Raw(b'{"rejected":{}}'))])
    assert await engine.send(event(run_id), event(run_id, "rejected")) == [
        Outcome("unknown", message=f"workflow {WORKFLOW!r} declares no event 'approved': it takes rejected"),
        Outcome("taken"),
    ]
    # Nothing is said of events where a session only names its routes.
    await engine.session(routes=[Route(WORKFLOW, VERSION)])
    assert [outcome.result for outcome in await engine.send(event(run_id))] == ["unknown"]
    await engine.session(routes=[Route(WORKFLOW, VERSION, events=Raw(b"null"))])
    assert await engine.send(event(run_id)) == [Outcome("taken")]


async def test_a_run_that_sends_another_what_it_does_not_declare_hears_of_it(engine: Engine) -> None:
    session = await engine.session(routes=[Route(WORKFLOW, VERSION, events=Raw(b'{"rejected":{}}'))])
    target = await engine.queued_run(priority=-1)
    await engine.queued_run()
    sender = await engine.claim_one(session)
    sent = unit(sender.fence)
    sent.ops = [op(target), op(target, "rejected")]
    assert await engine.results(sent) == ["done"]
    outcomes = [
        msgspec.json.decode(one.value, type=Outcome).result
        for one in (await engine.inbox(sender.fence.run_id)).arrivals
    ]
    assert outcomes == ["refused", "taken"]
