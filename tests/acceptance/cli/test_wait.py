"""`aiki wait`, and `--wait`: what came of runs, and the exit code that tells it."""

from __future__ import annotations

import asyncio
import json

import pytest

from aiki import Client, NotFound
from aiki_cli.commands import waiting

HELLO = ["hello"]
FAILING = ["failing", "reason=no luck"]


def test_a_failed_run_is_exit_code_1_with_its_error(aiki, worker):
    done = aiki("enqueue", "failing", "reason=no luck", "--wait")
    assert (done.code, done.out) == (1, "")
    assert "\nerror: run " in done.err
    assert "no luck" in done.err
    shown = aiki("enqueue", "failing", "reason=no luck", "--wait", "-o", "json")
    assert (shown.code, shown.json["outcome"]) == (1, "failed")
    assert "no luck" in shown.json["error"]["message"]


def test_our_timeout_is_not_the_runs(aiki, worker):
    done = aiki("enqueue", "sleeper", "--wait", "--timeout", "300ms")
    assert done.code == 124
    assert "it goes on" in done.err


def test_several_waits_print_a_line_each_and_the_highest_code(aiki, worker):
    good = aiki("enqueue", "hello").lines[0]
    bad = aiki("enqueue", "failing", "reason=x").lines[0]
    slow = aiki("enqueue", "sleeper").lines[0]
    done = aiki("wait", good, bad)
    assert done.code == 1
    assert {tuple(line.split("\t")[:2]) for line in done.lines} == {(good, "completed"), (bad, "failed")}
    assert aiki("wait", good, slow, "--timeout", "200ms").code == 124
    first = aiki("wait", slow, good, "--any")
    assert (first.code, [line.split("\t")[0] for line in first.lines]) == (0, [good])


def test_an_unknown_run_is_exit_code_5(aiki, worker):
    done = aiki("wait", "0199aaaa-0000-7000-8000-000000000000")
    assert done.code == 5
    assert aiki("status", "hello@nobody").code == 5


def test_runs_are_waited_for_by_what_they_are_also_those_that_have_ended(aiki, own, flows):
    gate = flows / "gate"
    good, bad = (aiki("enqueue", *words, "--label", "batch=7", env=own).lines[0] for words in (HELLO, FAILING))
    assert aiki("wait", good, bad, env=own).code == 1
    held = aiki("enqueue", "held", f"gate={gate}", "--label", "batch=7", env=own).lines[0]
    aiki("enqueue", "sleeper", "--label", "batch=8", env=own)
    late = aiki("wait", "--label", "batch=7", "--timeout", "300ms", env=own)
    assert late.code == 124
    assert {tuple(line.split("\t")[:2]) for line in late.lines} == {
        (good, "completed"),
        (bad, "failed"),
        (held, "timeout"),
    }
    assert "\nerror: not all of 3 runs completed: " in late.err
    assert all(told in late.err for told in ("1 completed", "1 failed", "1 still going"))
    gate.touch()
    by_workflow = aiki("wait", "--workflow", "held", "--label", "batch=7", "-o", "json", env=own)
    assert (by_workflow.code, by_workflow.json) == (
        0,
        {"runs": [{"id": held, "outcome": "completed", "result": "open", "error": None}]},
    )
    assert aiki("wait", "--label", "batch=7", "--state", "completed", "-o", "ids", env=own).code == 0
    first = aiki("wait", "--label", "batch=7", "--since", "1h", "--any", env=own)
    assert len(first.lines) == 1


def test_that_no_run_matches_is_no_success(aiki, own):
    done = aiki("wait", "--label", "batch=typo", env=own)
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("error: no run matches, so there is nothing to wait for\n")
    assert aiki("wait", "--from", "-", env=own).code == 5


def test_runs_are_read_from_what_enqueue_printed(aiki, own, flows):
    rows = '{"name": "a"}\n{"nam": "b"}\n{"name": "c"}\n'
    sent = aiki("enqueue", "hello", "--from", "-", "--label", "x=1", "-o", "jsonl", stdin=rows, env=own)
    ids = aiki("run", "list", "--label", "x=1", "-o", "ids", env=own).out
    for text in (sent.out, ids, f"\ufeff{ids}".replace("\n", "\r\n\r\n"), ids + ids):
        done = aiki("wait", "--from", "-", stdin=text, env=own)
        assert (done.code, {line.split("\t")[2] for line in done.lines}) == (0, {"HELLO A", "HELLO C"})
        assert len(done.lines) == 2
        assert ("1 row of - was refused" in done.err) == (text == sent.out)
    (flows / "ids").write_text(f"{ids}0199aaaa-0000-7000-8000-000000000000\n")
    lost = aiki("wait", "--from", "ids", "-o", "jsonl", env=own)
    assert lost.code == 5
    assert sorted(json.loads(line)["outcome"] for line in lost.lines) == ["completed", "completed", "not_found"]
    assert aiki("wait", "--from", "-", stdin="hello@nobody\n", env=own).code == 5


def test_what_names_no_run_is_refused_before_anything_is_waited_for(aiki, own, flows):
    for line, says in (
        ("hello", "'hello' names no run, and expected an id or workflow@key"),
        ('{"name": "a"}', "names no run, and expected its id"),
        ('{"id": 7}', "names no run, and expected its id"),
        ('{"id": "x"', "is not JSON"),
    ):
        done = aiki("wait", "--from", "-", stdin=f"\n{line}\n", env=own)
        assert (done.code, done.out) == (65, "")
        assert "-, line 2" in done.err
        assert says in done.err
    assert aiki("wait", "--from", "missing", env=own).code == 66
    (flows / "latin").write_bytes(b"\xe9\n")
    assert aiki("wait", "--from", "latin", env=own).code == 65
    for words in ([], ["hello@x", "--label", "a=b"], ["--from", "-", "--label", "a=b"], ["hello@x", "--from", "-"]):
        assert aiki("wait", *words, env=own).code == 2
    assert aiki("wait", "--label", "batch", env=own).code == 2
    assert aiki("wait", "hello@x", "--timeout", "soon", env=own).code == 2


def test_a_run_that_does_not_end_gives_up_its_place_and_none_is_lost(
    aiki, own, flows, environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PLACES", 1)
    monkeypatch.setattr(waiting, "TURN_SECONDS", 0.05)
    gate = flows / "gate"
    held = aiki("enqueue", "held", f"gate={gate}", env=own).lines[0]
    ended = [aiki("enqueue", "hello", "--wait", "-o", "ids", env=own).lines[0] for _ in range(2)]
    unknown = "0199aaaa-0000-7000-8000-000000000000"

    async def told() -> None:
        async with Client.connect(environment["AIKI_URL"], namespace=own["AIKI_NAMESPACE"]) as client:
            coming = waiting.outcomes(client, [held, *ended, unknown], seconds=None)
            first = [(await anext(coming))[0] for _ in range(3)]
            assert set(first) == {*ended, unknown}
            gate.touch()
            assert [outcome async for outcome in coming] == [(held, "open")]
            late = [outcome async for outcome in waiting.outcomes(client, [*ended, unknown], seconds=0.0)]
            assert {run_id: type(result) for run_id, result in late} == {
                ended[0]: str,
                ended[1]: str,
                unknown: NotFound,
            }, "they have ended, though time is up before they had a place"

    asyncio.run(told())
