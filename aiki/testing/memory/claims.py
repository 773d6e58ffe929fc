"""Own how a worker gets runs: the best queued ones of its routes, each with what it needs to go on."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from aiki.core.states import Move
from aiki.rules.claiming import claimed, pick
from aiki.rules.crashing import is_suspect
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Session, Store
from aiki.wire import weights
from aiki.wire.codec import encode
from aiki.wire.limits import MESSAGE_BYTES, PAGE_BYTES
from aiki.wire.messages import NONE, Claim, Claimed, ClaimReply, Fence, Page, PageReply
from aiki.wire.packing import page as page_of

_INPUT_BYTES: Final = MESSAGE_BYTES * 5 // 8
_PAGE_ENTRIES: Final = 2_000


def claim(store: Store, request: Claim) -> ClaimReply:
    """Claim up to `limit` queued runs of the routes for a session that lives."""
    session = store.sessions.get(request.session)
    if session is None or not session.is_alive:
        return ClaimReply(store.now(), alive=False)
    queued = store.queued.first(request.routes, request.limit)
    picked, more = pick(queued, limit=request.limit, limit_bytes=_INPUT_BYTES, holds_suspect=_holds_suspect(session))
    runs = [take(store, store.runs[one.id], session, request.claim_id) for one in picked]
    return ClaimReply(store.now(), runs=runs, more=more)


def take(store: Store, run: Run, session: Session, claim_id: str) -> Claimed:
    """Claim a queued run for a session, and say what it needs to go on."""
    now = store.now()
    run.started_at = now if run.started_at is None else run.started_at
    if run.generation and run.began_at is None:
        run.began_at = now
    store.move(run, claimed(run.standing, claim_id), Move.CLAIM, actor=session.worker)
    session.hold(run)
    assert run.standing.claim_id is not None, "a claim without an id"
    return described(run, run.standing.claim_id, now)


def page(store: Store, request: Page) -> PageReply:
    """Return entries of a journal, or tries, as many as fit. Raises NotFound."""
    life = store.find(request.run_id).life
    if request.tried_after is not None:
        tries = [one for one in life.last_tries() if one.key > request.tried_after]
        return PageReply(attempts=page_of(tries, weights.of_attempt, MESSAGE_BYTES))
    return PageReply(page_of(life.told(request.after, _PAGE_ENTRIES), weights.of_entry, PAGE_BYTES))


def described(run: Run, claim_id: str, now: int) -> Claimed:
    """Return what a claim brings of a run; one that never began does so now."""
    standing, retry, unread = run.standing, run.options.retry, run.inbox.first_page()
    began_at = run.began_at if run.generation else run.started_at
    tries = run.life.last_tries()
    return Claimed(
        fence=Fence(run.id, standing.epoch, claim_id),
        origin_id=run.origin_id,
        workflow=run.workflow,
        version=run.version,
        input=run.input,
        claims=standing.epoch,
        started_at=now if began_at is None else began_at,
        key=run.options.key,
        labels=dict(run.labels),
        entries=run.life.told(),
        length=len(run.life.journal),
        attempts=tries,
        tries=len(tries),
        suspect=is_suspect(standing.crash_count),
        attempt=run.attempt,
        generation=standing.generation,
        news=unread.news,
        arrivals=unread.arrivals,
        unread=len(run.inbox.unread),
        wanted=standing.wanted,
        parent=None if run.parent is None else run.parent.id,
        depth=run.depth,
        priority=run.priority,
        retry=NONE if retry is None else Raw(encode(retry)),
        first_at=run.started_at if standing.generation else None,
        fired=run.options.fired,
    )


def _holds_suspect(session: Session) -> bool:
    return any(is_suspect(run.standing.crash_count) for run in session.runs.values())
