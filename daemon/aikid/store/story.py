"""Read a run's story in the order in which it happened: transitions, outcomes, tries that failed, events still unread.

Clocks do not tell it: a commit's time is that of its beginning, and a claim may have begun before the enqueue that it
found. So each line has a place: in which generation, how long its journal was, and in which turn of its life, counted
in claims. Whatever is added later stands behind all that is there: a page and the cursor after it are exact while the
run goes on.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from aiki.core.states import ENQUEUED, Move
from aiki.wire.messages import UNDER_WAY
from aikid.store.pool import Pool
from aikid.store.sql import MICROSECONDS
from aikid.store.tables import attempts, generations, inbox, journal, run_history, runs


class Place(NamedTuple):
    """Where a line stands; places are in order as tuples are.

    An entry stands first at its number. Then, with the journal so long, come the turns: three for each claim (the
    claim itself, its tries, and what ended it and followed), counted by `nth`. What ends a generation belongs to it.
    """

    generation: int
    length: int
    turn: int
    nth: int


class Line(NamedTuple):
    """One line of a story. `move` is a transition's, `entry`, `attempt` or `event`; `at` is in microseconds.

    Whose an outcome or a try is that this run has come to itself, the claim before it says.
    """

    generation: int
    length: int
    turn: int
    nth: int
    at: int
    move: str
    reason: str | None
    actor: str | None
    key: str | None
    ok: bool | None
    value: bytes | None
    attempt: int | None
    due_at: int | None
    started_at: int | None
    worker: str | None
    arguments: bytes | None

    @property
    def place(self) -> Place:
        """Where it stands: the cursor to read on behind it."""
        return Place(*self[:4])


BEGIN: Final = Place(-1, -1, 0, 0)
"""Before the first line."""
_CLAIM, _TRY, _OTHER = range(3)
_TURNS: Final = 3
_STILL_TO_COME: Final = 999_999_999
"""The generation that an event will stand in which nobody has taken: behind all that has happened."""
_text = sa.cast(sa.null(), sa.Text)
_blob = sa.cast(sa.null(), sa.LargeBinary)
_truth = sa.cast(sa.null(), sa.Boolean)
_number = sa.cast(sa.null(), sa.BigInteger)
_at: Final = sa.literal_column(MICROSECONDS.format("at"), sa.BigInteger)


async def read(pool: Pool, run_id: str, *, after: Place, limit: int, limit_bytes: int) -> list[Line]:
    """Return the lines behind `after`: at most `limit`, and one more than fit `limit_bytes`, at least two if there are.

    Ranges of primary keys, and `inbox_unread`; of journal and inbox no more than a page.
    """
    tries, unread = _tries(run_id, after), _unread(run_id, after, limit)
    merged = sa.union_all(_transitions(run_id), _entries(run_id, after, limit), tries, unread).subquery()
    told = _held(merged)
    order = tuple(told.c[name] for name in Place._fields)
    size = sum(sa.func.coalesce(sa.func.octet_length(column), 0) for column in (told.c.value, told.c.arguments))
    before = sa.func.sum(size).over(order_by=order) - size
    counted = (
        sa.select(told, before.label("before"), sa.func.row_number().over(order_by=order).label("line"))
        .where(sa.tuple_(*order) > sa.tuple_(*after))
        .subquery()
    )
    query = sa.select(*(counted.c[name] for name in Line._fields))
    fitting = query.where(counted.c.line <= limit, (counted.c.before <= limit_bytes) | (counted.c.line <= 2))
    return [Line(*row) for row in await pool.read(fitting.order_by(counted.c.line))]


def _held(merged: sa.Subquery) -> sa.Subquery:
    """Return the lines, each outcome and try with its worker: that of the last claim before it in its generation.

    One that was copied from the run that this is a retry of stands before all claims, and brings its worker along.
    """
    order = [merged.c[name] for name in Place._fields]
    claims = sa.func.count().filter(merged.c.move == Move.CLAIM.value)
    nth = claims.over(partition_by=merged.c.generation, order_by=order)
    numbered = sa.select(merged, nth.label("claims")).subquery()
    n = numbered.c
    # The first line of those that follow a claim, up to the next one, is the claim's own.
    holder = sa.func.first_value(n.actor).over(
        partition_by=(n.generation, n.claims), order_by=[n[name] for name in Place._fields]
    )
    is_held = sa.and_(n.move.in_(("entry", "attempt")), n.claims > 0)
    worker = sa.func.coalesce(n.worker, sa.case((is_held, holder)))
    others = [column for column in n if column.name not in ("worker", "claims")]
    return sa.select(*others, worker.label("worker")).subquery()


def _moves(run_id: str) -> sa.Subquery:
    """Return the moves, and before them the run's birth: its own row tells that, unless the history does."""
    h, r = run_history.c, runs.c
    told = sa.select(h.seq, h.at, h.move, h.reason, h.actor, h.journal_length).where(h.run_id == run_id)
    number = sa.cast(sa.null(), sa.Integer)
    born = sa.select(sa.literal(0), r.created_at, sa.literal(ENQUEUED), _text, _text, number).where(
        r.id == run_id, ~sa.exists().where(h.run_id == run_id, h.seq == 0)
    )
    return sa.union_all(told, born).subquery()


