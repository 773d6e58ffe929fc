"""What becomes of what has reached a run, and of its children, when it goes on or ends: Postgres does as the rules say.

Each table is carried out by one statement or a few, on a run for each of its cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Final, TypeAlias, get_args

import psycopg
import pytest
from msgspec import Raw

from aiki.core.states import Move, State
from aiki.rules import families, moving
from aiki.rules.moving import Came, Lot
from aiki.rules.standing import Standing
from aiki.wire.messages import End, Entry, Fence, Unit
from aiki.wire.messages.options import ParentClose
from aikid.store import errands, own_retries, retries
from aikid.store.own_retries import GoesOn
from aikid.store.retries import Renewal
from tests.integration.daemon.engine import Engine
from tests.integration.daemon.standings import Case, next_id, put

pytestmark = pytest.mark.anyio

CLAIM: Final = "claim-1"
KINDS: Final = ("event", "op", "child", "cancel", "wake")
TAKEN: Final = (None, (0, 1), (0, 3), (1, 1), (1, 2), (1, 3))
CAME: Final = {number: Came(kind, taken) for number, (kind, taken) in enumerate(product(KINDS, TAKEN), 1)}
"""All that may have reached a run which is in generation 1, by its number."""
KEPT: Final[Sequence[Sequence[tuple[int, int]]]] = ([], [(1, 1)], [(1, 1), (3, 3)], [(1, 3)])
AWAITED: Final = frozenset(number for number in CAME if number % 2)
"""Of the children among these, those that the run waits for."""
Inbox: TypeAlias = dict[int, tuple[int, int] | None]

_CAME: Final = """
INSERT INTO aiki.inbox (run_id, number, origin_id, at_us, kind, name, value, taken_generation, taken_seq)
SELECT r.id, %s, r.origin_id, 1, %s, %s, '1', %s, %s FROM aiki.runs r WHERE r.id = %s
"""


def start_id(run_id: str, number: int) -> str:
    """Return by which start a run knows the child whose end is this arrival."""
    return f"{number:08x}{run_id[8:]}"


async def put_reached(engine: Engine, state: State, count: int) -> list[Case]:
    """Store runs in generation 1 that all of that has reached."""
    left = End(Move.CONTINUE, input=Raw(b"{}"))
    cases = [Case(Standing(state, 1, CLAIM, news=len(CAME)), left) for _ in range(count)]
    await put(engine, cases)
    rows = [
        (number, came.kind, start_id(case.id, number), *(came.taken or (None, None)), case.id)
        for case in cases
        for number, came in CAME.items()
    ]
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        await cursor.executemany(_CAME, rows)
    return cases


async def inboxes(engine: Engine) -> dict[str, Inbox]:
    """Return of each run what is in its inbox, and what has taken it."""
    found: dict[str, Inbox] = {}
    for run_id, number, generation, seq in await engine.execute(
        "SELECT run_id::text, number, taken_generation, taken_seq FROM aiki.inbox"
    ):
        found.setdefault(run_id, {})[number] = None if seq is None else (generation, seq)
    return found


def expected(lots: Mapping[int, Lot]) -> Inbox:
    """Return what the run that goes on has in its inbox by that."""
    taken = {number: CAME[number].taken for number, lot in lots.items() if lot is Lot.STAYS}
    unread = {number: None for number, lot in lots.items() if lot is Lot.UNREAD}
    return taken | unread | {number: (1, 0) for number, lot in lots.items() if lot is Lot.SETTLED}


async def end_claim(engine: Engine, case: Case, end: End) -> None:
    (recorded,) = await engine.record(Unit(Fence(case.id, 1, CLAIM), 0, [], [], end))
    assert recorded.result == "done"


async def test_a_run_that_goes_on_as_new_has_what_the_rule_says(engine: Engine) -> None:
    (case,) = await put_reached(engine, State.RUNNING, 1)
    await end_claim(engine, case, End(Move.CONTINUE, input=Raw(b"{}")))
    lots = {number: moving.onward(came) for number, came in CAME.items()}
    assert (await inboxes(engine))[case.id] == expected(lots)
    assert set(lots.values()) == {Lot.STAYS, Lot.SETTLED}


async def test_a_run_that_begins_anew_has_what_the_rule_says(engine: Engine) -> None:
    (case,) = await put_reached(engine, State.RUNNING, 1)
    await end_claim(engine, case, End(Move.AGAIN, error=Raw(b'{"type":"E","message":"m"}'), due_at=1, anew=True))
    lots = {number: moving.anew(came, generation=1) for number, came in CAME.items()}
    assert (await inboxes(engine))[case.id] == expected(lots)
    assert set(lots.values()) == {Lot.STAYS, Lot.SETTLED, Lot.UNREAD}


async def test_a_run_that_is_tried_again_has_what_the_rule_says(engine: Engine) -> None:
    cases = await put_reached(engine, State.RETRYING, len(KEPT))
    goes_on = [
        GoesOn(case.id, 4, 0, kept, [(start_id(case.id, number), next_id()) for number in AWAITED])
        for case, kept in zip(cases, KEPT, strict=True)
    ]
    await engine.pool.run(lambda c: own_retries.go_on(c, goes_on))
    now = await inboxes(engine)
    for case, kept in zip(cases, KEPT, strict=True):
        lots = {
            number: moving.again(came, generation=1, kept=kept, is_awaited=number in AWAITED)
            for number, came in CAME.items()
        }
        assert now[case.id] == expected(lots), kept
        assert set(lots.values()) >= {Lot.STAYS, Lot.GONE}


@pytest.mark.parametrize("anew", [False, True])
async def test_a_run_in_the_place_of_another_has_what_the_rule_says(engine: Engine, anew: bool) -> None:
    cases = await put_reached(engine, State.FAILED, len(KEPT))
    entry = None if anew else Entry("retry:2", True, Raw(b"1"), 1)
    renewals = [
        Renewal(case.id, next_id(), 1 + anew, entry=entry, length=3, kept=kept)
        for case, kept in zip(cases, KEPT, strict=True)
    ]
    await engine.pool.run(lambda c: retries.write(c, renewals, actor=None))
    now = await inboxes(engine)
    for renewal in renewals:
        lots = {
            number: moving.succeeded(came, generation=1, kept=renewal.kept, anew=anew) for number, came in CAME.items()
        }
        assert now[renewal.new] == expected(lots), renewal.kept
        left = {number: CAME[number].taken for number, lot in lots.items() if lot is Lot.LEFT}
        assert now[renewal.old] == left, renewal.kept


# -- families

_CHILD: Final = """
INSERT INTO aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at)
VALUES (%s, gen_random_uuid(), %s, 0, true, %s, aiki.now())
"""
_ERRAND: Final = "INSERT INTO aiki.errands (run_id, kind, upto) VALUES (%s, %s, 1)"
_TOLD: Final = "UPDATE aiki.runs SET cancel_seq = 1 WHERE id = %s"


async def write(engine: Engine, statement: str, rows: Sequence[Sequence[object]]) -> None:
    async with await psycopg.AsyncConnection.connect(engine.database) as connection, connection.cursor() as cursor:
        await cursor.executemany(statement.encode(), rows)


async def test_what_a_parent_comes_to_ends_those_children_that_the_rule_says(engine: Engine) -> None:
    """Each parent has one in every state, told to end or not, by each way in which it may outlive the parent."""
    parents = [
        (Case(Standing(state, 1, CLAIM)), is_told)
        for state, is_told in product((State.RUNNING, State.COMPLETED, State.FAILED, State.CANCELLED), (False, True))
        if state is not State.RUNNING or is_told
    ]
    children = [
        (parent, Case(Standing(state, 1, CLAIM)), is_told, close)
        for (parent, _), state, is_told, close in product(parents, State, (False, True), get_args(ParentClose))
    ]
    await put(engine, [*(parent for parent, _ in parents), *(child for _, child, _, _ in children)])
    await write(engine, _CHILD, [(parent.id, child.id, close) for parent, child, _, close in children])
    told = [*(one for one, is_told in parents if is_told), *(one for _, one, is_told, _ in children if is_told)]
    await write(engine, _TOLD, [(one.id,) for one in told])
    await write(engine, _ERRAND, [(parent.id, errands.CLOSE) for parent, _ in parents])
    closing = await engine.pool.run(errands.next_to_close)
    parents_told = {parent.id: is_told for parent, is_told in parents}
    assert set(closing.children.get("default", [])) == {
        child.id
        for parent, child, is_told, close in children
        if families.closes(
            parent.standing.state,
            close,
            child.standing.state,
            is_told=parents_told[parent.id],
            is_child_told=is_told,
        )
    }


async def test_who_hears_of_an_end_is_whom_the_rule_says(engine: Engine) -> None:
    parents = [
        Case(replace(Standing(state, 1, CLAIM), news=3), End(Move.CONTINUE, input=Raw(b"{}")) if generation else None)
        for state, generation in product(State, (0, 1))
    ]
    born = [(parent, asked_in, Case(Standing(State.COMPLETED))) for parent, asked_in in product(parents, (0, 1))]
    await put(engine, [*parents, *(child for _, _, child in born)])
    await write(
        engine,
        "UPDATE aiki.runs SET parent_id = %s, parent_generation = %s WHERE id = %s",
        [(parent.id, asked_in, child.id) for parent, asked_in, child in born],
    )
    await write(engine, _ERRAND, [(child.id, errands.END) for _, _, child in born])
    await engine.pool.run(errands.tell)
    heard = {
        (run_id, child)
        for run_id, child in await engine.execute(
            "SELECT run_id::text, convert_from(value, 'UTF8')::json ->> 'run_id' FROM aiki.inbox WHERE kind = 'child'"
        )
    }
    assert heard == {
        (parent.id, child.id)
        for parent, asked_in, child in born
        if families.hears(parent.standing.state, parent.standing.generation, asked_in=asked_in)
    }
