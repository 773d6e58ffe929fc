"""`aiki run export` and `import` as users type them: a file out of one place, and into another."""

from __future__ import annotations

import json
import stat
from functools import partial

import pytest

from tests.acceptance.cli.conftest import AIKI
from tests.servers import warm
from tests.waiting import patient, wait_until_sync

UNKNOWN = "01900000-0000-7000-8000-000000000000"
HOME = "home"
LINGER_SECONDS = 30
"""In which a run leaves its worker that waits."""


@pytest.fixture
def home(start_aikid):
    """Variables of a server of its own, as a developer has one."""
    return {"AIKI_URL": start_aikid().nats_url, "AIKI_NAMESPACE": HOME}


@pytest.fixture(scope="module")
def waiting(environment, worker, tmp_path_factory):
    """The id of a run that waits for an event, and has left its worker for that."""

    folder = tmp_path_factory.mktemp("waiting")

    def run(*arguments):
        done = warm.run([*AIKI, *arguments], stdin=b"", env=environment, cwd=folder, timeout=patient(60))
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_id = run("enqueue", "asking").strip()
    wait_until_sync(lambda: json.loads(run("status", run_id, "-o", "json"))["waits"], LINGER_SECONDS)
    return run_id


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_is_exported_as_lines_of_json(aiki, waiting):
    exported = lines(aiki("run", "export", waiting).out)
    assert exported[0]["aiki_export"] == 1
    assert [line.get("line") for line in exported[1:]] == ["run", *["story"] * 3, "over"]
    assert (exported[1]["id"], exported[1]["workflow"], exported[1]["state"]) == (waiting, "asking", "waiting")
    assert lines(aiki("run", "export", waiting, "-o", "jsonl").out)[1:] == exported[1:]
    assert aiki("run", "export", waiting, "-o", "ids").lines == [waiting]


def test_a_file_is_only_ours_to_read_and_says_how_to_go_on(aiki, waiting, flows):
    ended = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    done = aiki("run", "export", waiting, ended, "--to", "runs.jsonl", "-o", "json")
    assert done.json == {"file": "runs.jsonl", "runs": 2, "entries": 1, "ids": [waiting, ended]}
    assert stat.S_IMODE((flows / "runs.jsonl").stat().st_mode) == 0o600
    told = aiki("run", "export", waiting, "--to", "runs.jsonl", "-o", "table")
    assert told.out.strip() == "1 run with 0 entries in runs.jsonl"
    assert "aiki replay --file runs.jsonl" in told.err
    assert [path.name for path in flows.glob("*.jsonl*")] == ["runs.jsonl"], "and nothing is left beside it"


def test_runs_are_exported_by_what_they_are(aiki, own):
    aiki = partial(aiki, env=own)
    ids = [aiki("enqueue", "hello", "--label", f"n={number}", "--wait", "-o", "json").json["id"] for number in range(3)]
    assert aiki("run", "export", "--workflow", "hello", "-o", "ids").lines == ids[::-1]
    assert aiki("run", "export", "--label", "n=1", "-o", "ids").lines == [ids[1]]
    assert aiki("run", "export", "--state", "completed", "--limit", "2", "-o", "ids").lines == ids[:0:-1]
    assert aiki("run", "export", "--since", "1h", "-o", "ids").lines == ids[::-1]
    none = aiki("run", "export", "--workflow", "nobody")
    assert (none.code, [line.get("line") for line in lines(none.out)]) == (0, [None, "over"])


def test_what_cannot_be_exported_is_said_and_leaves_no_file(aiki, worker, flows):
    assert aiki("run", "export").code == 2
    assert aiki("run", "export", UNKNOWN, "--workflow", "hello").code == 2
    unknown = aiki("run", "export", UNKNOWN, "--to", "runs.jsonl")
    assert (unknown.code, (flows / "runs.jsonl").exists()) == (5, False)
    run_id = aiki("enqueue", "hello", "--wait", "-o", "json").json["id"]
    nowhere = aiki("run", "export", run_id, "--to", "no/such/folder/runs.jsonl")
    assert nowhere.code == 74
    assert "cannot write no/such/folder/runs.jsonl" in nowhere.err
    assert list(flows.glob(".runs*")) == []


def test_an_imported_run_is_looked_at_and_obeys_nobody(aiki, waiting, home):
    aiki("run", "export", waiting, "--to", "run.jsonl")
    there = partial(aiki, env=home)
    taken = there("run", "import", "run.jsonl")
    assert (taken.code, taken.lines) == (0, [f"{waiting}\timported\t"])
    run = there("run", "show", waiting, "-o", "json").json
    assert (run["state"], run["imported"]["state"]) == ("paused", "waiting")
    assert "from namespace cli-" in run["why"]
    page = there("run", "show", waiting, "-o", "table").out
    assert "Nothing moves it here." in page
    assert waiting in there("run", "list", "--state", "paused", "-o", "ids").lines
    for order in ("pause", "resume", "wake", "cancel", "retry"):
        refused = there("run", order, waiting)
        assert (refused.code, "was imported" in refused.err) == (6, True), order
    sent = there("event", "send", waiting, "approved", "-p", '"bob"')
    assert (sent.code, "was imported" in sent.err) == (6, True)
    assert there("wait", waiting).code == 7
    moves = [line["move"] for line in there("run", "history", waiting, "-o", "json").json["history"]]
    assert moves == ["enqueued", "claim", "wait", "imported"]
    assert aiki("status", waiting, "-o", "json").json["state"] == "waiting", "where it is from it waits on"


def test_a_repeat_changes_nothing_and_what_is_exported_there_is_the_same_but_for_its_rest(aiki, waiting, home):
    aiki("run", "export", waiting, "--to", "run.jsonl")
    there = partial(aiki, env=home)
    there("run", "import", "run.jsonl")
    again = there("run", "import", "run.jsonl", "-o", "jsonl")
    assert (again.code, again.json["result"]) == (0, "exists")
    before, after = (lines(one("run", "export", waiting).out) for one in (aiki, there))
    assert before[1].pop("waits") == ["event:approved"]
    assert after[1] == before[1] | {"story": after[1]["story"]}
    assert [line for line in after if line.get("line") in ("entry", "try", "end", "unread")] == [
        line for line in before if line.get("line") in ("entry", "try", "end", "unread")
    ]


def test_an_id_of_a_real_run_is_a_conflict(aiki, waiting):
    aiki("run", "export", waiting, "--to", "run.jsonl")
    refused = aiki("run", "import", "run.jsonl")
    assert refused.code == 6
    assert "was not imported" in refused.out + refused.err
    assert aiki("status", waiting, "-o", "json").json["state"] == "waiting"


def test_what_is_wrong_in_any_file_is_said_before_any_run_is_sent(aiki, waiting, home, flows):
    aiki("run", "export", waiting, "--to", "run.jsonl")
    good = (flows / "run.jsonl").read_bytes()
    (flows / "bad.jsonl").write_bytes(good.replace(b'"line":"over"', b'"line":"under"'))
    there = partial(aiki, env=home)
    refused = there("run", "import", "run.jsonl", "bad.jsonl")
    assert (refused.code, refused.out) == (65, "")
    assert "bad.jsonl:6: " in refused.err
    assert there("run", "list", "-o", "ids").out == ""
    assert there("run", "import", "none.jsonl").code == 66
    assert there("run", "import", "-", stdin=good[:-30].decode()).code == 65
    assert there("run", "import", "-", stdin=good.decode()).code == 0
