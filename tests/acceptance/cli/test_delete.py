"""`aiki run delete`: what has ended goes with its family, after a yes; all else stays and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Aiki


@pytest.fixture
def mended(aiki: Aiki, worker: object, tmp_path: Path) -> tuple[str, str]:
    """Return a run that has failed, and its retry, which has completed."""
    gate = tmp_path / "gate"
    old = aiki("enqueue", "mending", f"gate={gate}").lines[0]
    assert aiki("wait", old).code == 1
    gate.touch()
    (new,) = aiki("run", "retry", old, "-o", "ids").lines
    assert aiki("wait", new).code == 0
    return old, new


def test_a_run_goes_with_its_retries_once_somebody_says_yes(aiki, mended):
    old, new = mended
    asked = aiki("run", "delete", old)
    assert (asked.code, asked.out) == (2, "")
    assert "1 run would be deleted, and 1 run that belongs to them, and none was" in asked.err
    assert "--yes" in asked.err
    assert aiki("run", "show", old).code == 0
    gone = aiki("run", "delete", old, "--yes", "-o", "json")
    assert (gone.code, gone.json) == (0, {"id": old, "runs": 2})
    for run_id in (old, new):
        shown = aiki("run", "show", run_id)
        assert (shown.code, shown.out) == (5, "")


def test_what_goes_on_stays_and_says_what_to_do(aiki, own, worker):
    run_id = aiki("enqueue", "hello", "--delay", "1h", env=own).lines[0]
    refused = aiki("run", "delete", run_id, "--yes", env=own)
    assert (refused.code, refused.out) == (6, "")
    assert f"run {run_id} is scheduled: only what has ended can be deleted" in refused.err
    assert f"hint: aiki run cancel {run_id}" in refused.err
    assert aiki("run", "cancel", run_id, env=own).code == 0
    assert aiki("run", "delete", run_id, env=own, stdin="").code == 2
    assert aiki("run", "delete", run_id, "--yes", "-o", "ids", env=own).lines == [run_id]
    again = aiki("run", "delete", run_id, "--yes", env=own)
    assert (again.code, again.lines) == (0, [f"{run_id}\t0\tit was not there any more"])


def test_a_filter_means_what_has_ended_and_is_counted_before(aiki, own, worker):
    ended = {aiki("enqueue", "hello", "--wait", "-o", "json", "--label", "a=b", env=own).json["id"] for _ in range(3)}
    kept = aiki("enqueue", "hello", "--wait", "-o", "json", env=own).json["id"]
    later = aiki("enqueue", "hello", "--delay", "1h", "--label", "a=b", env=own).lines[0]
    asked = aiki("run", "delete", "--label", "a=b", env=own)
    assert (asked.code, "3 runs would be deleted" in asked.err) == (2, True), asked.err
    first = aiki("run", "delete", "--label", "a=b", "--limit", "1", "--yes", "-o", "ids", env=own).lines
    rest = aiki("run", "delete", "--label", "a=b", "--yes", env=own)
    assert rest.code == 0
    assert {*first, *(line.split("\t")[0] for line in rest.lines)} == ended
    assert {*aiki("run", "list", "-o", "ids", env=own).lines} == {kept, later}


def test_a_key_stays_taken_unless_it_is_forgotten(aiki, own, worker):
    for forget, code in ((["--forget-keys"], 0), ([], 5)):
        run_id = aiki("enqueue", "hello", "--key", "k", "--wait", "-o", "json", env=own).json["id"]
        assert aiki("run", "delete", run_id, "--yes", *forget, env=own).code == 0
        again = aiki("enqueue", "hello", "--key", "k", "-o", "ids", env=own).lines
        assert (again == [run_id]) == (not forget)
        assert aiki("status", again[0], env=own).code == code
        if forget:
            assert aiki("wait", again[0], env=own).code == 0
            assert aiki("run", "delete", again[0], "--yes", "--forget-keys", env=own).code == 0
