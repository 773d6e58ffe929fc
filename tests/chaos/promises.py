"""Own the check of promises P1 to P7, and of a worker's slots: from the ledger and from Postgres itself, never by Aiki.

`violations` is pure and knows only the promises. Times of commits come from `pg_xact_commit_timestamp` of the rows'
transactions, so the servers must run with `track_commit_timestamp = on`; the ledger is written on the same machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import msgspec
import psycopg

from aiki.core.states import TERMINAL, TOLD, Move, State, target
from tests.chaos import heard, kin
from tests.chaos.kin import KIN, Kin
from tests.chaos.ledger import Effect

ENDS: Final = {
    Move.COMPLETE: State.COMPLETED,
    Move.FAIL: State.FAILED,
    Move.CANCEL: State.CANCELLED,
    Move.TIME_OUT: State.FAILED,
}
CUT_OFF: Final = frozenset({Move.RESCUE, Move.BACK_OFF, Move.CRASH_LOOP})
"""How a claim ends whose worker died or was cut off; only after these may a task body that began run again."""
LEFT: Final = ("its worker left",)
"""Reasons of a release that cuts a worker off as well: it closed its session and still held the run."""


@dataclass(frozen=True)
class RunRow:
    """A run as it stands."""

    id: str
    workflow: str
    state: str
    key: str | None
    output: Any
    parent_id: str | None = None
    origin_id: str | None = None
    """The first run of which it is a retry, itself if it is none."""

    @property
    def is_enqueued(self) -> bool:
        """Whether somebody outside has asked for it."""
        return self.parent_id is None and self.origin_id in (None, self.id)


@dataclass(frozen=True)
class HistoryRow:
    """A transition; `committed` is when, in µs."""

    run_id: str
    event: str
    actor: str | None
    reason: str | None
    committed: int


@dataclass(frozen=True)
class JournalRow:
    """An outcome; `by` is the worker that made it, if its value says so."""

    run_id: str
    key: str
    by: str | None
    committed: int
    ok: bool = True


@dataclass(frozen=True)
class Evidence:
    """All that is known after a scenario."""

    runs: Sequence[RunRow]
    history: Sequence[HistoryRow]
    journal: Sequence[JournalRow]
    effects: Sequence[Effect]
    kin: Sequence[Kin] = ()


@dataclass
class Expected:
    """What callers were told: run ids with the results that they must come to, and ids by idempotency key."""

    results: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=dict)
    unknown: int = 0
    """Enqueues whose caller died before it was answered: each may have made a run or not."""
    drained: set[str] = field(default_factory=set)
    """Workers that were told to stop and whose tasks took longer than they were given."""
    slots: dict[str, int] = field(default_factory=dict)
    """How many runs each worker may have active at once."""
    events: list[heard.Accepted] = field(default_factory=list)
    """What runs were sent, and somebody was told that they have."""
    ends: dict[str, State] = field(default_factory=dict)
    """How runs must end that are told to."""


@dataclass(frozen=True)
class Period:
    """One claim: who held the run, from when to when, and how it ended."""

    worker: str | None
    since: int
    until: int
    end: str
    reason: str | None


@dataclass(frozen=True)
class Summary:
    """What a scenario amounted to, so that a test can see that it did not pass for lack of events."""

    runs: int
    starts: int
    repeats: int
    takeovers: int
    most_at_once: int
    """Runs with a body at work at the same time in one worker."""
    events: int = 0
    """That runs have taken, as they had to."""


def check_promises(database_url: str, namespace: str, effects: Sequence[Effect], expected: Expected) -> Summary:
    """Read the database and raise AssertionError with every violation. Returns what the scenario amounted to."""
    evidence = gather(database_url, namespace, effects)
    found = violations(evidence, expected)
    if found:
        shown = "\n".join(found[:20])
        raise AssertionError(f"{len(found)} violations:\n{shown}\n{_stories(evidence, found)}")
    starts = [effect for effect in effects if effect.event == "start"]
    return Summary(
        runs=len(evidence.runs),
        starts=len(starts),
        repeats=len(starts) - len({(start.run_id, start.key) for start in starts}),
        takeovers=sum(row.event in CUT_OFF for row in evidence.history),
        most_at_once=max(_most_at_once(evidence, _periods(evidence.history)).values(), default=0),
        events=len(expected.events),
    )


def gather(database_url: str, namespace: str, effects: Sequence[Effect]) -> Evidence:
    """Read everything about a namespace's runs."""
    committed = "(extract(epoch FROM pg_xact_commit_timestamp({0}.xmin)) * 1000000)::bigint"
    mine = "(SELECT id FROM aiki.runs WHERE namespace = %s)"
    with psycopg.connect(database_url, autocommit=True) as connection:
        runs = connection.execute(
            "SELECT id::text, workflow, state, key, output, parent_id::text, origin_id::text FROM aiki.runs"
            " WHERE namespace = %s",
            [namespace],
        ).fetchall()
        family = connection.execute(KIN, [namespace]).fetchall()
        history = connection.execute(
            f"SELECT run_id::text, move, actor, reason, {committed.format('h')} FROM aiki.run_history h"
            f" WHERE run_id IN {mine} ORDER BY run_id, seq",
            [namespace],
        ).fetchall()
        journal = connection.execute(
            f"SELECT run_id::text, key, value, {committed.format('j')}, ok FROM aiki.journal j"
            f" WHERE run_id IN {mine} ORDER BY run_id, generation, seq",
            [namespace],
        ).fetchall()
    return Evidence(
        runs=[RunRow(id, flow, state, key, _decoded(output), *kin) for id, flow, state, key, output, *kin in runs],
        history=[HistoryRow(*row) for row in history],
        journal=[JournalRow(row[0], row[1], _author(row[2]), row[3], row[4]) for row in journal],
        effects=effects,
        kin=[Kin(*row) for row in family],
    )


