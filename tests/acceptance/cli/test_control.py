"""`aiki run pause`, `resume`, `wake` and `cancel`: an outcome for each run, and what a script makes of it."""

from __future__ import annotations

from functools import partial

UNKNOWN = "01900000-0000-7000-8000-000000000000"
LATER = ("--delay", "1h")


def test_several_runs_are_paused_and_go_on_each_with_its_line(aiki, own):
    aiki = partial(aiki, env=own)
    ids = [aiki("enqueue", "hello", *LATER).lines[0] for _ in range(2)]
    ended = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    paused = aiki("run", "pause", ids[0], UNKNOWN, ended, ids[1])
    assert paused.code == 6, "the highest: it is too late for one, and another is not known"
    assert [line.split("\t")[:2] for line in paused.lines] == [
        [ids[0], "paused"],
        [UNKNOWN, ""],
        [ended, ""],
        [ids[1], "paused"],
    ]
    assert "too late to pause" in paused.lines[2]
    assert aiki("wait", ids[0]).code == 7
    assert aiki("run", "pause", *ids).code == 0, "again is no error"
    runs = aiki("run", "resume", *ids, "-o", "json").json["runs"]
    assert [run["state"] for run in runs] == ["scheduled", "scheduled"], "they are not due yet"
    runs = aiki("run", "wake", *ids, "-o", "json").json["runs"]
    assert [run["id"] for run in runs] == ids
    assert aiki("wait", *ids).code == 0
    moves = [entry["move"] for entry in aiki("run", "history", ids[0], "-o", "json").json["history"]]
    assert moves[:6] == ["enqueued", "pause", "resume", "defer", "wake", "claim"]


def test_one_run_that_does_not_obey_is_an_error(aiki, worker):
    ended = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    for order in ("pause", "resume", "wake"):
        refused = aiki("run", order, ended)
        assert (refused.code, refused.out) == (6, "")
        assert f"too late to {order} it" in refused.err
    assert aiki("run", "pause", UNKNOWN).code == 5


def test_a_pause_is_told_with_who_wanted_it(aiki, worker):
    run_id = aiki("enqueue", "hello", *LATER).lines[0]
    run = aiki("run", "pause", run_id, "-o", "json").json
    assert run["why"].endswith("wants it paused")
    assert "paused" in aiki("run", "show", run_id, "-o", "table").out
    assert aiki("run", "resume", run_id, "-o", "json").json["why"] is None


def test_a_cancel_says_how_the_run_has_ended(aiki, worker):
    sleeping = aiki("enqueue", "sleeper").lines[0]
    later = aiki("enqueue", "hello", *LATER).lines[0]
    cancelled = aiki("run", "cancel", sleeping, later, "--reason", "wrong address", "-o", "json").json["runs"]
    assert [run["state"] for run in cancelled] == ["cancelled"] * 2
    assert all(run["why"].endswith("wants it cancelled: wrong address") for run in cancelled)
    assert aiki("wait", sleeping).code == 3
    assert aiki("run", "cancel", sleeping).code == 0, "again is no error"
    ended = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    late = aiki("run", "cancel", ended)
    assert (late.code, "too late to cancel it" in late.err) == (6, True)


def test_a_cancel_waits_no_longer_than_it_was_told_to(aiki, worker):
    sleeping = aiki("enqueue", "sleeper").lines[0]
    assert aiki("run", "cancel", sleeping, "--wait", "0s", "-o", "ids").lines == [sleeping]
    assert aiki("wait", sleeping).code == 3
    for wait in ("soon", "nan", "-1s", "1000000000d"):
        assert aiki("run", "cancel", sleeping, "--wait", wait).code == 2
