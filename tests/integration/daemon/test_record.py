"""P2, P4 and P7: what is recorded stands, once, and only its claim can record it."""

import asyncio
import random

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import Overloaded
from aiki.core.states import Move, State
from aiki.wire.limits import ENTRIES_HARD
from aiki.wire.messages import Attempt, End, Entry, Fence, Record, Recorded, RecordReply, Unit
from aikid.engine.record import ROUNDS, record
from tests.integration.daemon.engine import VALUE, Engine, completed, entry, locked, new_id, unit

pytestmark = pytest.mark.anyio


async def test_entries_and_the_end_are_one_unit(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 0, entry("a"), entry("b"), end=completed())) == ["done"]
    status = await engine.status(run.fence.run_id)
    assert (status.state, status.tasks, bytes(status.output)) == (State.COMPLETED, 2, b'"done"')
    assert status.finished_at is not None
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "complete"]


async def test_what_changed_is_what_postgres_says_of_it(engine: Engine) -> None:
    due = 4_000_000_000_000_000
    ends = [completed(), End(Move.RELEASE), End(Move.SLEEP, due_at=due), End(Move.DIVERGE, why="a diff"), None]
    for _ in ends:
        await engine.queued_run()
    runs = await engine.claim(await engine.session(), limit=len(ends))
    await engine.record(*(unit(run.fence, 0, entry("a"), entry("b")) for run in runs))
    last = [
        unit(run.fence, 2, entry("c"), Entry("timer:1", True, VALUE, 1), end=end)
        for run, end in zip(runs, ends, strict=True)
    ]
    watched = {(engine.namespace, run.fence.run_id) for run in runs[1:]}
    calls = [(engine.namespace, Record(last))]
    changes = (await record(engine.pool, calls, watched, room=engine.room, routes=engine.routes)).changes
    assert [(one.unit, one.state, one.tasks) for one in changes.ended[engine.namespace]] == [
        (last[0], State.COMPLETED, None),
        (last[1], State.QUEUED, 3),
        (last[2], State.SLEEPING, 3),
        (last[3], State.BLOCKED, 3),
    ]
    assert dict(changes.queued) == {(engine.namespace, runs[1].workflow, runs[1].version): 1}
    assert changes.due_seconds is not None
    assert [one.started_at for one in changes.ended[engine.namespace]] == [run.started_at for run in runs[:4]]


