"""Own what tests of tasks' keys do over and over: runs that ask for keys, end them and give them back."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, structs

from aiki.wire.messages import Claimed, End, Entry, KeyAnswer, KeyAsk, Recorded, Unit
from aikid.engine import key_lines
from aikid.engine.changes import Changes
from aikid.store.key_lines import BEGINNING
from aikid.store.task_keys import KeyId
from tests.integration.daemon.engine import Engine, unit

KEY = KeyId("default", "", "charge", "k")
CALL = "task:charge@k"
DIGEST = "d" * 32
SECOND = 1_000_000
TAKEN = KeyAnswer("taken")


def ask(want: str = "own", **fields: Any) -> KeyAsk:
    """Return what is wanted of the tests' key, for all of the namespace."""
    key = fields.get("key", "k")
    given = {"call": f"task:charge@{key}", "scope": "", "task": "charge", "key": "k", "digest": DIGEST, "want": want}
    return KeyAsk(**(given | fields))


def asking(run: Claimed, *asks: KeyAsk) -> Unit:
    """Return a unit that wants this of keys, or asks for the tests' key, and does nothing else."""
    return structs.replace(unit(run.fence), keys=list(asks) or [ask()])


def result(key: str = "k", value: bytes = b'"paid"', *, ok: bool = True) -> Entry:
    """Return the entry of the call with a key."""
    return Entry(f"task:charge@{key}", ok, Raw(value), 1_000_000)


def ending(
    run: Claimed,
    base: int = 0,
    *,
    value: bytes = b'"paid"',
    keep: int = 60 * SECOND,
    end: End | None = None,
    **fields: Any,
) -> Unit:
    """Return the unit by which the call with a key has its result."""
    entry = result(fields.get("key", "k"), value)
    return structs.replace(unit(run.fence, base, entry, end=end), keys=[ask("done", keep=keep, **fields)])


async def held(engine: Engine, session: str | None = None, **fields: Any) -> Claimed:
    """Return a run that is claimed."""
    await engine.queued_run(**fields)
    return await engine.claim_one(session)


async def asked(engine: Engine, run: Claimed, *asks: KeyAsk) -> KeyAnswer:
    """Have a run want this of keys, or ask for the tests' key; return what became of the last."""
    (said,) = await engine.record(asking(run, *asks))
    assert said.result == "done", said
    return said.keys[-1]


def result_of(said: Recorded) -> tuple[str, ...]:
    """Return what became of a unit, and of what it wanted of keys."""
    return said.result, *(answer.result for answer in said.keys)


async def owner(engine: Engine) -> Claimed:
    """Return a run that has the tests' key."""
    run = await held(engine)
    assert (await asked(engine, run)).result == "won"
    return run


async def waiting(engine: Engine) -> Claimed:
    """Return a run that waits for the tests' key."""
    run = await held(engine)
    assert (await asked(engine, run)).result == "waits"
    return run


async def waiters(engine: Engine) -> list[tuple[str, bool]]:
    """Return who waits for any key, in line, and whether each was told since it has asked."""
    return await engine.execute(
        "SELECT run_id::text, told_at IS NOT NULL FROM aiki.task_key_waiters ORDER BY at, run_id"
    )


async def told(engine: Engine, *keys: KeyId) -> Changes:
    """Have all be told who are to be told of these keys, or of any; return what that changed."""
    changes = Changes()
    if keys:
        async for one in key_lines.tell_of(engine.pool, keys):
            changes.add(one)
    else:
        async for looked in key_lines.walk(engine.pool, BEGINNING):
            changes.add(looked.changes)
    return changes


async def words(engine: Engine, run: Claimed) -> list[tuple[str, str]]:
    """Return what has come to a run of keys and is unread."""
    return [(one.kind, one.name) for one in (await engine.inbox(run.fence.run_id)).arrivals]
