"""Own what a play comes to for those who compare two of them: what it was answered, and the life of each run.

Both are as clients see them. Ids, moments and keys are those that were given, since a test has both engines make the
same ones; only a person's retry has an id by chance, and is called after its origin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from difflib import unified_diff
from typing import Any, Final

from aiki import Client, RunStatus
from aiki.client.history import HistoryEntry
from aiki.core.states import ENQUEUED, TOLD, Move

_RESTS: Final = (Move.WAIT, Move.SLEEP, Move.RETRY)
_WAKES: Final = (Move.ARRIVE, Move.DUE)
_COMES: Final = ("event:", "child", "op", "wake")
"""What a run that is woken by an arrival says of it; whatever else wakes it has words of its own."""
_DEADLINE: Final = "its deadline passed"
_NEXT: Final = "\n  "
_NAMESPACE: Final = re.compile(r"\bin namespace '[^']+'")
_IDLE: Final = re.compile(r"('idle': \d+)\d{3}\b")
_WORKER: Final = re.compile(r"\bworker \S+")


@dataclass(frozen=True)
class Told:
    """A play as text, line by line."""

    answers: Sequence[str]
    runs: Mapping[str, list[str]]
    """By what each is called."""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)
    """Those of its root."""

    def lines(self) -> list[str]:
        """Return all of it."""
        stories = (line for name in sorted(self.runs) for line in self.runs[name])
        return [line for text in (*self.answers, *stories) for line in text.splitlines()]


def difference(one: Told, other: Told, *, names: tuple[str, str]) -> str:
    """Return where two plays differ, or nothing."""
    return "\n".join(unified_diff(one.lines(), other.lines(), *names, lineterm="", n=16))


async def told(client: Client, answers: Any) -> Told:
    """Return what a play that was answered so has come to."""
    runs = await _runs(client)
    by_id = {run.run_id: run for run in runs}
    names = {run.run_id: _name(run) for run in runs if run.origin_id != run.run_id}
    return Told(
        [_called(str(one), names) for one in (answers if isinstance(answers, list) else [answers])],
        {
            names.get(run.run_id, run.run_id): [_called(line, names) for line in await _story(client, run)]
            for run in runs
        },
        {names.get(run.run_id, run.run_id): _root(run, by_id).labels for run in runs},
    )


def _root(run: RunStatus, by_id: Mapping[str, RunStatus]) -> RunStatus:
    return run if run.parent_id is None else _root(by_id[run.parent_id], by_id)


async def _runs(client: Client) -> list[RunStatus]:
    ids: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.runs.list(limit=100, cursor=cursor)
        ids += [run.run_id for run in page.runs]
        if (cursor := page.cursor) is None:
            return list(await client.runs.status(ids, follow=False)) if ids else []


async def _story(client: Client, status: RunStatus) -> list[str]:
    members = asdict(status) | {"worker": None, "result_bytes": None, "claims": None}
    members |= {"created_at": _born(status.created_at), "labels": dict(sorted(status.labels.items()))}
    head = f"{status.workflow} is {status.state}:\n  {_words(members, between=_NEXT)}".replace("\\n", _NEXT)
    story = [entry async for entry in client.runs.history(status.run_id)]
    return [head, *map(_line, without_returns(story))]


def without_returns(story: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Leave out each rest that ended at the moment in which it began, and each claim that was given back at once.

    Whether what comes at one moment finds a run at rest already, or still at work, is nobody's affair; nor is whether a
    claim or the word of a deadline, which has an entry, is first.
    """
    kept: list[HistoryEntry] = []
    for entry in story:
        last = kept[-2:]
        if entry.move == TOLD and (entry.reason or "").startswith(_DEADLINE):
            continue
        if entry.move == Move.CLAIM and _was_given_back(last, entry.at):
            del kept[-1]
        elif entry.move == Move.CLAIM and _have_returned(last, entry.at):
            kept[-2:] = [replace(word, move=TOLD, state=None) for word in last[1:] if _has_own_words(word)]
        else:
            kept.append(entry)
    return kept


def _has_own_words(word: HistoryEntry) -> bool:
    return word.reason is not None and not word.reason.startswith((*_COMES, _DEADLINE))


def _was_given_back(last: Sequence[HistoryEntry], at: datetime) -> bool:
    return [(entry.move, entry.at) for entry in last] == [(Move.CLAIM, at), (Move.RELEASE, at)]


def _have_returned(last: Sequence[HistoryEntry], at: datetime) -> bool:
    return [entry.at for entry in last] == [at, at] and last[0].move in _RESTS and last[1].move in _WAKES


def _line(entry: HistoryEntry) -> str:
    at = _born(entry.at) if entry.move == ENQUEUED else entry.at
    return f"    {entry.move}: {_words(asdict(entry) | {'move': None, 'at': at})}"


def _born(at: datetime) -> datetime:
    """Leave out the microseconds by which runs that were made in one commit are in order."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _name(run: RunStatus) -> str:
    return f"{run.origin_id} at attempt {run.attempt} of generation {run.generation}"


def _words(members: dict[str, Any], *, between: str = ", ") -> str:
    found = {name: str(value) for name, value in members.items() if value is not None and value not in ([], {}, ())}
    return _WORKER.sub("worker W", between.join(f"{name}={value}" for name, value in found.items()))


def _called(line: str, names: Mapping[str, str]) -> str:
    for id, name in names.items():
        line = line.replace(id, name)
    return _IDLE.sub(r"\1", _NAMESPACE.sub("in namespace N", line))
