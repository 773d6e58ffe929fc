"""`aiki schedule`: as a script uses it, as a person is told of it, and what is wrong with what was typed."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.acceptance.cli.streams import Stderr
from tests.waiting import patient, wait_until_sync

EVERY = ("--every", "1h", "--anchor", "2026-01-01T00:00Z")


@pytest.fixture
def ours(aiki, own):
    """Run `aiki` in a namespace of the test's own, where a worker serves the flows."""
    return partial(aiki, env=own)


@pytest.fixture
def unserved(aiki, start, namespace):
    """Run `aiki` in a namespace of the test's own, where nobody serves the flows any more."""
    own = {"AIKI_NAMESPACE": namespace}
    known = start("worker", "start", "-m", "flows", env=own)
    known.wait_for_log("serves")
    known.terminate()
    return partial(aiki, env=own)


def ago(hours):
    """Return a moment so many hours ago, at which clocks showed a full hour, as it is typed."""
    moment = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def test_a_script_declares_fires_looks_and_deletes(ours):
    made = ours("schedule", "create", "nightly", "hello", "name=Ada", "--cron", "0 2 * * *", "--label", "team=a")
    assert (made.code, made.lines) == (0, ["nightly"]), made.err
    assert ours("schedule", "trigger", "nightly", "--wait", "--timeout", "60s").lines == ['"HELLO ADA"']
    run_id = ours("schedule", "trigger", "nightly").lines[0]
    assert ours("wait", run_id).lines == ['"HELLO ADA"']
    status = ours("status", run_id, "-o", "json").json
    assert (status["schedule"]["id"], status["labels"]) == ("nightly", {"team": "a"})
    assert "schedule" in ours("run", "show", run_id, "-o", "table").out
    (listed,) = ours("schedule", "list", "-o", "json").json["schedules"]
    assert (listed["name"], listed["state"], listed["payload"]) == ("nightly", "active", {"name": "Ada"})
    slots = ours("schedule", "show", "nightly", "-o", "json").json["slots"]
    assert [(slot["kind"], slot["result"], slot["state"]) for slot in slots] == [
        ("trigger", "started", "completed")
    ] * 2
    assert ours("schedule", "list", "-o", "ids").lines == ["nightly"]
    deleted = ours("schedule", "delete", "nightly", "--yes")
    assert (deleted.code, deleted.lines) == (0, ["nightly\tdeleted\t"])
    assert ours("schedule", "show", "nightly").code == 5
    assert ours("status", run_id).code == 0, "its runs stay"


PIPELINE = """
set -euo pipefail
echo '{"name": "Eve", "times": 2}' | aiki schedule create pulse hello -p - --every 1h --anchor 2026-01-01T00:00Z
aiki schedule list -o ids | xargs aiki schedule pause --note deploy
aiki schedule backfill pulse --from 2026-01-01T00:00Z --to 2026-01-01T02:00Z --yes -o ids | xargs aiki wait | cut -f 2,3
if aiki schedule show nobody -q; then exit 1; else echo "code $?"; fi
"""
PRINTED = """
pulse
pulse|paused|
completed|HELLO EVE HELLO EVE
completed|HELLO EVE HELLO EVE
code 5
"""


def test_commands_make_a_pipeline(environment, own, flows):
    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", PIPELINE],
        env={**environment, **own, "PATH": path},
        cwd=flows,
        capture_output=True,
        text=True,
        timeout=patient(120),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("\t", "|") == PRINTED.lstrip()


def test_an_interval_fires_by_itself_and_each_run_sees_its_own_slot(ours):
    ours("schedule", "create", "pulse", "hello", "--every", "1s")

    def fired():
        slots = ours("schedule", "show", "pulse", "-o", "json").json["slots"]
        return [slot for slot in slots if slot["state"] == "completed"][1:]

    slots = wait_until_sync(fired, 30)
    runs = ours("status", *[slot["run_id"] for slot in slots], "-o", "jsonl").lines
    assert {json.loads(run)["schedule"]["slot"] for run in runs} == {slot["slot"] for slot in slots}


def test_slots_that_pass_while_it_is_paused_are_missed_and_shown_as_one_with_the_reason(ours):
    ours("schedule", "create", "pulse", "hello", "--every", "1s")
    ours("schedule", "pause", "pulse")
    (due,) = ours("schedule", "next", "pulse", "-n", "1", "-o", "ids").lines
    wait_until_sync(lambda: ours("schedule", "next", "pulse", "-n", "1", "-o", "ids").lines[0] > due, 30)
    assert ours("schedule", "resume", "pulse").code == 0
    slots = ours("schedule", "show", "pulse", "-o", "json").json["slots"]
    (missed,) = [slot for slot in slots if slot["result"] == "missed"]
    assert (missed["reason"], missed["count"] >= 1, missed["run_id"]) == ("paused", True, None)
    assert f"{missed['count']:,} missed".removeprefix("1 ") in ours("schedule", "show", "pulse", "-o", "table").out