def _generations(run_id: str) -> sa.Subquery:
    """Return the moves, each with its generation: counted from the end, since the beginning may have been pruned."""
    h, g = _moves(run_id), generations.c
    later = sa.func.count(g.generation).over(order_by=h.c.seq.desc())
    now = sa.select(runs.c.generation).where(runs.c.id == run_id).scalar_subquery()
    ends = sa.and_(g.run_id == run_id, g.history_seq == h.c.seq)
    moves = sa.select(h, (now - later).label("generation")).select_from(h.outerjoin(generations, ends))
    return moves.subquery()


def _transitions(run_id: str) -> sa.Select[Any]:
    h = _generations(run_id).c
    is_claim = h.move == Move.CLAIM.value
    within: dict[str, Any] = {"partition_by": h.generation, "order_by": h.seq}
    claims = sa.func.count().filter(is_claim).over(**within)
    return sa.select(
        h.generation,
        sa.func.coalesce(sa.func.max(h.journal_length).over(**within), 0).label("length"),
        (_TURNS * claims + sa.case((is_claim, _CLAIM), else_=_OTHER)).label("turn"),
        h.seq.label("nth"),
        _at.label("at"),
        h.move,
        h.reason.label("reason"),
        h.actor.label("actor"),
        _text.label("key"),
        _truth.label("ok"),
        _blob.label("value"),
        _number.label("attempt"),
        _number.label("due_at"),
        _number.label("started_at"),
        _text.label("worker"),
        _blob.label("arguments"),
    )


def _entries(run_id: str, after: Place, limit: int) -> sa.Select[Any]:
    j = journal.c
    place = (j.generation, j.seq, sa.literal(-1), sa.literal(0))
    columns = (*place, j.at_us, sa.literal("entry"), _text, _text, j.key, j.ok, j.value)
    query = sa.select(*columns, _number, _number, j.started_us, j.worker, j.arguments).where(
        j.run_id == run_id, sa.tuple_(j.generation, j.seq) >= sa.tuple_(after.generation, after.length)
    )
    return query.order_by(j.generation, j.seq).limit(limit + 1)


def _tries(run_id: str, after: Place) -> sa.Select[Any]:
    a, g = attempts.c, generations.c
    nth = sa.func.row_number().over(order_by=(a.generation, a.epoch, a.journal_length, a.at, a.key, a.attempt))
    # Claims are counted in a run's whole life, and turns in its generations.
    turn = _TURNS * (a.epoch - sa.func.coalesce(g.epoch, 0)) + _TRY
    place = (a.generation, a.journal_length, turn, nth)
    columns = (
        *(*place, _at, sa.literal("attempt"), _text, _text, a.key, _truth, a.error, a.attempt, a.next_at_us),
        *(a.started_us, a.worker, a.arguments),
    )
    begun = sa.and_(g.run_id == a.run_id, g.generation == a.generation)
    is_told = (a.generation >= after.generation, a.error.is_distinct_from(bytes(UNDER_WAY)))
    return sa.select(*columns).select_from(attempts.outerjoin(generations, begun)).where(a.run_id == run_id, *is_told)


def _unread(run_id: str, after: Place, limit: int) -> sa.Select[Any]:
    i = inbox.c
    number = sa.cast(i.number, sa.Integer)
    place = (sa.literal(_STILL_TO_COME), sa.literal(0), sa.literal(0), number)
    columns = (*place, i.at_us, sa.literal("event"), _text, _text)
    seen = after.nth if after.generation == _STILL_TO_COME else 0
    query = sa.select(*columns, sa.literal("event:") + i.name, _truth, i.value, *(_number,) * 3, _text, _blob).where(
        i.run_id == run_id, i.taken_seq.is_(None), i.kind == "event", i.number > seen
    )
    return query.order_by(i.number).limit(limit + 1)
