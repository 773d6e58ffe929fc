"""The side tables of lists and counts: what is written there with a run and with its end, and the reads that go by it.

No list, count or look-up reads more than it shows, however many runs have ended: each walks one index from where its
answer begins, or one for each route and state that it asks for. Which run is newer, the database's clock says; ids are
the callers', and one whose clock is a day behind would hide its runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import replace

from aiki.core.moments import to_datetime
from aiki.core.states import TERMINAL, State
from aiki.rules.filtering import is_by_key, states_of
from aiki.rules.places import AnyPlace, KeyPlace, Place
from aiki.wire.limits import KEY_CHARS, LISTED_BYTES
from aiki.wire.messages import ListRuns, RunStatus
from aikid.store.narrowing import conditions, values
from aikid.store.pool import Pool
from aikid.store.sql import quoted
from aikid.store.status import COLUMNS, to_status
from aikid.store.windows import BEFORE, BY_KEY, BY_TIME, Order

LOOKED_AT: Final = 10_000
"""Runs that one request looks at for what the index that it walks does not say of them."""
_AT_FIRST: Final = 4
"""So many times the runs that a page has room for are looked at before LOOKED_AT are."""
RESTING: Final = frozenset(State) - TERMINAL - {State.QUEUED, State.RUNNING}
"""States that the index `runs_resting` holds."""
_END_OF_IDS: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_LAST_CHARACTER: Final = "\U0010ffff"
_TAIL: Final = "('x' || right({}::text, 8))::bit(32)::int"

# -- writing: parts of the statements that enqueue and end runs

LISTED: Final = f"""
listed AS (
  INSERT INTO aiki.listing (namespace, created_at, run_id, tail{{column}})
  SELECT namespace, created_at, id, {_TAIL.format("id")}{{value}} FROM made
)
"""
LABELLED: Final = """
labelled AS (
  INSERT INTO aiki.labels (namespace, name, value, created_at, run_id)
  SELECT m.namespace, l.key, l.value, m.created_at, m.id
  FROM made m CROSS JOIN LATERAL jsonb_each_text(m.labels) AS l WHERE m.labels IS NOT NULL
)
"""
"""Common table expressions beside `made`, which returns the id, namespace, labels and time of each run that is new."""
CLOSED: Final = f"""
closed AS (
  INSERT INTO aiki.ended (namespace, workflow, version, state, created_at, run_id)
  SELECT namespace, workflow, version, state, created_at, id FROM ended WHERE state IN ({quoted(TERMINAL)})
)
"""
"""A common table expression beside `ended`, which returns these columns of each run whose claim ended."""

# -- reading

_WORKFLOW: Final = "(CAST(:workflow AS text) IS NULL OR {0}.workflow = :workflow)"
_ROUTE: Final = f"{_WORKFLOW} AND (CAST(:version AS text) IS NULL OR {{0}}.version = :version)"
# `listing_created`, backwards, for roots and for children.
_ALL: Final = f"""
SELECT l.created_at, l.run_id FROM unnest(CAST(:kinds AS boolean[])) AS k(is_child) CROSS JOIN LATERAL (
  SELECT x.created_at, x.run_id FROM aiki.listing x
  WHERE x.namespace = :namespace AND x.is_child = k.is_child AND {BEFORE.format("x", "run_id")}
  ORDER BY x.created_at DESC, x.run_id DESC LIMIT :limit
) AS l
"""
# `children_created`, backwards. A run that its parent has met by a key, again and again maybe, is one of its children
# once: by its last start, unless it is its own (primary key, `children_watched`).
_OF_PARENT: Final = f"""
SELECT c.created_at, c.run_id FROM aiki.children c
WHERE c.parent_id = CAST(:parent AS uuid) AND {BEFORE.format("c", "run_id")} AND (c.owned
  OR NOT EXISTS (SELECT FROM aiki.children o WHERE o.parent_id = c.parent_id AND o.start_id = c.run_id)
  AND NOT EXISTS (SELECT FROM aiki.children o WHERE o.run_id = c.run_id AND NOT o.owned AND o.parent_id = c.parent_id
    AND (o.created_at, o.start_id) > (c.created_at, c.start_id)))
ORDER BY c.created_at DESC, c.run_id DESC LIMIT :limit
"""
# `labels_created`, backwards.
_LABELLED: Final = f"""
SELECT l.created_at, l.run_id FROM aiki.labels l
WHERE l.namespace = :namespace AND l.name = :name AND l.value = :value AND {BEFORE.format("l", "run_id")}
ORDER BY l.created_at DESC, l.run_id DESC LIMIT :limit
"""


def _by_state(table: str, run_id: str, states: str) -> str:
    """Return the source of runs in some states, by an index that has them in order for each route and state.

    The newest of each are looked at first: if `limit` routes have one, nothing is wanted that is older than all these.
    """
    here = f"{table} AND {BEFORE.format('x', run_id)}"
    return f"""