def test_what_is_said_can_be_tried_without_a_server(aiki):
    nowhere = {"AIKI_URL": "nats://127.0.0.1:1"}
    berlin = ("--cron", "30 1 * * *", "--timezone", "Europe/Berlin")
    done = aiki("schedule", "next", *berlin, "-n", "3", "-o", "json", env=nowhere)
    assert (done.code, len(done.json["firings"])) == (0, 3)
    assert all(one["slot"][11:16] in {"23:30", "00:30"} for one in done.json["firings"])
    for mode in ("tsv", "ids", "jsonl", "table"):
        assert len(aiki("schedule", "next", *EVERY, "-o", mode, env=nowhere).lines) in {5, 7}


def test_a_schedule_says_when_it_fires_next_paused_or_not(ours):
    ours("schedule", "create", "pulse", "hello", *EVERY, "--jitter", "10m")
    before = ours("schedule", "next", "pulse", "-n", "2").lines
    assert ours("schedule", "pause", "pulse", "--note", "holidays").lines == ["pulse\tpaused\t"]
    assert ours("schedule", "next", "pulse", "-n", "2").lines == before
    slot, fires_at = before[0].split("\t")
    assert "00" <= fires_at[14:16] < "10", "by jitter alone"
    assert slot[14:16] == "00"
    (told,) = ours("schedule", "list").lines
    assert told.split("\t")[:2] + told.split("\t")[-1:] == ["pulse", "paused", "holidays"]
    assert "holidays" in ours("schedule", "show", "pulse", "-o", "table").out
    assert ours("schedule", "resume", "pulse", "-o", "json").json["result"] == "resumed"


def test_slots_that_lie_behind_are_counted_first_and_fired_once(ours):
    ours("schedule", "create", "hourly", "hello", *EVERY)
    span = ("--from", ago(4), "--to", ago(1))
    counted = ours("schedule", "backfill", "hourly", *span)
    assert (counted.code, counted.out) == (2, "")
    assert "3 slots of hourly would be fired" in counted.err
    assert "hint: the same again with --yes" in counted.err
    done = ours("schedule", "backfill", "hourly", *span, "--yes", "-o", "json")
    assert [slot["result"] for slot in done.json["slots"]] == ["started"] * 3
    again = ours("schedule", "backfill", "hourly", *span, "--yes", "-o", "ids")
    assert again.lines == [slot["run_id"] for slot in done.json["slots"]]
    assert ours("wait", *again.lines, "--timeout", "60s").code == 0


def test_an_update_changes_what_it_names(ours):
    ours(
        "schedule", "create", "nightly", "hello", "name=Ada", "--cron", "0 2 * * *", "--jitter", "5m", "--label", "a=b"
    )
    done = ours("schedule", "update", "nightly", "times:=2", "--cron", "0 3 * * *", "--jitter", "none", "-o", "json")
    since = done.json
    assert (since["cron"], since["jitter"], since["labels"]) == ("0 3 * * *", 0, {"a": "b"})
    assert since["payload"] == {"name": "Ada", "times": 2}
    since = ours("schedule", "update", "nightly", "--every", "15m", "-p", '{"name": "Eve"}', "-o", "json").json
    assert (since["cron"], since["every"], since["payload"]) == (None, 900, {"name": "Eve"})
    since = ours("schedule", "update", "nightly", "--workflow", "sleeper", "--priority", "3", "-o", "json").json
    assert (since["workflow"], since["payload"], since["priority"]) == ("sleeper", {}, 3)


def test_nobody_who_serves_it_is_said_with_what_to_type(unserved):
    made = unserved("schedule", "create", "nightly", "hello", "--cron", "@daily")
    hint = "no worker serves hello 1, which nightly enqueues: aiki worker start -m MODULE"
    assert hint in made.err
    assert hint in unserved("schedule", "show", "nightly").err
    assert "no worker serves it" in unserved("schedule", "list", "-o", "table").out
    assert unserved("schedule", "list", "-o", "json").json["schedules"][0]["served"] is False