def violations(evidence: Evidence, expected: Expected) -> list[str]:
    """Return every broken promise as a line that begins with its name."""
    periods = _periods(evidence.history)
    return [
        *_kept(evidence, expected),
        *_once(evidence, expected),
        *_one_run_per_key(evidence, expected),
        *_not_again(evidence, periods),
        *_repeats(evidence, periods, expected.drained),
        *_fenced(evidence, periods),
        *_bounded(evidence, periods, expected.slots),
        *heard.violations(evidence.effects, expected.events),
        *heard.regrets(evidence.effects, {run.id for run in evidence.runs if run.state == State.CANCELLED}),
        *kin.violations(evidence),
    ]


def _kept(evidence: Evidence, expected: Expected) -> Iterable[str]:
    states = {run.id: run.state for run in evidence.runs}
    for run_id in (expected.results.keys() | expected.ends.keys()) - states.keys():
        yield f"P1 {run_id}: enqueued, but it does not exist"
    for run_id, state in states.items():
        if State(state) not in TERMINAL:
            yield f"P1 {run_id}: it is {state}"


def _once(evidence: Evidence, expected: Expected) -> Iterable[str]:
    ends: dict[str, list[str]] = defaultdict(list)
    for row in evidence.history:
        if row.event in ENDS:
            ends[row.run_id].append(row.event)
    for run in evidence.runs:
        if State(run.state) in TERMINAL and [target(Move(event)) for event in ends[run.id]] != [run.state]:
            yield f"P4 {run.id}: it is {run.state}, and its history ends {ends[run.id]}"
        if run.state != expected.ends.get(run.id, run.state):
            yield f"P4 {run.id}: it is {run.state}, and was told to end {expected.ends[run.id]}"
        if run.id in expected.results and run.output != expected.results[run.id]:
            yield f"P4 {run.id}: its result is {run.output!r}, not {expected.results[run.id]!r}"


def _one_run_per_key(evidence: Evidence, expected: Expected) -> Iterable[str]:
    for key, ids in expected.keys.items():
        if len(ids) != 1:
            yield f"P5 {key}: callers were told of runs {sorted(ids)}"
    held: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in evidence.runs:
        if run.key is not None:
            held[run.workflow, run.key].append(run.id)
    for (_, key), runs in held.items():
        if len(runs) > 1:
            yield f"P5 {key}: it has runs {sorted(runs)}"
    expected_runs = expected.results.keys() | expected.ends.keys()
    surplus = sum(run.is_enqueued and run.id not in expected_runs for run in evidence.runs)
    if surplus > expected.unknown:
        yield f"P5 {surplus} more runs than were enqueued ({expected.unknown} enqueues without an answer)"


def _not_again(evidence: Evidence, periods: Mapping[str, Sequence[Period]]) -> Iterable[str]:
    committed = {(row.run_id, row.key): row.committed for row in evidence.journal}
    for start in _starts(evidence):
        stands_since = committed.get((start.run_id, start.key))
        period = _period_of(start, periods)
        if period is None:
            yield f"P2 {start.run_id}: {start.worker} began {start.key} without ever having claimed the run"
        elif stands_since is not None and start.at > stands_since:
            late = start.at - stands_since
            yield f"P2 {start.run_id}: {start.worker} began {start.key} {late} µs after its result was committed"