SELECT one.created_at, one.run_id FROM (
  SELECT f.*, CASE WHEN count(*) OVER () = :limit THEN min(f.created_at) OVER () ELSE '-infinity' END AS oldest
  FROM (
    SELECT t.workflow, t.version, s.state, newest.created_at
    FROM aiki.routes t CROSS JOIN unnest(CAST(:{states} AS text[])) AS s(state) CROSS JOIN LATERAL (
      SELECT x.created_at FROM {here} AND x.state = s.state AND x.workflow = t.workflow AND x.version = t.version
      ORDER BY x.created_at DESC LIMIT 1
    ) AS newest
    WHERE t.namespace = :namespace AND {_ROUTE.format("t")} ORDER BY newest.created_at DESC LIMIT :limit
  ) AS f
) AS h CROSS JOIN LATERAL (
  SELECT x.created_at, x.{run_id} AS run_id FROM {here} AND x.state = h.state AND x.workflow = h.workflow
    AND x.version = h.version AND x.created_at >= h.oldest
  ORDER BY x.created_at DESC, x.{run_id} DESC LIMIT :limit
) AS one
"""


# `ended_state` and `runs_resting`, backwards.
_ENDED: Final = _by_state("aiki.ended x WHERE x.namespace = :namespace", "run_id", "ended")
_AT_REST: Final = _by_state(
    f"aiki.runs x WHERE x.namespace = :namespace AND x.state IN ({quoted(RESTING)})", "id", "resting"
)
_IN_QUEUE: Final = f"""
aiki.runs x WHERE x.namespace = :namespace AND x.state = '{State.QUEUED}' AND x.workflow = t.workflow
  AND x.version = t.version
"""
# `runs_queued` has the runs of a route in order of creation for each priority, those that have started and the others;
# which priorities there are takes a probe for each.
_QUEUES: Final = f"""
queues AS (
  SELECT t.*, (SELECT x.priority FROM {_IN_QUEUE} ORDER BY x.priority DESC LIMIT 1) AS priority FROM (
    SELECT r.workflow, r.version FROM aiki.routes r WHERE r.namespace = :namespace AND {_ROUTE.format("r")}
  ) AS t
  UNION ALL
  SELECT t.workflow, t.version,
    (SELECT x.priority FROM {_IN_QUEUE} AND x.priority < t.priority ORDER BY x.priority DESC LIMIT 1)
  FROM queues t WHERE t.priority IS NOT NULL
)
"""
_QUEUED: Final = f"""
SELECT one.created_at, one.run_id
FROM queues t CROSS JOIN (VALUES (true), (false)) AS f(fresh) CROSS JOIN LATERAL (
  SELECT x.created_at, x.id AS run_id FROM {_IN_QUEUE} AND x.priority = t.priority
    AND (x.started_at IS NULL) = f.fresh AND {BEFORE.format("x", "id")}
  ORDER BY x.created_at DESC, x.id DESC LIMIT :limit
) AS one WHERE t.priority IS NOT NULL
"""
# `runs_running`: as many as live workers have slots for.
_RUNNING: Final = f"""
SELECT x.created_at, x.id AS run_id FROM aiki.sessions s JOIN aiki.runs x ON x.session_id = s.id
WHERE s.namespace = :namespace AND x.namespace = :namespace AND x.state = '{State.RUNNING}'
  AND {_ROUTE.format("x")} AND {BEFORE.format("x", "id")}
ORDER BY x.created_at DESC, x.id DESC LIMIT :limit
"""
# The primary key of `keys`, a probe for each workflow, and that of runs.
_WORKFLOWS: Final = f"""
(SELECT DISTINCT t.workflow FROM aiki.routes t WHERE t.namespace = :namespace AND {_WORKFLOW.format("t")}) AS w
"""
_KEYED: Final = f"""
SELECT r.created_at, k.run_id FROM {_WORKFLOWS} CROSS JOIN LATERAL (
  SELECT x.run_id FROM aiki.keys x WHERE x.namespace = :namespace AND x.workflow = w.workflow AND x.key = :key OFFSET 0
) AS k JOIN aiki.runs r ON r.id = k.run_id WHERE {BEFORE.format("r", "id")}
"""
# The primary key of `keys`, from where the beginning begins, for each workflow.
_BY_PREFIX: Final = f"""
SELECT k.key, w.workflow, k.run_id FROM {_WORKFLOWS} CROSS JOIN LATERAL (
  SELECT x.key, x.run_id FROM aiki.keys x
  WHERE x.namespace = :namespace AND x.workflow = w.workflow AND x.key BETWEEN :first_key AND :last_key
    AND (x.key > :after_key OR (x.key = :after_key AND w.workflow COLLATE "C" > :after_workflow))
  ORDER BY x.key LIMIT :limit
) AS k
"""
_LED_BY: Final = {
    _OF_PARENT: {"parent", "since", "before"},
    _KEYED: {"key", "workflow", "since", "before"},
    _BY_PREFIX: {"key_prefix", "workflow"},
    _LABELLED: {"since", "before"},
    _ALL: {"roots", "since", "before"},
}
"""What each source says of its runs; those by states say their states and routes."""
_LED_BY_STATES: Final = {"states", "workflow", "version", "since", "before"}
# Whatever was found, in its order. The last of a window comes too, whatever it is: the next one begins behind it. How
# long a stored value is, is known without reading it.
_SHOWN: Final = f"""
SELECT {{asked}}, n.place = :limit, {{place}}, {COLUMNS},
  CASE WHEN p.size <= {LISTED_BYTES} AND {{is_told}} THEN r.output END, CASE WHEN {{is_told}} THEN r.error END,
  CASE WHEN p.size > {LISTED_BYTES} THEN p.size END