def test_of_several_each_has_its_line_and_the_exit_code_is_the_highest(unserved):
    for name in ("a", "b"):
        unserved("schedule", "create", name, "hello", *EVERY)
    done = unserved("schedule", "pause", "a", "nobody", "b", "-o", "jsonl")
    assert [json.loads(line)["result"] for line in done.lines] == ["paused", "refused", "paused"]
    assert done.code == 5
    assert unserved("schedule", "resume", "a", "b", "-o", "ids").lines == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["show", "nigthly"], 5, "did you mean 'nightly'"),
        (["create", "nightly", "hello", "--every", "2h"], 6, "is there already, and differs"),
        (["create", "other", "hello"], 2, '--cron "0 2 * * *"'),
        (["create", "other", "hello", "--every", "1h", "--cron", "@daily"], 2, "by one of cron, every and at"),
        (["create", "other", "hello", "--cron", "0 25 * * *"], 2, "'25' is no hour"),
        (["create", "other", "hello", "--cron", "0 2 * * *", "--timezone", "Europe/Berlni"], 2, "Europe/Berlni"),
        (["create", "other", "hello", "--every", "15"], 2, "hint: 15s"),
        (["create", "other", "hello", "--at", "soon"], 2, "--at 'soon' is no time"),
        (["create", "other", "helo", "--every", "1h"], 5, "did you mean 'hello'"),
        (["create", "other", "hello", "times=2", "--every", "1h"], 65, "name:=json"),
        (["create", "other", "hello", "nmae=Ada", "--every", "1h"], 65, "did you mean 'name'"),
        (["create", "a b", "hello", "--every", "1h"], 2, "is no schedule's name"),
        (["create", "other", "hello", "--every", "1h", "--version", "9"], 5, "has no version '9'"),
        (["create", "other", "hello", "--every", "1h", "--overlap", "maybe"], 2, "cancel_previous"),
        (["update", "nightly", "--cron", "0 2 * *"], 2, "needs five"),
        (["pause", "nightly", "--note", "x" * 10_000], 2, "at most 1,000 characters"),
        (["backfill", "nightly", "--from", "2026-01-02", "--to", "2026-01-01"], 2, "no slot lies from"),
        (["backfill", "nightly", "--from", "2020-01-01", "--to", "2026-01-01", "--yes"], 2, "1,000"),
        (["trigger", "nightly", "--timeout", "1s"], 2, "--timeout bounds --wait"),
        (["next", "nightly", "--every", "1h"], 2, "not both"),
        (["delete", "nightly"], 2, "the same again with --yes"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_with_why_and_what_to_type(aiki, nightly, arguments, code, told):
    done = aiki("schedule", *arguments)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert "Traceback" not in done.err
    named = aiki("schedule", *arguments, "-o", "json")
    assert (named.code, json.loads(named.err)["error"]["exit"]) == (code, code)


@pytest.fixture(scope="module")
def nightly(environment, worker, tmp_path_factory):
    """The module's schedule that no test changes."""
    command = [*AIKI, "schedule", "create", "nightly", "hello", "--cron", "0 2 * * *"]
    subprocess.run(command, env=environment, cwd=tmp_path_factory.mktemp("nightly"), check=True, timeout=patient(60))


def test_text_of_all_kinds_is_kept_and_steers_nothing(unserved):
    hostile = "\x1b[2J\u202e\x9b1m Łódź 😀 'x' \\ \n" + "x" * 900
    unserved("schedule", "create", "nightly", "hello", f"name={hostile}", *EVERY)
    assert unserved("schedule", "pause", "nightly", "--note", hostile).code == 0
    info = unserved("schedule", "show", "nightly", "-o", "json").json
    assert (info["note"], info["payload"]["name"]) == (hostile, hostile)
    for mode in ("table", "tsv", "json", "jsonl", "ids"):
        for look in (("show", "nightly"), ("list",)):
            assert not {"\x1b", "\u202e", "\x9b"} & set(unserved("schedule", *look, "-o", mode).out)


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("", 2)])
def test_a_person_at_a_terminal_is_asked_before_a_schedule_goes(unserved, environment, flows, namespace, typed, code):
    unserved("schedule", "create", "nightly", "hello", *EVERY)
    own, person = {**environment, "AIKI_NAMESPACE": namespace}, Stderr("terminal")
    process = subprocess.Popen(
        [*AIKI, "schedule", "delete", "nightly"],
        stdin=person.descriptor,
        stdout=subprocess.PIPE,
        stderr=person.descriptor,
        env=own,
        cwd=flows,
    )
    try:
        wait_until_sync(lambda: "schedule nightly would be deleted. Go on? [y/N]" in person.read(), 60)
        person.type(f"{typed}\n")
        process.communicate(timeout=patient(60))
    finally:
        process.kill()
        process.wait()
        person.close()
    assert process.returncode == code
    assert unserved("schedule", "show", "nightly").code == (5 if code == 0 else 0)