def _repeats(evidence: Evidence, periods: Mapping[str, Sequence[Period]], drained: set[str]) -> Iterable[str]:
    failed = {(e.run_id, e.key, e.attempt, e.worker) for e in evidence.effects if e.event == "error"}
    by_key: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for start in _starts(evidence):
        by_key[start.run_id, start.key].append(start)
    for (run_id, key), starts in by_key.items():
        for first, second in pairwise(starts):
            if (run_id, key, first.attempt, first.worker) in failed:
                continue
            before, after = _period_of(first, periods), _period_of(second, periods)
            if before is None or after is None:
                continue
            left = before.reason in LEFT or before.worker in drained
            cut_off = before.end in CUT_OFF or (before.end == Move.RELEASE and left)
            if before is after or not cut_off:
                yield (
                    f"P3 {run_id}: {key} began at {first.at} by {first.worker} and again at {second.at} by"
                    f" {second.worker}, though the first claim ended by {before.end!r} ({before.reason})"
                )


def _fenced(evidence: Evidence, periods: Mapping[str, Sequence[Period]]) -> Iterable[str]:
    copied = _copied(evidence)
    for row in evidence.journal:
        if row.committed <= copied.get(row.run_id, 0):
            continue
        holding = [p for p in periods.get(row.run_id, ()) if p.since <= row.committed <= p.until]
        if not holding:
            yield f"P7 {row.run_id}: {row.key} was written at {row.committed}, when nobody held the run"
        elif row.by is not None and row.by not in {period.worker for period in holding}:
            yield f"P7 {row.run_id}: {row.key} was written by {row.by} while {holding[0].worker} held the run"


def _copied(evidence: Evidence) -> dict[str, int]:
    """Return when retries were made: they hold from their birth what the run before had come to."""
    retries = {run.id for run in evidence.runs if run.origin_id not in (None, run.id)}
    made: dict[str, int] = {}
    for row in evidence.journal:
        if row.run_id in retries:
            made[row.run_id] = min(row.committed, made.get(row.run_id, row.committed))
    return made


def _bounded(evidence: Evidence, periods: Mapping[str, Sequence[Period]], slots: Mapping[str, int]) -> Iterable[str]:
    for worker, most in _most_at_once(evidence, periods).items():
        if worker in slots and most > slots[worker]:
            yield f"slots {worker}: bodies of {most} runs were at work at once, of at most {slots[worker]}"


def _most_at_once(evidence: Evidence, periods: Mapping[str, Sequence[Period]]) -> dict[str, int]:
    """Return by worker how many of the runs that it held had a body at work at the same time."""
    ends = {(e.run_id, e.key, e.attempt, e.worker): e.at for e in evidence.effects if e.event != "start"}
    changes: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for start in _starts(evidence):
        period = _period_of(start, periods)
        if period is not None:
            ended = ends.get((start.run_id, start.key, start.attempt, start.worker), period.until)
            changes[start.worker] += [(start.at, +1, start.run_id), (min(ended, period.until), -1, start.run_id)]
    return {worker: _highest(sorted(its)) for worker, its in changes.items()}


def _highest(changes: Iterable[tuple[int, int, str]]) -> int:
    at_work: Counter[str] = Counter()
    highest = 0
    for _, change, run_id in changes:
        at_work[run_id] += change
        if not at_work[run_id]:
            del at_work[run_id]
        highest = max(highest, len(at_work))
    return highest


def _periods(history: Sequence[HistoryRow]) -> dict[str, list[Period]]:
    periods: dict[str, list[Period]] = defaultdict(list)
    claim: HistoryRow | None = None
    for row in (row for row in history if row.event != TOLD):  # who is told to end goes on under its claim
        if claim is not None and claim.run_id == row.run_id:
            periods[row.run_id].append(Period(claim.actor, claim.committed, row.committed, row.event, row.reason))
        claim = row if row.event == Move.CLAIM else None
    return periods


def _starts(evidence: Evidence) -> list[Effect]:
    return sorted((effect for effect in evidence.effects if effect.event == "start"), key=lambda effect: effect.at)


def _period_of(start: Effect, periods: Mapping[str, Sequence[Period]]) -> Period | None:
    """Return the claim under which a body began: its worker's last one before."""
    mine = [p for p in periods.get(start.run_id, ()) if p.worker == start.worker and p.since <= start.at]
    return mine[-1] if mine else None


def _decoded(value: bytes | None) -> Any:
    return None if value is None else msgspec.json.decode(value)


def _author(value: bytes) -> str | None:
    decoded = _decoded(value)
    return decoded.get("by") if isinstance(decoded, dict) else None


def _stories(evidence: Evidence, found: Sequence[str]) -> str:
    """Return the story of the first run that a violation names."""
    for run in evidence.runs:
        if any(run.id in line for line in found):
            lines: list[tuple[int, str]] = [
                (row.committed, f"{row.event} {row.actor or ''} {row.reason or ''}")
                for row in evidence.history
                if row.run_id == run.id
            ]
            lines += [(row.committed, f"entry {row.key}") for row in evidence.journal if row.run_id == run.id]
            lines += [(e.at, f"{e.event} {e.key} {e.worker}") for e in evidence.effects if e.run_id == run.id]
            return "\n".join(f"  {at} {text}" for at, text in sorted(lines))
    return ""
