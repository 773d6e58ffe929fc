"""Own finished runs in any number, written by COPY straight into an empty database, and the rows beside them.

They are those of one busy day of a namespace, and are as those that came the ordinary way, each with an entry and with
what only readers ask for, but without their stories, and parents do not count their children. Half of them are
children: of one run of their ten, and every tenth of the first run of all. Another namespace has every tenth.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any, Final

import psycopg

from aiki.core.ids import uuid7

NAMESPACE: Final = "default"
OTHER: Final = "other"
WORKFLOWS: Final = ("process_order", "send_invoice", "sync_stock")
VERSION: Final = "1.0"
OLD: Final = (WORKFLOWS[2], "0.9")
"""The only route of another version: every OLD_EVERY of all."""
OLD_EVERY: Final = 30
ROUTES: Final = (*((workflow, VERSION) for workflow in WORKFLOWS), OLD)
KEY: Final = "order-{:09}"
"""The idempotency keys of every other run, by their numbers."""
ERRORS: Final = ("E", "TimeoutError")
"""The types of errors, in turn."""
FAILED_EVERY: Final = 50
CANCELLED_EVERY: Final = 1_000
LABELLED_EVERY: Final = 10
CUSTOMERS: Final = 100
PARENTS: Final = {4: 3, 5: 3, 6: 3, 7: 3, 8: 0}
"""Whose children runs are, by the last digits of their numbers: of the last with that digit, or the very first."""
_DAY_US: Final = 86_400_000_000
_PART: Final = 100_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_RUNS: Final = """
COPY aiki.runs (id, origin_id, namespace, workflow, version, state, epoch, history_seq, created_at, started_at,
  finished_at, labels, input, output, error, parent_id, key, digest) FROM STDIN
"""
_ENTRIES: Final = "COPY aiki.journal (run_id, seq, ok, at_us, key, value) FROM STDIN"
_LISTING: Final = "COPY aiki.listing (namespace, created_at, run_id, tail, is_child) FROM STDIN"
_CHILDREN: Final = """
COPY aiki.children (parent_id, start_id, run_id, generation, owned, parent_close, created_at) FROM STDIN
"""
_LABELS: Final = "COPY aiki.labels (namespace, name, value, created_at, run_id) FROM STDIN"
_ENDED: Final = "COPY aiki.ended (namespace, workflow, version, state, created_at, run_id) FROM STDIN"
_KEYS: Final = "COPY aiki.keys (namespace, workflow, key, run_id, digest) FROM STDIN"
_ROUTES: Final = "INSERT INTO aiki.routes (namespace, workflow, version) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended."""

    id: str
    namespace: str
    workflow: str
    version: str
    state: str
    at: str
    at_us: int
    labels: dict[str, str]
    parent: str | None
    key: str | None
    error: str


def load(database_url: str, count: int) -> None:
    """Write `count` runs of NAMESPACE and OTHER that ended in the last day, oldest first, and vacuum them."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        (now,) = connection.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint").fetchone() or (0,)
        for namespace in (NAMESPACE, OTHER):
            for workflow, version in ROUTES:
                connection.execute(_ROUTES, (namespace, workflow, version))
        begin, step = now - _DAY_US, _DAY_US // count
        runs = _runs((number, begin + number * step) for number in range(count))
        while part := list(islice(runs, _PART)):
            _write(connection, part)
        connection.execute("VACUUM (ANALYZE)")


def _runs(times: Iterable[tuple[int, int]]) -> Iterator[Finished]:
    random = Random(1)
    known: dict[int, str] = {}
    for number, at_us in times:
        digit = number % 10
        run = _run(number, at_us, random, known.get(PARENTS.get(digit, -1)))
        if digit or not number:
            known[digit] = run.id
        yield run


def _run(number: int, at_us: int, random: Random, parent: str | None) -> Finished:
    state = "cancelled" if number % CANCELLED_EVERY == 1 else "failed" if number % FAILED_EVERY == 2 else "completed"
    route = WORKFLOWS[number % len(WORKFLOWS)], VERSION
    return Finished(
        str(uuid7(milliseconds=at_us // 1000, random_bits=random.getrandbits(74))),
        OTHER if number % 10 == 9 else NAMESPACE,
        *(OLD if number % OLD_EVERY == WORKFLOWS.index(OLD[0]) else route),
        state,
        (_EPOCH + timedelta(microseconds=at_us)).isoformat(),
        at_us,
        {"env": "prod", "customer": f"c{number % CUSTOMERS}"} if number % LABELLED_EVERY == 0 else {},
        parent,
        KEY.format(number) if number % 2 else None,
        ERRORS[number // FAILED_EVERY % len(ERRORS)],
    )


def _write(connection: psycopg.Connection[Any], runs: list[Finished]) -> None:
    _copy(connection, _RUNS, map(_row, runs))
    _copy(connection, _ENTRIES, ((r.id, 1, "t", r.at_us, "task:charge:0:1", _bytea(b'{"paid":true}')) for r in runs))
    _copy(connection, _LISTING, ((r.namespace, r.at, r.id, _tail(r.id), r.parent is not None) for r in runs))
    children = ((r.parent, r.id, r.id, 0, "t", "cancel", r.at) for r in runs if r.parent is not None)
    _copy(connection, _CHILDREN, children)
    labels = ((r.namespace, name, value, r.at, r.id) for r in runs for name, value in r.labels.items())
    _copy(connection, _LABELS, labels)
    _copy(connection, _ENDED, ((r.namespace, r.workflow, r.version, r.state, r.at, r.id) for r in runs))
    _copy(connection, _KEYS, ((r.namespace, r.workflow, r.key, r.id, _DIGEST) for r in runs if r.key is not None))


def _copy(connection: psycopg.Connection[Any], statement: str, rows: Iterable[Iterable[object]]) -> None:
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        copy.write(text)


def _tail(run_id: str) -> int:
    digits = int(run_id[-8:], 16)
    return digits - (1 << 32) if digits >> 31 else digits


def _bytea(value: bytes) -> str:
    return rf"\\x{value.hex()}"


def _row(run: Finished) -> tuple[object, ...]:
    error = _bytea(json.dumps({"type": run.error, "message": "m"}, separators=(",", ":")).encode())
    output, error = (_OUTPUT, _NULL) if run.state == "completed" else (_NULL, error)
    labels = json.dumps(run.labels) if run.labels else _NULL
    times = (run.at,) * 3
    return (
        run.id,
        run.id,
        run.namespace,
        run.workflow,
        run.version,
        run.state,
        1,
        2,
        *times,
        labels,
        _INPUT,
        output,
        error,
        run.parent or _NULL,
        run.key or _NULL,
        _DIGEST if run.key else _NULL,
    )


_NULL: Final = r"\N"
_INPUT: Final = _bytea(json.dumps({"a": "x" * 90}).encode())
_OUTPUT: Final = _bytea(b'"done"')
_DIGEST: Final = "0" * 32
