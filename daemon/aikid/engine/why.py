"""Say why runs do not move: read what is on record of each, and follow who waits for whom.

A cold read: of each run only what its state makes matter is read. Which reasons follow from it `rules.why` decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from msgspec.structs import replace as replace_in

from aiki.core.reasons import Reason
from aiki.core.states import State
from aiki.rules import why as rules
from aiki.rules.why import DEPTH, Facts, looked_of
from aiki.wire.codec import encode
from aiki.wire.messages import Explained, Looked, RunStatus, Why, WhyReply
from aiki.wire.packing import reply_room
from aikid.store import sessions, status
from aikid.store import why as store
from aikid.store.pool import Connection, Pool
from aikid.store.why import Standing

Look: TypeAlias = Callable[[str, str, str], Awaitable[Looked | None]]
"""Asks the worker of a namespace's session what stands of a run in its memory; None if it does not answer in time."""

_TRIES: Final = 3
"""To read a run in one state, while it moves."""
_LOOK_SECONDS: Final = 1.0
"""For how long one request has workers asked, also of the runs that others wait for: each may take 300 ms to answer."""
_SAID: Final = 20
_TEXT_CHARS: Final = 1_000
"""Of a text in a reply that would not fit."""


async def answer(pool: Pool, namespace: str, request: Why, *, room: int, look: Look | None = None) -> WhyReply:
    """Return why the runs that exist do not move, as many as fit `room`. Raises Unavailable."""
    ids = [*dict.fromkeys(request.ids)]
    reply = WhyReply(await pool.run(sessions.now), [])
    left = reply_room(room)
    asked = _Asking(look if request.look else None, asyncio.get_running_loop().time() + _LOOK_SECONDS)
    for place, run_id in enumerate(ids):
        told = await _explained(pool, namespace, run_id, asked)
        if told is None:
            continue
        _, explained = told
        size = len(encode(explained))
        if size > left and not reply.runs:
            explained, size = _shortened(explained), left
        if size > left:
            reply.rest = len(ids) - place
            break
        reply.runs.append(explained)
        left -= size
    return reply


@dataclass(frozen=True, slots=True)
class _Asking:
    """How workers are asked, and until when."""

    look: Look | None
    until: float

    def now(self) -> Look | None:
        """Return how; None if nobody is to be asked any more."""
        return self.look if asyncio.get_running_loop().time() < self.until else None


async def explain(pool: Pool, namespace: str, run_id: str, *, look: Look) -> tuple[Facts, Explained] | None:
    """Return what is known of a run, and why it does not move; None if there is none. Raises Unavailable."""
    return await _explained(pool, namespace, run_id, _Asking(look, asyncio.get_running_loop().time() + _LOOK_SECONDS))


async def _explained(pool: Pool, namespace: str, run_id: str, asked: _Asking) -> tuple[Facts, Explained] | None:
    """Return what is known of a run, and why it does not move. Who waits for another is followed to the last."""
    if (facts := await _facts(pool, namespace, run_id, asked.now())) is None:
        return None
    run = facts.run
    found = rules.reasons(facts)
    path, leaf = [run_id], found
    while (other := rules.next_run(leaf)) is not None and other not in path and len(path) < DEPTH:
        if (others := await _facts(pool, namespace, other, asked.now())) is None:
            break
        path.append(other)
        leaf = rules.reasons(others)
    explained = Explained(run.id, run.workflow, run.version, run.state, run.claims, found)
    return facts, explained if len(path) == 1 else replace_in(explained, path=path, leaf=leaf)


def _shortened(explained: Explained) -> Explained:
    """Return the same with texts cut that no message can bring whole."""

    def cut(reason: Reason) -> Reason:
        text = reason.message or ""
        return reason if len(text) <= _TEXT_CHARS else replace_in(reason, message=f"{text[:_TEXT_CHARS]} …")

    return replace_in(
        explained,
        reasons=[cut(one) for one in explained.reasons],
        leaf=[cut(one) for one in explained.leaf],
    )


async def _facts(pool: Pool, namespace: str, run_id: str, look: Look | None) -> Facts | None:
    """Return what is on record of a run, and what its worker says; None if there is no such run."""

    async def work(connection: Connection) -> Facts | None:
        tries = 0
        while True:
            tries += 1
            run = (await status.read(connection, [(namespace, run_id)])).get((namespace, run_id))
            one = (await store.standing(connection, [run_id])).get(run_id)
            if run is None or one is None:
                return None
            is_same = (run.state, run.claims) == (one.state, one.epoch)  # it has not moved between the two
            if is_same or tries == _TRIES:
                return await _of(connection, namespace, run, one)

    facts = await pool.run(work)
    if facts is None or facts.run.state is not State.RUNNING or look is None or facts.hold is None:
        return facts
    looked = await look(namespace, facts.hold.session, run_id)
    facts = replace(facts, looked=None if looked is None else looked_of(looked), was_asked=True)
    if facts.looked is None or not facts.looked.awaits_children:
        return facts
    return replace(facts, kin=await pool.run(lambda c: store.kin(c, run_id)))


async def _of(connection: Connection, namespace: str, run: RunStatus, one: Standing) -> Facts:
    facts = Facts(
        now=await sessions.now(connection),
        run=run,
        last=one.last,
        claimed=one.claimed,
        crash_count=one.crash_count,
        wanted=one.wanted,
        cancel=one.cancel,
        cancel_at=one.cancel_at,
        attempts=one.attempts,
        hold=one.hold,
    )
    if run.fired is not None:
        facts = replace(facts, timetable=await store.timetable(connection, namespace, run.fired.schedule))
    match run.state:
        case State.QUEUED:
            return await _queued(connection, namespace, facts)
        case State.RETRYING | State.RUNNING:
            due = await status.due_attempts(connection, [run.id])
            said = await status.progress(connection, [run.id], limit=_SAID)
            return replace(facts, due=due.get(run.id), said=said.get(run.id, ()))
        case State.WAITING:
            return replace(
                facts,
                keys=await store.keys(connection, run.id),
                kin=await store.kin(connection, run.id) if "child" in run.waits else facts.kin,
                unread=await store.unread(connection, run.id) if run.unread else (),
            )
        case _:
            return facts


async def _queued(connection: Connection, namespace: str, facts: Facts) -> Facts:
    run = facts.run
    service = await store.service(connection, namespace, run.workflow, run.version)
    queue = await store.queue(connection, run.id) if service.workers else facts.queue
    return replace(facts, service=service, queue=queue)
