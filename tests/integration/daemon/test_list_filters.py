"""Lists by what leads and by what refines: each word alone and with others, page by page, as runs come and go."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.states import Move, State
from aiki.wire.limits import KEY_CHARS
from aiki.wire.messages import End, ListReply, ListRuns, Route
from aikid.engine import reads
from aikid.store import listing
from tests.families import adopt
from tests.integration.daemon.deleting import delete
from tests.integration.daemon.engine import Engine, completed, new_run, running_engine, unit
from tests.integration.daemon.retrying import retried
from tests.integration.daemon.test_lists import ROOM, counted, walked

pytestmark = pytest.mark.anyio
KEYS = ("order-1", "order-10", "order-2", "order", "Order-1", "order_1", "ordér", "order-Ł", "order-😀", None)
"""In an order that a language would not keep; the last has none."""
ROUTES = (("a", "1"), ("b", "1"), ("b", "2"))
ERRORS = ("TimeoutError", 'Odd"Łódź\\.*', "Time")


def failure(kind: str) -> End:
    return End(
        Move.FAIL,
        error=Raw(
            json.dumps({"type": kind, "message": "m"}, ensure_ascii=False)
            .encode()
            .replace(b'": ', b'":')
            .replace(b', "', b',"')
        ),
    )


async def many(engine: Engine) -> list[dict[str, Any]]:
    """Store runs of each key, route and end, and return what is to be found of each, the newest first."""
    new = [
        new_run(
            workflow=workflow,
            version=version,
            key=key and f"{key}",
            digest="0" * 32 if key else None,
            priority=place % 3,
            labels={"team": "x"} if place % 2 else {},
        )
        for place, ((workflow, version), key) in enumerate(itertools.product(ROUTES[:2], KEYS))
    ]
    new += [new_run(workflow="b", version="2", priority=place % 3) for place in range(4)]
    await engine.enqueue(*new)
    ends = itertools.cycle([completed(), *map(failure, ERRORS), End(Move.SLEEP, due_at=1 << 52)])
    workers: dict[str, str] = {}
    for worker in ("w-1", "w-2"):
        session = await engine.session(worker=worker, routes=[Route(*route) for route in ROUTES])
        claimed = (await engine.claim_reply(session, limit=9, routes=ROUTES)).runs
        await engine.results(*(unit(run.fence, end=next(ends)) for run in claimed))
        workers |= {run.fence.run_id: worker for run in claimed}
    ids = [run.id for run in new]
    await adopt(engine.database, ids[0], *ids[2::4])
    rows = await engine.execute(
        "SELECT id::text, workflow, version, state, key, priority, labels, convert_from(error, 'UTF8')::json->>'type',"
        " parent_id IS NOT NULL, (extract(epoch FROM created_at) * 1000000)::bigint FROM aiki.runs"
        " WHERE namespace = %s ORDER BY created_at DESC, id DESC",
        engine.namespace,
    )
    names = ("id", "workflow", "version", "state", "key", "priority", "labels", "error", "is_child", "at")
    return [{**dict(zip(names, row, strict=True)), "worker": workers.get(row[0])} for row in rows]


def is_asked(run: dict[str, Any], request: ListRuns) -> bool:
    states = request.states or ([State.FAILED] if request.error else [])
    return (
        (not states or run["state"] in states)
        and all(
            getattr(request, name) in (None, run[name])
            for name in ("workflow", "version", "key", "priority", "error", "worker")
        )
        and request.labels.items() <= (run["labels"] or {}).items()
        and (request.key_prefix is None or (run["key"] or "").startswith(request.key_prefix))
        and not (request.roots and run["is_child"])
        and (request.since is None or run["at"] >= request.since)
        and (request.before is None or run["at"] < request.before)
        and run["version"] != request.not_version
    )


def expected(runs: list[dict[str, Any]], request: ListRuns) -> list[str]:
    found = [run for run in runs if is_asked(run, request)]
    if request.key_prefix is not None:
        found.sort(key=lambda run: (run["key"], run["workflow"]))
    return [run["id"] for run in found]


LEADING: list[dict[str, Any]] = [
    {},
    {"workflow": "b"},
    {"workflow": "b", "version": "2"},
    {"states": [State.FAILED, State.QUEUED]},
    {"states": [State.SLEEPING]},
    {"key": "order-1"},
    {"key": "order-1", "workflow": "b"},
    {"key_prefix": "order-"},
    {"key_prefix": "order", "workflow": "b", "version": "1"},
    {"key_prefix": "order-😀"},
    {"key_prefix": "\U0010ffff"},
    {"labels": {"team": "x"}},
    {"roots": True},
]
REFINING: list[dict[str, Any]] = [
    {},
    *({"error": kind} for kind in ERRORS),
    {"error": "TimeoutError", "states": [State.FAILED, State.COMPLETED]},
    {"worker": "w-1"},
    {"worker": "w"},
    {"priority": 1},
    {"not_version": "1"},
    {"priority": 1, "worker": "w-2", "error": "TimeoutError"},
]


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_what_leads_and_what_refines_lose_and_double_nothing_on_any_page(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 4)
    runs = await many(engine)
    assert {run["state"] for run in runs} >= {State.COMPLETED, State.FAILED, State.SLEEPING, State.QUEUED}
    times = sorted(run["at"] for run in runs)
    for leading, refining, timed in itertools.product(LEADING, REFINING, (False, True)):
        times_given = {"since": times[3], "before": times[-3]} if timed else {}
        request = ListRuns(**{**leading, **refining, **times_given, "limit": limit})
        wanted = expected(runs, request)
        assert await walked(engine, request) == wanted, request
        assert await counted(engine, request) == len(wanted), request


async def test_keys_are_listed_character_by_character_whatever_is_asked_with_them(engine: Engine) -> None:
    runs = await many(engine)
    by_id = {run["id"]: run["key"] for run in runs}
    found = [by_id[run_id] for run_id in await walked(engine, ListRuns(key_prefix="order", workflow="a", limit=2))]
    assert found == sorted(key for key in KEYS if key is not None and key.startswith("order"))


async def test_the_longest_keys_are_found_by_what_they_begin_with(engine: Engine) -> None:
    last = "\U0010ffff" * KEY_CHARS
    await engine.queued_run(key=last, digest="0" * 32)
    await engine.queued_run(key="\U0010ffff", digest="0" * 32)
    assert len(await walked(engine, ListRuns(key_prefix=last[:1], limit=1))) == 2
    assert len(await walked(engine, ListRuns(key_prefix=last, limit=1))) == 1


async def test_the_error_of_a_task_is_that_of_its_run_and_no_word_of_a_message_is_taken_for_one(engine: Engine) -> None:
    errors = {
        "task 'charge' failed once: Odd.Type: m": "Odd.Type",
        "task 'charge' failed 12 times: TimeoutError: it said: KeyError: x": "TimeoutError",
        "task '' failed once: Forged: m": None,
    }
    ids = {}
    for message in errors:
        run_id = await engine.queued_run()
        error = json.dumps({"type": "TaskFailed", "message": message}, separators=(",", ":")).encode()
        await engine.results(unit((await engine.claim_one()).fence, end=End(Move.FAIL, error=Raw(error))))
        ids[message] = run_id
    for message, kind in errors.items():
        if kind is not None:
            assert await walked(engine, ListRuns(error=kind)) == [ids[message]]
    for kind in ("KeyError", "Forged", "OddXType", "it said", "m", ".*", "(", "once"):
        assert await walked(engine, ListRuns(error=kind)) == []
    assert len(await walked(engine, ListRuns(error="TaskFailed"))) == len(errors)


async def test_a_key_is_that_of_the_run_that_holds_it(engine: Engine) -> None:
    run_id = await engine.queued_run(key="order-1", digest="0" * 32)
    await engine.results(unit((await engine.claim_one()).fence, end=failure("E")))
    new = (await retried(engine, run_id)).run_id
    for request in (ListRuns(key="order-1"), ListRuns(key_prefix="order")):
        assert await walked(engine, request) == [new], "that of a run that was retried its newest retry has"
        assert await walked(engine, replace(request, retried=True)) == []
    assert await walked(engine, ListRuns(retried=True)) == [run_id]
    others = await walked(engine, ListRuns(retried=False))
    assert new in others
    assert run_id not in others
    async with running_engine(engine.database, "stranger") as stranger:
        assert await walked(stranger, ListRuns(key_prefix="order")) == []


async def test_keys_whose_runs_are_gone_are_passed_by_and_the_pages_go_on_behind_them(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 2)
    ids = []
    for number in range(7):
        ids.append(await engine.queued_run(key=f"k-{number}", digest="0" * 32))
        await engine.results(unit((await engine.claim_one()).fence, end=completed()))
    request = ListRuns(key_prefix="k-", limit=2)
    first = await reads.answer(engine.pool, engine.namespace, request, room=ROOM)
    assert isinstance(first, ListReply)
    assert [run.id for run in first.runs] == ids[:2]
    await delete(engine, *ids[:5])  # also the one that the cursor names
    rest = await walked_on(engine, replace(request, cursor=first.cursor))
    assert rest == ids[5:]
    assert await counted(engine, request) == 2
    assert await walked(engine, request) == ids[5:]


async def walked_on(engine: Engine, request: ListRuns) -> list[str]:
    """Return the ids on the page that the cursor names, and on all behind it."""
    found: list[str] = []
    cursor = request.cursor
    while cursor is not None:
        page = await reads.answer(engine.pool, engine.namespace, replace(request, cursor=cursor), room=ROOM)
        assert isinstance(page, ListReply)
        found += [run.id for run in page.runs]
        cursor = page.cursor
    return found


async def test_a_reply_says_which_words_it_goes_by(engine: Engine) -> None:
    for request in (ListRuns(key="a", retried=False), ListRuns(key="a", retried=False, counts=True)):
        reply = await reads.answer(engine.pool, engine.namespace, request, room=ROOM)
        assert isinstance(reply, ListReply)
        assert reply.heeded == ["key", "retried"]
