"""An order to many runs that is killed in the middle goes on where it stood when it is typed again: each obeys once."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from functools import partial

import pytest

from aiki import Client, State
from tests.acceptance.cli.conftest import AIKI
from tests.waiting import patient

RUNS = 10
AT_ONCE = 4
"""As many obey in the first second, and then none for the rest of it."""
MEANT = ("--label", "batch=cut")


@pytest.fixture
def ours(aiki, start, namespace):
    """Run `aiki` in a namespace of the test's own, where nobody serves the flows any more."""
    own = {"AIKI_NAMESPACE": namespace}
    known = start("worker", "start", "-m", "flows", env=own)
    known.wait_for_log("serves")
    known.close()
    return partial(aiki, env=own)


@pytest.fixture
def cut_off(ours, environment, flows, namespace):
    """Kill an order in the middle, and return its lines before that and those of its repeat."""

    def order(*words: str) -> tuple[list[str], list[str]]:
        typed = [*words, *MEANT, "--yes", "-o", "jsonl"]
        process = subprocess.Popen(
            [*AIKI, *typed, "--per-second", str(AT_ONCE)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "AIKI_NAMESPACE": namespace},
            cwd=flows,
            text=True,
        )
        assert process.stdout is not None
        before = [process.stdout.readline() for _ in range(AT_ONCE)]
        process.kill()
        process.communicate(timeout=patient(30))
        again = ours(*typed)
        assert again.code == 0, again.err
        return before, again.lines

    return order


def told(lines: list[str], outcome: str) -> list[str]:
    return [one["id"] for one in map(json.loads, lines) if one["outcome"] == outcome]


def test_what_was_cut_off_goes_on_where_it_stood_and_does_nothing_twice(ours, cut_off, environment, namespace, flows):
    (flows / "rows.jsonl").write_text("{}\n" * RUNS)
    ids = ours("enqueue", "asking", "--from", "rows.jsonl", *MEANT, "--delay", "1h", "-o", "ids").lines
    assert len(ids) == RUNS

    before, after = cut_off("event", "send", "voted", "by=all")
    assert sorted(told(before, "sent") + told(after, "sent")) == sorted(ids)
    assert told(after, "repeated") == told(before, "sent"), "who had it already has it once"
    for order, outcome in (("pause", "paused"), ("resume", "resumed"), ("cancel", "cancelled"), ("retry", "retried")):
        before, after = cut_off("run", order)
        assert sorted(told(before, outcome) + told(after, outcome)) == sorted(ids), order
        assert len(told(after, outcome)) == RUNS - AT_ONCE, order
    moves, unread, runs = asyncio.run(_looked_at(environment["AIKI_URL"], namespace, ids))
    assert {moves[move] for move in ("enqueued", "pause", "resume", "cancel")} == {RUNS}, moves
    assert unread == {1}, "the event goes along with each retry, once"
    assert runs == 2 * RUNS, "one retry a run"
    assert ours("run", "cancel", *MEANT, "--force", "--yes").code == 0
    before, after = cut_off("run", "delete")
    assert sum(json.loads(line)["runs"] for line in (*before, *after)) == 2 * RUNS
    assert ours("run", "list", *MEANT, "--count").lines == ["0"]


async def _looked_at(url: str, namespace: str, ids: list[str]) -> tuple[Counter[str], set[int], int]:
    """Return what happened to runs, how many events each of their retries has unread, and how many runs there are."""
    moves: Counter[str] = Counter()
    async with Client.connect(url, namespace=namespace) as client:
        for run_id in ids:
            moves.update([entry.move async for entry in client.runs.history(run_id)])
        retries = await client.runs.list(labels={"batch": "cut"}, states=[State.QUEUED, State.SCHEDULED])
        unread = {run.unread for run in retries.runs}
        count = await client.runs.count(labels={"batch": "cut"})
    return moves, unread, count.runs
