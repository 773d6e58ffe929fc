"""`aiki event send`: to runs that are named or found, what is said of each, and the exit codes."""

from __future__ import annotations

import json

import pytest

NOBODY = "01900000-0000-7000-8000-000000000000"


@pytest.fixture
def asking(aiki, worker):
    """Enqueue runs that wait for `approved`, and return their ids."""

    def enqueue(count: int = 1, *words: str) -> list[str]:
        return [aiki("enqueue", "asking", *words).lines[0] for _ in range(count)]

    return enqueue


def test_an_event_wakes_the_run_that_waits_for_it(aiki, asking):
    (run_id,) = asking()
    done = aiki("event", "send", run_id, "approved", "-p", '"alice"')
    assert (done.code, done.lines) == (0, [run_id]), done.err
    assert aiki("wait", run_id, "--timeout", "1m").lines == ['"approved by alice"']


def test_the_members_of_a_value_are_words_and_the_payload_comes_from_a_file_or_a_pipe(aiki, asking, flows):
    (run_id,) = asking()
    (flows / "vote.json").write_text('{"by": "nobody", "weight": 3}')
    for words, stdin in [
        (["by=alice", "weight:=2"], ""),
        (["-p", "@vote.json", "by=bob"], ""),
        (["-p", "-"], '{"by": "carol"}'),
    ]:
        assert aiki("event", "send", run_id, "voted", *words, stdin=stdin).code == 0
    story = aiki("run", "history", run_id, "-o", "json").json["history"]
    unread = [line["value"] for line in story if line["move"] == "event"]
    assert unread == [{"by": "alice", "weight": 2}, {"by": "bob", "weight": 3}, {"by": "carol"}]
    assert aiki("status", run_id, "-o", "json").json["unread"] == 3
    assert "3 events" in aiki("status", run_id, "-o", "table").out


def test_what_the_workflow_does_not_take_is_refused_with_what_was_meant(aiki, asking):
    (run_id,) = asking()
    unknown = aiki("event", "send", run_id, "aproved")
    assert (unknown.code, unknown.out) == (5, "")
    assert "declares no event 'aproved': did you mean 'approved'?" in unknown.err
    misfit = aiki("event", "send", run_id, "voted", "by=alice", "weight=two")
    assert (misfit.code, misfit.out) == (65, "")
    assert "$.weight: must be integer, not 'two', in event 'voted' of 'asking' 1" in misfit.err
    text = aiki("event", "send", run_id, "approved", "-p", "alice")
    assert text.code == 65
    assert "hint: -p '\"alice\"'" in text.err


def test_a_value_that_does_not_fit_the_last_of_thousands_is_sent_to_none(aiki, asking):
    takes_any = aiki("enqueue", "sleeper").lines[0]
    unknown = [f"01900000-0000-7000-8000-{n:012x}" for n in range(2_000)]
    done = aiki("event", "send", takes_any, *unknown, *asking(), "voted", "weight=two")
    assert (done.code, done.out) == (65, "")
    assert "in event 'voted' of 'asking' 1" in done.err
    assert aiki("status", takes_any, "-o", "json").json["unread"] == 0


def test_a_key_is_taken_once_and_conflicts_with_another_value(aiki, asking):
    (run_id,) = asking()
    vote = ("event", "send", run_id, "voted", "--key", "click-7", "-o", "json")
    assert aiki(*vote, "by=alice").json == {"id": run_id, "outcome": "sent", "error": None}
    assert aiki(*vote, "by=alice").json == {"id": run_id, "outcome": "repeated", "error": None}
    conflict = aiki(*vote, "by=bob")
    assert (conflict.code, conflict.json["outcome"], conflict.json["error"]["code"]) == (6, "refused", "conflict")


def test_of_several_runs_each_has_its_line_and_the_highest_code_counts(aiki, asking):
    first, second = asking(2)
    ended = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    done = aiki("event", "send", first, second, ended, NOBODY, "approved", "-p", '"alice"')
    assert done.code == 6
    outcomes = [line.split("\t")[:2] for line in done.lines]
    assert outcomes == [[first, "sent"], [second, "sent"], [ended, "refused"], [NOBODY, "refused"]]
    assert "it is completed" in done.lines[2]
    late = aiki("event", "send", ended, "approved", "-p", '"alice"')
    assert (late.code, f"hint: aiki status {ended}" in late.err) == (6, True)
    assert "2 sent, 2 refused" in done.err


def test_runs_that_are_filtered_are_counted_and_sent_to_only_with_a_yes(aiki, asking):
    runs = asking(3, "--label", "batch=b-7")
    words = ("event", "send", "--workflow", "asking", "--label", "batch=b-7", "approved", "-p", '"all"')
    counted = aiki(*words)
    assert (counted.code, counted.out) == (2, "")
    assert "3 runs would be sent 'approved', and none was" in counted.err
    sent = aiki(*words, "--yes", "-o", "ids")
    assert (sent.code, sorted(sent.lines)) == (0, sorted(runs))
    for run_id in runs:
        assert aiki("wait", run_id, "--timeout", "1m").code == 0
    for matchless in (words, (*words, "--yes")):
        assert "no run matches" in aiki(*matchless).err


def test_a_bulk_send_that_is_repeated_sends_no_run_the_event_twice(aiki, asking):
    runs = asking(2, "--label", "batch=b-8")
    words = ("event", "send", "--label", "batch=b-8", "voted", "by=all", "--yes", "-o", "jsonl")
    assert [line["outcome"] for line in map(json.loads, aiki(*words).lines)] == ["sent"] * len(runs)
    assert [line["outcome"] for line in map(json.loads, aiki(*words).lines)] == ["repeated"] * len(runs)
    assert [line["outcome"] for line in map(json.loads, aiki(*words, "--key", "again").lines)] == ["sent"] * len(runs)


def test_words_that_say_too_little_or_too_much_are_usage(aiki):
    nobody = aiki("event", "send", "approved")
    assert (nobody.code, "no run is named" in nobody.err) == (2, True)
    both = aiki("event", "send", NOBODY, "approved", "--state", "waiting")
    assert (both.code, "name runs, or filter them" in both.err) == (2, True)
    assert aiki("event", "send", "a=b").code == 2


def test_without_a_daemon_it_is_unreachable(aiki):
    assert aiki("event", "send", NOBODY, "approved", env={"AIKI_URL": "nats://127.0.0.1:9"}).code == 69
