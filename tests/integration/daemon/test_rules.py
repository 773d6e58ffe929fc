"""What Postgres decides is what the rules say, over tables of all that can meet: states, moves, fences, crashes, keys.

Each table is carried out by one statement or a few, on a run for each of its cases.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, product
from typing import Any, get_args

import psycopg
import pytest
from msgspec import Raw

from aiki.core.states import TRANSITIONS, Move, State
from aiki.rules import arriving, claiming, controlling, crashing, enqueueing, recording
from aiki.rules.arriving import Fired, Known
from aiki.rules.claiming import Queued
from aiki.rules.controlling import Obeyed
from aiki.rules.judging import ENDS, PARKING, judge
from aiki.rules.standing import PAUSE, Standing, woken
from aiki.wire.limits import UNREAD_EVENTS
from aiki.wire.messages import (
    NONE,
    NULL,
    UNDER_WAY,
    Attempt,
    Cancel,
    Claim,
    End,
    Entry,
    Fence,
    Pause,
    Resume,
    Sent,
    TimerAsk,
    Unit,
    Wake,
)
from aiki.wire.messages.options import OnConflict
from aikid.engine import control
from aikid.store import claims, rescue
from aikid.store.rescue import Lost
from tests.integration.daemon.engine import VERSION, Engine, entry, event, new_run, op
from tests.integration.daemon.standings import Case, found, next_id, put

pytestmark = pytest.mark.anyio

CLAIM = "claim-1"
DUE = 4_000_000_000_000_000
OUTPUT, ERROR = Raw(b'"done"'), Raw(b'{"type":"E","message":"m"}')
FENCE, *OTHERS = ((1, CLAIM), (2, CLAIM), (1, "claim-2"))
END = {
    move: End(
        move,
        OUTPUT,
        due_at=DUE if move in PARKING else None,
        why="because" if move is Move.DIVERGE else None,
        input=Raw(b"{}") if move is Move.CONTINUE else NONE,
        anew=move is Move.AGAIN,
    )
    for move in sorted(ENDS)
}
OTHER_ENDS = (
    End(Move.COMPLETE, Raw(b'"done" ')),
    End(Move.COMPLETE, OUTPUT, ERROR),
    End(Move.DIVERGE, OUTPUT, why="otherwise"),
    End(Move.SLEEP, OUTPUT, due_at=DUE + 1),
    End(Move.CONTINUE, OUTPUT, input=Raw(b"[]")),
)
JOURNAL = [entry("a"), entry("b")]
LONGER = [*JOURNAL, entry("c"), entry("d")]


def units() -> Iterator[tuple[int, list[Entry], End | None]]:
    """Yield what a worker may say of a run with JOURNAL: what follows, what stands there, and what contradicts it."""
    for base, length, end in product(range(4), range(3), (None, *END.values())):
        yield base, LONGER[base : base + length], end
    for end in (None, END[Move.COMPLETE]):
        yield 1, [entry("b", Raw(b"2"))], end
        yield 0, [entry("a", at=2), entry("b")], end
        yield 0, [Entry("task:a:0:0", True, JOURNAL[0].value, 1_000_000, turns=3)], end
    for end in OTHER_ENDS:
        yield 2, [], end


def record_cases() -> Iterator[tuple[Case, Unit]]:
    crashes = cycle(range(7))
    for wanted, (base, entries, end) in product((None, PAUSE), units()):
        case = Case(Standing(State.RUNNING, 1, CLAIM, crash_count=next(crashes), wanted=wanted), None, list(JOURNAL))
        yield case, Unit(Fence(case.id, *FENCE), base, entries, [], end)
    for state, (base, entries, end) in product(State, units()):
        before = [None] if state is State.RUNNING else [None, end, END[Move.COMPLETE]]
        for (epoch, claim_id), last in (
            *((FENCE, last) for last in before),
            *((other, before[-1]) for other in OTHERS),
        ):
            case = Case(Standing(state, 1, CLAIM, crash_count=next(crashes)), last, list(JOURNAL))
            yield case, Unit(Fence(case.id, epoch, claim_id), base, entries, [], end)


async def test_a_record_is_what_the_rule_says(engine: Engine) -> None:
    cases = list(record_cases())
    await put(engine, [case for case, _ in cases])
    recorded = await engine.record(*(unit for _, unit in cases))
    for (case, unit), result, now in zip(cases, recorded, await found(engine, [c for c, _ in cases]), strict=True):
        expected, after = recording.record(case.standing, unit, case.journal, {})
        assert (result, now.standing) == (expected, after), (case, unit)
        moved = after.state is not case.standing.state
        assert now.moves == moved + (moved and after.state is State.PAUSED), (case, unit)
    assert {one.result for one in recorded} == {"done", "fenced", "conflict"}


SAID = Raw(b"[5]"), Raw(b'[{},0.5,"half"]')
TRIES = (
    Attempt("k", 1),
    Attempt("k", 1, ERROR, 77),
    Attempt("k", 1, ERROR),
    Attempt("k", 1, OUTPUT, 77),
    Attempt("k", 2, ERROR, 77),
    Attempt("k", 1, UNDER_WAY, None, SAID[0], 5),
    Attempt("k", 1, UNDER_WAY, None, SAID[1], 6),
    Attempt("k", 1, NULL, None, SAID[1], 6),
    Attempt("k", 1, ERROR, 77, SAID[0], 7),
)


async def test_a_try_on_record_is_what_the_rule_says(engine: Engine) -> None:
    cases = []
    for known, said, base in product((None, *TRIES), TRIES, (2, 1)):
        case = Case(Standing(State.RUNNING, 1, CLAIM), journal=list(JOURNAL), tries=[known] if known else [])
        cases.append((case, Unit(Fence(case.id, 1, CLAIM), base, [LONGER[base]], [said])))
    await put(engine, [case for case, _ in cases])
    recorded = await engine.record(*(unit for _, unit in cases))
    rows = await engine.execute(
        "SELECT run_id::text, key, attempt, coalesce(error, 'null'), next_at_us, coalesce(details, 'null'),"
        " details_at_us FROM aiki.attempts"
    )
    for (case, unit), result in zip(cases, recorded, strict=True):
        tries = {(one.key, one.attempt): one for one in case.tries}
        expected, after = recording.record(case.standing, unit, case.journal, tries)
        assert result == expected, (case, unit)
        if after is not case.standing:
            tries |= {n: recording.tried(tries.get(n), one) for n, one in recording.tries_of(unit).items()}
        stored = {
            (key, n): Attempt(key, n, Raw(error), at, Raw(details), said_at)
            for i, key, n, error, at, details, said_at in rows
            if i == case.id
        }
        assert stored == tries, (case, unit)


ARRIVED = """
INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, send_id, key, digest, value)
SELECT r.id, %s, r.origin_id, %s, 'event', 'approved', %s, %s, %s, '1' FROM aiki.runs r WHERE r.id = %s
"""
WAITS: tuple[frozenset[str], ...] = (frozenset(), frozenset({"event:approved"}), frozenset({"event:other", "op"}))


async def arrive(engine: Engine, rows: Sequence[tuple[object, ...]]) -> None:
    """Put arrivals: number, time, send, key, digest, run."""
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        await cursor.executemany(ARRIVED.encode(), rows)


async def test_an_event_does_what_the_rule_says(engine: Engine) -> None:
    cases: list[tuple[Case, Known, Sent]] = []
    known_ones = (None, ("id", "0"), ("key", "0"), ("key", "1"))
    for state, waits, unread, before in product(State, WAITS, (0, UNREAD_EVENTS - 1, UNREAD_EVENTS), known_ones):
        case = Case(Standing(state, 1, CLAIM, news=3, unread=unread, waits=waits), End(Move.WAIT))
        sent = event(case.id, key="k", digest="0" * 32)
        match before:
            case ("id", _):
                known = Known({sent.id})
            case ("key", digit):
                known = Known(digests={(sent.name, "k"): digit * 32})
            case _:
                known = Known()
        cases.append((case, known, sent))
    await put(engine, [case for case, _, _ in cases])
    await arrive(
        engine,
        [(1, 1, send_id, None, None, case.id) for case, known, _ in cases for send_id in known.ids]
        + [(1, 1, None, "k", digest, case.id) for case, known, _ in cases for digest in known.digests.values()],
    )
    outcomes = await engine.send(*(sent for _, _, sent in cases))
    now = await found(engine, [case for case, _, _ in cases])
    for (case, known, sent), outcome, one in zip(cases, outcomes, now, strict=True):
        expected = arriving.send(case.standing, known, sent)
        assert (outcome.result, outcome.state) == (expected.result, expected.state), case
        after = arriving.reached(case.standing, ["event:approved"]) if expected == arriving.TAKEN else case.standing
        assert one.standing == after, case
        assert one.moves == (after.state is not case.standing.state), case
    assert {one.result for one in outcomes} == {"taken", "repeated", "conflict", "ended", "full"}


AT = {1: 100, 2: 200}
"""The times of what has reached a run, by number."""


def meetings() -> Iterator[tuple[Case, Unit, Fired | None]]:
    """Yield what a worker may say of a run that two events have reached: parks, timers, sends."""
    ends = (None, *(End(move, due_at=DUE, seen=seen, waits=["event:approved"]) for move, seen in product(MOVES, SEEN)))
    for base, wanted, sends, end in product((2, 1), (None, "pause"), (False, True), ends):
        case = Case(Standing(State.RUNNING, 1, CLAIM, news=2, unread=2, wanted=wanted), journal=list(JOURNAL))
        ops = [op(next_id())] if sends else []
        yield case, Unit(Fence(case.id, 1, CLAIM), base, [LONGER[base]], [], end, ops), None
    for base, length, seen, due in product((2, 1), (0, 1), (0, 1, 2), (50, 100, 150, 200, DUE)):
        case = Case(Standing(State.RUNNING, 1, CLAIM, news=2, unread=2), journal=list(JOURNAL))
        timer = TimerAsk(entry("timer"), due, seen)
        fired = arriving.fires(due=due, seen=seen, news=2, first_unseen_at=AT.get(seen + 1), clock=DUE - 1)
        yield case, Unit(Fence(case.id, 1, CLAIM), base, LONGER[base : base + length], [], None, [], timer), fired


MOVES, SEEN = (Move.WAIT, Move.SLEEP, Move.RELEASE, Move.COMPLETE), (None, 0, 2, 3)


async def test_a_unit_that_meets_arrivals_is_what_the_rule_says(engine: Engine) -> None:
    cases = list(meetings())
    await put(engine, [case for case, _, _ in cases])
    await arrive(engine, [(n, at, None, None, None, case.id) for case, _, _ in cases for n, at in AT.items()])
    recorded = await engine.record(*(unit for _, unit, _ in cases))
    now = await found(engine, [case for case, _, _ in cases])
    said = set()
    for (case, unit, fired), result, one in zip(cases, recorded, now, strict=True):
        coming = ["op"] * len(unit.ops)
        expected, after = recording.record(case.standing, unit, case.journal, {}, fired=fired, coming=coming)
        assert (result, one.standing) == (expected, after), (case, unit)
        said.add((result.result, result.timer, result.parked))
    assert {("done", None, True), ("done", None, False), ("conflict", None, True)} <= said
    assert {timer for _, timer, _ in said} == {None, "done", "early", "news"}


async def test_a_lost_lease_does_what_the_rule_says(engine: Engine) -> None:
    lost, left = await engine.session(), await engine.session()
    await engine.execute("UPDATE aiki.sessions SET closed_at = now(), expires_at = now() - interval '1 s'")
    await engine.execute("UPDATE aiki.sessions SET expires_at = now() + interval '1 s' WHERE id = %s", left)
    cases = [
        Case(
            Standing(State.RUNNING, 1, CLAIM, crash_count=crashes, crash_length=crash_length, wanted=wanted),
            journal=LONGER[:length],
            session=session,
        )
        for crashes, crash_length, length, session, wanted in product(
            range(7), range(3), range(3), (lost, left), (None, PAUSE)
        )
    ]
    others = [Case(Standing(state, 1, CLAIM, crash_count=1)) for state in State if state is not State.RUNNING]
    await put(engine, [*cases, *others])
    assert await engine.pool.run(lambda c: rescue.fence(c, Lost.OF_CLOSED)) == len(cases)
    taken = {one.id: one for one in await engine.pool.run(lambda c: rescue.take(c, Lost.OF_CLOSED))}
    moves = set()
    for case, now in zip(cases, await found(engine, cases), strict=True):
        loss, after = crashing.lose(case.standing, is_left=case.session == left, now=0)
        one = taken.pop(case.id)
        moves.add(loss.move)
        assert one.move is loss.move, case
        assert one.due_seconds == (None if after.due_at is None else after.due_at / 1e6), case
        why = None if after.state is State.PAUSED else loss.why
        assert (now.standing, now.why) == (replace(after, due_at=now.standing.due_at), why), case
        assert (now.standing.due_at is None) == (after.due_at is None)
    assert moves == {Move.RELEASE, Move.RESCUE, Move.BACK_OFF, Move.CRASH_LOOP}
    assert not taken
    assert [now.standing for now in await found(engine, others)] == [case.standing for case in others]


async def test_a_claim_takes_what_the_rule_says(engine: Engine) -> None:
    for seed in range(60):
        engine.namespace = f"n-{seed}"
        await compare_a_claim(engine, random.Random(seed))


async def compare_a_claim(engine: Engine, draw: random.Random) -> None:
    namespace = engine.namespace
    routes = [(f"flow-{n}", VERSION) for n in range(draw.choice([1, 1, 3]))]
    session = await engine.session()
    cases = []
    for place in draw.sample(range(100), draw.randrange(12)):
        crashes = draw.choice([0, 0, 1, 2, 3])
        queued = Queued(next_id(), draw.random() < 0.5, draw.randrange(-1, 2), place, crashes, draw.choice([2, 2_000]))
        standing = Standing(State.QUEUED, 3, None, crash_count=crashes, due_at=DUE)
        cases.append(Case(standing, queued=queued, namespace=namespace, workflow=draw.choice(routes)[0]))
    others = [
        Case(Standing(state, 1, CLAIM), namespace=namespace, workflow="flow-0")
        for state in State
        if state is not State.QUEUED
    ]
    holds_suspect = draw.random() < 0.3
    if holds_suspect:
        suspect = Standing(State.RUNNING, 1, CLAIM, crash_count=2)
        others.append(Case(suspect, session=session, namespace=namespace))
    others.append(Case(Standing(State.QUEUED), namespace=namespace, workflow="of-nobody"))
    await put(engine, [*cases, *others])
    limit, limit_bytes = draw.randrange(1, 8), draw.choice([0, 3_000, 5_000, 1_000_000])
    request = Claim(session, CLAIM, routes, limit)
    taken = await engine.pool.run(lambda c: claims.claim(c, engine.namespace, request, limit_bytes=limit_bytes))
    runs = {case.id: case.queued for case in cases}
    picked = [runs[row.id] for row in taken.runs]
    # Which of several suspects comes does not matter.
    first = picked[:1] if picked and crashing.is_suspect(picked[0].crash_count) else []
    among = [one for one in runs.values() if not first or one in first or not crashing.is_suspect(one.crash_count)]
    expected_runs = claiming.pick(among, limit=limit, limit_bytes=limit_bytes, holds_suspect=holds_suspect)
    assert (picked, taken.more) == expected_runs
    now = await found(engine, [*cases, *others])
    for case, one in zip([*cases, *others], now, strict=True):
        expected = claiming.claimed(case.standing, CLAIM) if case.queued in picked else case.standing
        assert one.standing == expected, case


async def test_what_a_reply_cannot_carry_ends_as_the_rule_says(engine: Engine) -> None:
    for state, oversize, wanted in product(State, (False, True), (None, PAUSE)):
        case = Case(Standing(state, 1, CLAIM, crash_count=4, wanted=wanted if state is State.RUNNING else None))
        await put(engine, [case])
        end = End(Move.OVERSIZE, why="too large") if oversize else End(Move.RELEASE, why="the claim's reply was full")
        if oversize:
            await engine.pool.run(
                lambda c, i=case.id: claims.block(c, engine.namespace, i, CLAIM, why="too large"),  # type: ignore[misc]
            )
        else:
            await engine.pool.run(
                lambda c, i=case.id: claims.release(c, engine.namespace, [i], CLAIM),  # type: ignore[misc]
            )
        (now,) = await found(engine, [case])
        assert now.standing == (judge(case.standing, end) if state is State.RUNNING else case.standing), case


async def test_a_run_that_is_due_stands_as_the_rule_says(engine: Engine) -> None:
    cases = [Case(Standing(state, 1, CLAIM, crash_count=n), End(Move.SLEEP, due_at=n)) for n, state in enumerate(State)]
    await put(engine, cases)
    await engine.wake()
    for case, now in zip(cases, await found(engine, cases), strict=True):
        legal = (case.standing.state, Move.DUE) in TRANSITIONS
        assert now.standing == (woken(case.standing) if legal else case.standing), case


def order_cases() -> Iterator[Case]:
    for state, epoch, due_at in product(State, (0, 1), (None, 1, DUE)):
        for wanted in (None, PAUSE) if state is State.RUNNING else (None,):
            last = None if epoch == 0 else End(Move.SLEEP, due_at=due_at)
            claim_id = CLAIM if epoch else None
            yield Case(Standing(state, epoch, claim_id, crash_count=1, due_at=due_at, wanted=wanted), last)


async def test_an_order_is_what_the_rule_says(engine: Engine) -> None:
    pause: Any = (control.pause, Pause, controlling.pause)
    resume: Any = (control.resume, Resume, partial(controlling.resume, now=DUE - 1))
    for order, request, rule in (pause, resume):
        cases = list(order_cases())
        await put(engine, cases)
        done = await order(engine.pool, engine.namespace, request([case.id for case in cases], "alice"))
        (reply,) = done.replies
        for case, ordered, now in zip(cases, reply.outcomes, await found(engine, cases), strict=True):
            obeyed, standing = rule(case.standing)
            assert (ordered.result, ordered.state) == (obeyed.value, standing.state), case
            assert now.standing == standing, case
            moved = standing.state is not case.standing.state
            assert now.moves == moved + (moved and standing.state is State.SCHEDULED), case
            if standing.state is State.QUEUED:
                assert done.changes.queued


@pytest.mark.parametrize("force", [False, True])
async def test_a_cancel_is_what_the_rule_says(engine: Engine, force: bool) -> None:
    cases = list(order_cases())
    await put(engine, cases)
    expected = [controlling.cancel(case.standing, is_told=False, force=force) for case in cases]
    for again, standings in enumerate(
        (
            [standing for _, standing in expected],
            [controlling.cancel(standing, is_told=True, force=force)[1] for _, standing in expected],
        )
    ):  # a second one changes nothing but the story
        request = Cancel([case.id for case in cases], "alice", "wrong address", force)
        (reply,) = (await control.cancel(engine.pool, engine.namespace, request)).replies
        for case, ordered, (obeyed, _), standing, now in zip(
            cases, reply.outcomes, expected, standings, await found(engine, cases), strict=True
        ):
            assert (ordered.result, ordered.state) == (obeyed.value, standing.state), case
            assert now.standing == standing, case
            told = obeyed is Obeyed.REQUESTED
            assert now.moves == (1 + again if told else standing.state is not case.standing.state), case


async def test_a_wake_is_what_the_rule_says(engine: Engine) -> None:
    cases = list(order_cases())
    for words in (frozenset({controlling.WAKE}), frozenset({controlling.WAKE, "op"}), frozenset({"op"})):
        cases += [Case(Standing(State.WAITING, 1, CLAIM, news=3, waits=words), End(Move.WAIT)) for _ in range(2)]
    await put(engine, cases)
    request = Wake([case.id for case in cases], id=next_id(), actor="alice")
    (reply,) = (await control.wake(engine.pool, engine.namespace, request)).replies
    for case, ordered, now in zip(cases, reply.outcomes, await found(engine, cases), strict=True):
        obeyed, standing = controlling.wake(case.standing)
        assert (ordered.result, ordered.state, now.standing) == (obeyed.value, standing.state, standing), case
        assert now.moves == (standing.state is not case.standing.state), case
    assert {one.result for one in reply.outcomes} == {"done", "requested", "refused", "too_late"}


@pytest.mark.parametrize("on_conflict", get_args(OnConflict))
async def test_who_has_a_key_gives_it_up_as_the_rule_says(engine: Engine, on_conflict: OnConflict) -> None:
    cases = [Case(Standing(state, 1, CLAIM)) for state in State]
    await put(engine, cases)
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        rows = [("default", "flow", case.id, case.id) for case in cases]
        await cursor.executemany(
            "INSERT INTO aiki.keys (namespace, workflow, key, run_id) VALUES (%s, %s, %s, %s)", rows
        )
    runs = [new_run(key=case.id, on_conflict=on_conflict, digest="0" * 32) for case in cases]
    answers = await engine.enqueue(*runs)
    for case, run, answer in zip(cases, runs, answers, strict=True):
        assert (answer.created and answer.id == run.id) == enqueueing.frees(run, case.standing.state), case
