"""Labels that a unit changes: with its entries or not at all, on the row and in the table that lists walk."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import End, Entry, Fence, ListReply, ListRuns, Unit
from aikid.engine import reads
from tests.integration.daemon.engine import Engine, completed, parked

pytestmark = pytest.mark.anyio

OLD = {"team": "a", "stage": "new", "kept": "it's"}
NEW = {"stage": "done", "kept": "it's", "said": "Łódź 😀", "empty": "", "long": "x" * 256}


def labelling(fence: Fence, labels: Mapping[str, str], base: int = 0, end: End | None = None) -> Unit:
    entry = Entry(f"labels:{base}:0:1", True, Raw(b"{}"), 1)
    return Unit(fence, base, [entry], [], end, labels=dict(labels))


async def found(engine: Engine, labels: Mapping[str, str]) -> list[str]:
    request = ListRuns(labels=dict(labels))
    reply = await reads.answer(engine.pool, engine.namespace, request, room=MESSAGE_BYTES)
    assert isinstance(reply, ListReply)
    return [run.id for run in reply.runs]


async def in_step(engine: Engine, run_id: str, labels: Mapping[str, str]) -> None:
    """Say that a run has these labels and no others, wherever one looks."""
    assert (await engine.status(run_id)).labels == labels
    rows = await engine.execute("SELECT name, value FROM aiki.labels WHERE run_id = %s", run_id)
    assert sorted(rows) == sorted(labels.items())
    for label in labels.items():
        assert run_id in await found(engine, dict([label]))


async def test_labels_change_with_their_entries_and_lists_go_by_them_since(engine: Engine) -> None:
    run_id, other = await engine.queued_run(labels=OLD), await engine.queued_run(labels=OLD)
    claimed = await engine.claim_one()
    assert claimed.labels == OLD
    assert await engine.results(labelling(claimed.fence, NEW)) == ["done"]
    await in_step(engine, run_id, NEW)
    await in_step(engine, other, OLD)
    assert await found(engine, {"stage": "new"}) == [other]
    assert await found(engine, {"kept": "it's", "said": "Łódź 😀"}) == [run_id]
    assert await engine.results(labelling(claimed.fence, NEW)) == ["done"], "its repeat does no harm"
    await in_step(engine, run_id, NEW)
    assert await engine.results(labelling(claimed.fence, {}, 1, completed())) == ["done"]
    await in_step(engine, run_id, {})
    assert await found(engine, OLD) == [other]


async def test_the_next_claim_and_one_that_parks_for_events_know_the_labels(engine: Engine) -> None:
    run_id = await engine.queued_run()
    session = await engine.session()
    (first,) = await engine.claim(session)
    assert await engine.results(labelling(first.fence, NEW, end=parked(0, "event:approved", due_at=1))) == ["done"]
    await in_step(engine, run_id, NEW)
    await engine.wake()
    (again,) = await engine.claim(session)
    assert again.labels == NEW


@pytest.mark.parametrize("labels", [{f"l{n}": "x" for n in range(21)}, {"a b": "x"}, {"a": "\n"}, {"a": "x" * 257}])
async def test_labels_that_no_run_can_have_are_refused_with_their_unit(engine: Engine, labels: dict[str, str]) -> None:
    run_id = await engine.queued_run(labels=OLD)
    fence = (await engine.claim_one()).fence
    assert await engine.results(labelling(fence, labels)) == ["refused"]
    await in_step(engine, run_id, OLD)
    assert await engine.journal(run_id) == []


async def test_a_unit_that_is_not_written_changes_no_label_and_stops_no_other(engine: Engine) -> None:
    ids = [await engine.queued_run(labels=OLD) for _ in range(4)]
    session = await engine.session()
    fences = {run.fence.run_id: run.fence for run in await engine.claim(session)}
    fenced, late, right, plain = (fences[run_id] for run_id in ids)
    fenced = Fence(fenced.run_id, fenced.epoch, "another")
    ended = Unit(plain, 0, [], [], End(Move.RELEASE))
    units = (labelling(fenced, NEW), labelling(late, NEW, 7), labelling(right, NEW), ended)
    assert await engine.results(*units) == ["fenced", "conflict", "done", "done"]
    for run_id, labels in zip(ids, (OLD, OLD, NEW, OLD), strict=True):
        await in_step(engine, run_id, labels)
    assert await engine.state(ids[-1]) is State.QUEUED


async def test_a_commit_that_fails_leaves_neither_the_entry_nor_the_labels(engine: Engine) -> None:
    run_id = await engine.queued_run(labels=OLD)
    fence = (await engine.claim_one()).fence
    await engine.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.value = 'done' THEN RAISE data_exception; END IF; RETURN NEW; END $$"
    )
    await engine.execute("CREATE TRIGGER refuses BEFORE INSERT ON aiki.labels FOR EACH ROW EXECUTE FUNCTION refuse()")
    assert await engine.results(labelling(fence, NEW)) == ["refused"]
    await in_step(engine, run_id, OLD)
    assert await engine.journal(run_id) == []