FROM {{runs}}
CROSS JOIN LATERAL (SELECT octet_length(r.output) AS size, octet_length(r.error) AS error_size) AS p
WHERE {{asked}} OR n.place = :limit ORDER BY n.place LIMIT :count
"""
_IS_TOLD: Final = f"""
sum(CASE WHEN p.size <= {LISTED_BYTES} THEN p.size ELSE 0 END + coalesce(p.error_size, 0)) OVER (ORDER BY n.place)
  <= :limit_bytes
"""
# Where the index says all that is asked, the runs themselves are not looked at.
_COUNTED: Final = "SELECT count(*) FILTER (WHERE {asked}), {last} FROM {found}"
# Of several labels the rarest is walked; one that LOOKED_AT runs have is as common as any.
_RAREST: Final = f"""
SELECT o.name, o.value FROM unnest(CAST(:names AS text[]), CAST(:texts AS text[])) AS o(name, value)
ORDER BY (SELECT count(*) FROM (
  SELECT FROM aiki.labels l WHERE l.namespace = :namespace AND l.name = o.name AND l.value = o.value LIMIT {LOOKED_AT}
) AS counted) LIMIT 1
"""
# `listing_tail`: a probe for each block from the namespace's first run to its last. OFFSET 0 keeps it one: Postgres 15
# else takes the tail alone and walks through the namespace.
_ENDING: Final = f"""
SELECT one.run_id::text FROM generate_series(
  (SELECT (l.number >> 16)::integer FROM aiki.listing l WHERE l.namespace = :namespace
    ORDER BY (l.number >> 16)::integer LIMIT 1),
  (SELECT (l.number >> 16)::integer FROM aiki.listing l WHERE l.namespace = :namespace
    ORDER BY (l.number >> 16)::integer DESC LIMIT 1)) AS b(block)