async def test_an_entry_says_when_its_call_was_asked(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    asked = [entry("a"), Entry("timer:1", True, VALUE, 1, turns=3, asked=1), Entry("task:b:0:0", True, VALUE, 1)]
    assert await engine.results(unit(run.fence, 0, *asked)) == ["done"]
    assert await engine.results(unit(run.fence, 0, asked[0], replace(asked[1], asked=0))) == ["conflict"]
    assert await engine.results(unit(run.fence, 2, replace(asked[2], asked=2))) == ["conflict"]
    assert await engine.results(unit(run.fence, 3, end=End(Move.RELEASE))) == ["done"]
    assert (await engine.claim_one()).entries == asked


async def test_a_repeated_unit_is_done_and_changes_nothing(engine: Engine, rival: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    first = unit(run.fence, 0, entry("a"))
    last = unit(run.fence, 1, entry("b"), end=completed())
    assert await engine.results(first) == await rival.results(first) == ["done"]
    assert await engine.results(last) == await rival.results(last) == ["done"]
    assert len(await engine.journal(run.fence.run_id)) == 2
    assert await engine.history(run.fence.run_id) == ["enqueued", "claim", "complete"]


async def test_a_unit_and_its_repeat_in_one_batch_are_both_done(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    one = unit(run.fence, 0, entry("a"), end=completed())
    assert await engine.results(one, one) == ["done", "done"]


async def test_repeats_in_one_batch_are_written_once_and_the_next_unit_after_them(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    first, following = unit(run.fence, 0, entry("a")), unit(run.fence, 1, entry("b"))
    late = [unit(run.fence, 0, entry("a")) for _ in range(10)]
    assert await engine.results(first, *late, following, *late) == ["done"] * 22
    assert len(await engine.journal(run.fence.run_id)) == 2


async def test_units_of_one_run_beyond_what_a_batch_takes_are_left_for_another(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    units = [unit(run.fence, base, entry(str(base))) for base in range(ROUNDS + 2)]
    calls = [(engine.namespace, Record([unit])) for unit in units]
    done = await record(engine.pool, calls, (), room=engine.room, routes=engine.routes)
    written = [reply.units for reply in done.replies if isinstance(reply, RecordReply)]
    assert written == [[Recorded("done")]] * ROUNDS
    assert [type(reply) for reply in done.replies[ROUNDS:]] == [Overloaded, Overloaded]
    assert await engine.results(*units[ROUNDS:]) == ["done", "done"]


@pytest.mark.parametrize("end", [completed(), None])
async def test_a_unit_that_two_daemons_write_at_once_is_written_once(
    engine: Engine, rival: Engine, end: End | None
) -> None:
    for _ in range(20):
        await engine.queued_run()
    units = [unit(run.fence, 0, entry("a"), end=end) for run in await engine.claim(await engine.session(), limit=20)]
    for results in await asyncio.gather(*((engine, rival)[n % 2].results(*units) for n in range(6))):
        assert set(results) == {"done"}
    assert (await engine.execute("SELECT count(*) FROM aiki.journal"))[0][0] == 20


async def test_a_write_after_the_statements_snapshot_is_met_by_a_repeat(engine: Engine, rival: Engine) -> None:
    """The rival's statement waits for the row; what was written meanwhile its snapshot does not hold."""
    await engine.queued_run()
    run = await engine.claim_one()
    fence, sql = run.fence, "SELECT FROM aiki.runs WHERE id = %s FOR UPDATE"
    async with locked(engine.database, sql, fence.run_id) as holder:
        waiting = asyncio.create_task(rival.results(unit(fence, 0, entry("a"))))
        await engine.until_waiting()
        await holder.execute(
            "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value) VALUES (%s, 1, true, 1, 'task:x:0:0', '1')",
            (fence.run_id,),
        )
        await holder.commit()
    assert await waiting == ["conflict"]
    assert [key for _, key, _ in await engine.journal(fence.run_id)] == ["task:x:0:0"]


async def test_another_outcome_at_the_same_place_is_a_conflict(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    await engine.record(unit(run.fence, 0, entry("a")))
    other = [entry("b"), entry("a", Raw(b"2")), entry("a", Raw(b'"value" '))]
    for one in other:
        assert await engine.results(unit(run.fence, 0, one)) == ["conflict"]
        assert await engine.results(unit(run.fence, 0, one, end=completed())) == ["conflict"]
    assert await engine.results(unit(run.fence, 5, entry("c"))) == ["conflict"]
    assert len(await engine.journal(run.fence.run_id)) == 1
    assert await engine.state(run.fence.run_id) is State.RUNNING


OUTPUT, ERROR = Raw(b'"done"'), Raw(b'{"type":"E","message":"m"}')
ENDS = {
    Move.COMPLETE: End(Move.COMPLETE, OUTPUT),
    Move.FAIL: End(Move.FAIL, error=ERROR),
    Move.SLEEP: End(Move.SLEEP, due_at=4_000_000_000_000_000),
    Move.DIVERGE: End(Move.DIVERGE, why="nondeterminism: a diff"),
    Move.RELEASE: End(Move.RELEASE),
}
OTHERS = [
    *ENDS.values(),
    End(Move.COMPLETE, Raw(b'"done" ')),
    End(Move.COMPLETE),
    End(Move.FAIL, error=OUTPUT),
    End(Move.SLEEP, due_at=4_000_000_000_000_001),
    End(Move.DIVERGE, why="crash_loop"),
    End(Move.RELEASE, why="its reply was lost"),
]


@pytest.mark.parametrize("event", ENDS)
async def test_a_repeat_that_ends_otherwise_is_a_conflict(engine: Engine, rival: Engine, event: Move) -> None:
    await engine.queued_run()
    fence = (await engine.claim_one()).fence
    first = unit(fence, 0, entry("a"), end=ENDS[event])
    assert await engine.results(first) == ["done"]
    before = await engine.execute("SELECT * FROM aiki.runs")
    for other in OTHERS:
        same = other == ENDS[event]
        assert await rival.results(unit(fence, 0, entry("a"), end=other)) == ["done" if same else "conflict"], other
    for entries in ([entry("b")], [entry("a"), entry("b")]):
        assert await rival.results(unit(fence, 0, *entries, end=ENDS[event])) == ["conflict"]
    assert await engine.execute("SELECT * FROM aiki.runs") == before


async def test_a_true_repeat_is_done_also_when_the_run_has_been_woken(engine: Engine) -> None:
    await engine.queued_run()
    first = unit((await engine.claim_one()).fence, 0, entry("a"), end=End(Move.SLEEP, due_at=1))
    assert await engine.results(first) == ["done"]
    await engine.wake()
    assert await engine.results(first) == ["done"]
    await engine.claim_one()
    assert await engine.results(first) == ["fenced"]


@pytest.mark.parametrize(
    "other",
    [Attempt("task:b:0:0", 2, ERROR, 77), Attempt("task:b:0:0", 1, OUTPUT, 77), Attempt("task:b:0:0", 1, ERROR)],
)
async def test_a_repeat_with_another_try_is_a_conflict(engine: Engine, other: Attempt) -> None:
    await engine.queued_run()
    fence = (await engine.claim_one()).fence
    tried = Attempt("task:b:0:0", 1, ERROR, 77)
    assert await engine.results(unit(fence, 0, entry("a"), attempts=[tried])) == ["done"]
    assert await engine.results(unit(fence, 0, entry("a"), attempts=[tried])) == ["done"]
    assert await engine.results(unit(fence, 0, entry("a"), attempts=[Attempt("task:b:0:0", 1)])) == ["done"]
    assert await engine.results(unit(fence, 0, entry("a"), attempts=[other])) == ["conflict"]


async def test_repeats_of_many_runs_are_told_apart_at_once(engine: Engine) -> None:
    for _ in range(30):
        await engine.queued_run()
    runs = await engine.claim(await engine.session(), limit=30)
    units = [unit(run.fence, 0, entry("a"), entry(f"b{n}"), end=completed()) for n, run in enumerate(runs)]
    assert set(await engine.results(*units)) == {"done"}
    for n in range(0, 30, 3):
        units[n] = unit(runs[n].fence, 0, entry("a"), entry("other"), end=completed())
    assert await engine.results(*units) == ["done" if n % 3 else "conflict" for n in range(30)]


async def test_a_stale_claim_cannot_record(engine: Engine) -> None:
    await engine.queued_run()
    session = await engine.session()
    old = await engine.claim_one(session)
    await engine.expire(session)
    await engine.rescue()
    zombie = unit(old.fence, 0, entry("a"), end=completed())
    assert await engine.results(zombie) == ["fenced"]
    new = await engine.claim_one()
    assert await engine.results(zombie) == ["fenced"]
    assert await engine.results(unit(new.fence, 0, entry("b"), end=completed())) == ["done"]
    assert await engine.results(zombie) == ["fenced"]
    assert [key for _, key, _ in await engine.journal(old.fence.run_id)] == ["task:b:0:0"]


@pytest.mark.parametrize("wrong", ["epoch", "claim_id", "run_id", "namespace"])
async def test_a_forged_fence_writes_nothing(engine: Engine, wrong: str) -> None:
    await engine.queued_run()
    await engine.queued_run()
    session = await engine.session()
    run, other = await engine.claim(session, limit=2)
    forged = {
        "epoch": Fence(run.fence.run_id, 2, run.fence.claim_id),
        "claim_id": Fence(run.fence.run_id, 1, "guess"),
        "run_id": Fence("00000000-0000-7000-8000-000000000000", 1, run.fence.claim_id),
        "namespace": run.fence,
    }[wrong]
    if wrong == "namespace":
        engine.namespace = "elsewhere"
    results = await engine.results(unit(forged, 0, entry("a"), end=completed()), unit(other.fence, 0, entry("a")))
    assert results[0] == "fenced"
    assert await engine.journal(run.fence.run_id) == []


async def test_a_zombie_that_meets_the_rescuer_is_written_before_or_fenced_after(engine: Engine, rival: Engine) -> None:
    """The rescuer holds the run's row when the record comes: the record waits, and then its fence fails."""
    await engine.queued_run()
    session = await engine.session()
    run = await engine.claim_one(session)
    sql = "UPDATE aiki.runs SET state = 'queued', claim_id = NULL, history_seq = history_seq + 1 WHERE id = %s"
    async with locked(engine.database, sql, run.fence.run_id) as rescuer:
        zombie = asyncio.create_task(rival.results(unit(run.fence, 0, entry("a"), end=completed())))
        await engine.until_waiting()
        await rescuer.commit()
    assert await zombie == ["fenced"]
    assert await engine.journal(run.fence.run_id) == []
    assert await engine.state(run.fence.run_id) is State.QUEUED


async def test_a_bad_unit_is_refused_alone(engine: Engine) -> None:
    for _ in range(7):
        await engine.queued_run()
    runs = await engine.claim(await engine.session(), limit=7)
    units = [unit(run.fence, 0, entry("a")) for run in runs]
    units[2].entries[0].key = "task:nul:\0"
    # Only Postgres refuses this one.
    await engine.execute("ALTER TABLE aiki.journal ADD CHECK (key <> 'task:unforeseen')")
    units[4].entries[0].key = "task:unforeseen"
    assert await engine.results(*units) == ["done", "done", "refused", "done", "refused", "done", "done"]


@pytest.mark.parametrize("event", [Move.RESCUE, Move.CRASH_LOOP, Move.BACK_OFF, Move.CLAIM, Move.DUE])
async def test_a_claim_cannot_end_by_what_is_not_its_own(engine: Engine, event: Move) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    assert await engine.results(unit(run.fence, 0, end=End(event, due_at=1))) == ["refused"]
    assert await engine.state(run.fence.run_id) is State.RUNNING


async def test_a_journal_has_a_hard_limit(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    (refused,) = await engine.record(unit(run.fence, ENTRIES_HARD, entry("a")))
    assert (refused.result, "50,000" in (refused.reason or "")) == ("refused", True)


async def test_attempts_stand_beside_the_journal(engine: Engine) -> None:
    await engine.queued_run()
    run = await engine.claim_one()
    start = Attempt("task:once:0:0", 1)
    failure = Attempt("task:once:0:0", 1, Raw(b'{"type":"E","message":"m"}'), 77)
    assert await engine.results(unit(run.fence, attempts=[start])) == ["done"]
    assert await engine.results(unit(run.fence, attempts=[start])) == ["done"]
    assert await engine.results(unit(run.fence, attempts=[failure])) == ["done"]
    # A repeat that comes late must not take the failure back.
    assert await engine.results(unit(run.fence, attempts=[start], end=End(Move.RELEASE))) == ["done"]
    again = await engine.claim_one()
    # What went wrong is for the run's story alone; that it did, a claim must know.
    assert [(a.attempt, bytes(a.error), a.next_at) for a in again.attempts] == [(1, b"{}", 77)]
    assert await engine.execute("SELECT error FROM aiki.attempts") == [(bytes(failure.error),)]
    assert (again.entries, again.length) == ([], 0)


async def test_a_key_that_fits_no_index_is_refused_before_postgres_sees_it(engine: Engine) -> None:
    """A random one, since Postgres compresses: it would say what it also says when it runs out of transaction ids."""
    await engine.queued_run()
    run = await engine.claim_one()
    text = "".join(chr(0x4E00 + byte * 80 + n % 80) for n, byte in enumerate(random.Random(1).randbytes(1000)))
    for size, result in ((1000, "refused"), (600, "done")):
        assert await engine.results(unit(run.fence, attempts=[Attempt(f"task:{text[:size]}:0", 1)])) == [result]


async def test_batches_that_lock_the_same_runs_in_opposite_orders_both_end(engine: Engine, rival: Engine) -> None:
    for _ in range(60):
        await engine.queued_run()
    runs = await engine.claim(await engine.session(), limit=60)
    for base in range(4):
        units = [unit(run.fence, base, entry(f"t{base}")) for run in runs]
        both = await asyncio.gather(engine.results(*units), rival.results(*reversed(units)))
        assert {result for results in both for result in results} == {"done"}


LONG = "\U0001f600" * 513
"""Would not fit a page of the index of attempts."""


@pytest.mark.parametrize(
    "bad",
    [
        Entry("k", True, VALUE, 1, 1 << 31),
        Entry("k", True, VALUE, 1, -1),
        Entry("k", True, VALUE, 1 << 60),
        Entry(2 * LONG, True, VALUE, 1),
        Entry("nul\0", True, VALUE, 1),
        Entry("k", True, Raw(b'"' + b"x" * 3000 + b'\xff"'), 1),
        Attempt(LONG, 1),
        Attempt("k", 1 << 31),
        Attempt("k", 1, next_at=1 << 62),
        Attempt("k", 1, next_at=1 << 70),
        Attempt("k", 1, Raw(b"1e999")),
        End(Move.COMPLETE, output=Raw(b"1" * 5000)),
        End(Move.COMPLETE, output=Raw(b'"\xff"')),
        End(Move.SLEEP, due_at=1 << 60),
    ],
)
async def test_what_could_not_be_stored_or_read_is_refused_without_asking_postgres(
    engine: Engine, bad: Entry | Attempt | End
) -> None:
    """A refusal by Postgres is found by halving the batch, a statement for each half: a thousand would hold a lane."""
    fence = Fence(new_id(), 1, "claim")
    entries = [bad] if isinstance(bad, Entry) else []
    attempts = [bad] if isinstance(bad, Attempt) else []
    units = [Unit(fence, 0, entries, attempts, bad if isinstance(bad, End) else None)] * 2
    assert await engine.results(*units) == ["refused"] * 2