CROSS JOIN LATERAL (
  SELECT l.run_id FROM aiki.listing l WHERE l.namespace = :namespace AND (l.number >> 16)::integer = b.block
    AND l.tail = {_TAIL.format("CAST(:digits AS text)")} OFFSET 0
) AS one WHERE replace(one.run_id::text, '-', '') LIKE '%' || :digits LIMIT :limit
"""


async def list_runs(
    pool: Pool, namespace: str, request: ListRuns, *, before: AnyPlace | None = None, limit: int, limit_bytes: int
) -> tuple[dict[AnyPlace, RunStatus], AnyPlace | None]:
    """Return runs in the order of the list, and the last that was looked at if more may follow it.

    Outputs of more than LISTED_BYTES are left out, and all payloads beyond the first `limit_bytes` together: their
    runs are for the next page. Of what no index says at once, LOOKED_AT runs are looked at.
    """
    request = replace(request, states=states_of(request))
    order, beside = order_of(request), _beside(request)
    given = await _given(pool, namespace, request, before, limit)
    given |= {"count": limit, "limit_bytes": limit_bytes}
    shown = _SHOWN.format(asked=_all_of(beside), is_told=_IS_TOLD, place=order.place, runs=order.runs)
    statement = _found(request, shown)
    end: AnyPlace | None = None
    rows: Sequence[tuple[Any, ...]] = []
    for window in _windows(limit) if beside else [limit]:
        rows = await _read(pool, statement, given | {"limit": window})
        end = _place(order, rows[-1][2:4]) if rows and rows[-1][1] else None
        if end is None:
            break
    return {_place(order, row[2:4]): to_status(row[4:]) for row in rows if row[0]}, end


def _windows(limit: int) -> list[int]:
    """Return how many runs to look at for a page of `limit`: some, which are mostly enough, or else all that may be."""
    most = max(LOOKED_AT, limit)
    return [some, most] if (some := _AT_FIRST * limit) < most else [most]


async def count_runs(
    pool: Pool, namespace: str, request: ListRuns, *, before: AnyPlace | None = None, limit: int
) -> tuple[int, AnyPlace | None]:
    """Return how many of `limit` runs are what is asked for, and the last that was looked at if more may follow it."""
    request = replace(request, states=states_of(request))
    order, beside = order_of(request), _beside(request)
    is_seen = beside or request.parent is not None  # whose namespace a parent is in, its children's rows do not say
    found = order.runs if is_seen else order.window
    counted = _COUNTED.format(asked=_all_of(beside), last=order.last, found=found)
    ((count, *end),) = await _read(
        pool, _found(request, counted), await _given(pool, namespace, request, before, limit)
    )
    return count, None if end[0] is None else _place(order, end)


def order_of(request: ListRuns) -> Order:
    """Return in which order the runs are listed."""
    return BY_KEY if is_by_key(request) else BY_TIME


def _place(order: Order, place: Sequence[Any]) -> AnyPlace:
    return KeyPlace(*place) if order is BY_KEY else Place(*place)


async def _given(pool: Pool, namespace: str, request: ListRuns, before: AnyPlace | None, limit: int) -> dict[str, Any]:
    """Return what the statements are given, of which each reads what it names."""
    given: dict[str, Any] = {
        **values(request),
        "namespace": namespace,
        "since": "-infinity" if request.since is None else _time(request.since),
        "until": "infinity" if request.before is None else _time(request.before),
        "created": _time(before.created) if isinstance(before, Place) else "infinity",
        "id": before.id if isinstance(before, Place) else _END_OF_IDS,
        "limit": limit,
        "kinds": [False] if request.roots else [False, True],
        "parent": request.parent,
        "resting": _of(request, RESTING),
        "ended": _of(request, TERMINAL),
    }
    if (prefix := request.key_prefix) is not None:
        key, workflow = before if isinstance(before, KeyPlace) else ("", "")
        given |= {"after_key": key, "after_workflow": workflow, "first_key": max(prefix, key)}
        given["last_key"] = prefix + _LAST_CHARACTER * KEY_CHARS
    if _sources(request) == [_LABELLED]:
        given["name"], given["value"] = await _rarest(pool, namespace, request.labels)
    return given


def _found(request: ListRuns, told: str) -> str:
    sources = " UNION ALL ".join(f"({source})" for source in _sources(request))
    return f"WITH RECURSIVE {_QUEUES}, candidates AS ({sources}) {told}"


def _sources(request: ListRuns) -> list[str]:
    """Return where the runs stand that are asked for, each `limit` of them from where the page begins."""
    if request.parent is not None:
        return [_OF_PARENT]
    if request.key is not None:
        return [_KEYED]
    if request.key_prefix is not None:
        return [_BY_PREFIX]
    if request.labels:
        return [_LABELLED]
    if not request.states and request.workflow is None:
        return [_ALL]
    states = frozenset(request.states or State)
    by_states = {_ENDED: TERMINAL, _AT_REST: RESTING, _QUEUED: {State.QUEUED}, _RUNNING: {State.RUNNING}}
    return [source for source, of in by_states.items() if states & of]


def _of(request: ListRuns, states: Collection[State]) -> list[str]:
    return [state.value for state in request.states or State if state in states]


def _beside(request: ListRuns) -> list[str]:
    """Return what is still to be asked of runs that stand where `_sources` has found them."""
    led_by = _LED_BY.get(_sources(request)[0], _LED_BY_STATES)
    if _sources(request) == [_LABELLED] and len(request.labels) == 1:
        led_by = led_by | {"labels"}
    asked = conditions(request, led_by=led_by)
    return ["r.id IS NOT NULL", *asked] if order_of(request) is BY_KEY else asked


def _all_of(asked: Sequence[str]) -> str:
    return " AND ".join(asked) or "true"


async def _rarest(pool: Pool, namespace: str, labels: Mapping[str, str]) -> tuple[str, str]:
    if len(labels) == 1:
        return next(iter(labels.items()))
    given = {"namespace": namespace, "names": list(labels), "texts": list(labels.values())}
    ((name, value),) = await _read(pool, _RAREST, given)
    return name, value


async def find_ending(pool: Pool, namespace: str, digits: str, *, limit: int) -> list[str]:
    """Return ids that end with `digits`: 8 or more, without hyphens."""
    rows = await _read(pool, _ENDING, {"namespace": namespace, "digits": digits, "limit": limit})
    return [run_id for (run_id,) in rows]


def _time(microseconds: int) -> str:
    return to_datetime(max(microseconds, 0)).isoformat()


async def _read(pool: Pool, statement: str, given: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    named = given.keys() & set(re.findall(r":(\w+)", statement))
    return await pool.read(sa.text(statement).bindparams(**{name: given[name] for name in named}))
