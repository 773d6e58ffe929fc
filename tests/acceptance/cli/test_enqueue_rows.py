"""`aiki enqueue --from`: one run per row, all accounted for."""

from __future__ import annotations

import json
from signal import Signals

from tests.waiting import wait_until_sync


def test_rows_become_runs_and_a_repeat_finds_them(aiki, worker, flows):
    (flows / "rows.jsonl").write_text("".join(json.dumps({"name": f"n{i}"}) + "\n" for i in range(2500)))
    command = ["enqueue", "hello", "--from", "rows.jsonl", "--key-field", "name"]
    first = aiki(*command, "-o", "json")
    assert (first.code, first.json) == (0, {"rows": 2500, "created": 2500, "existing": 0, "refused": []})
    again = aiki(*command)
    assert (again.code, len(set(again.lines)), again.err) == (0, 2500, "")
    assert aiki("wait", again.lines[-1]).out == '"HELLO N2499"\n'
    assert aiki(*command, "-o", "json").json["existing"] == 2500


def test_csv_rows_are_read_too(aiki, worker, flows):
    (flows / "rows.csv").write_text("name,times:\nAda,1\nBob,2\n")
    done = aiki("enqueue", "hello", "--from", "rows.csv", "-o", "jsonl")
    rows = [json.loads(line) for line in done.lines]
    assert [(row["line"], row["created"]) for row in rows] == [(2, True), (3, True)]
    assert aiki("wait", rows[1]["id"]).out == '"HELLO BOB HELLO BOB"\n'


def test_rows_come_from_stdin(aiki, worker):
    done = aiki("enqueue", "hello", "--from", "-", "-o", "ids", stdin='{"name": "a"}\n{"name": "b"}\n')
    assert (done.code, len(done.lines)) == (0, 2)


def test_a_bad_row_stops_all_before_anything_is_sent(aiki, flows, namespace):
    (flows / "rows.jsonl").write_text('{"name": "a"}\n{"name": \n[]\n{"times": 1}\n')
    done = aiki("enqueue", "hello", "--from", "rows.jsonl", "--key-field", "name", "--namespace", namespace)
    assert (done.code, done.out) == (65, "")
    assert "3 of 4 rows in rows.jsonl are wrong; none was sent" in done.err
    for line in ("line 2: ", "line 3: ", "line 4: the key field 'name' is missing"):
        assert line in done.err
    assert aiki("run", "list", "--namespace", namespace, "-o", "json").json["runs"] == []


def test_refused_rows_are_counted_and_the_others_sent(aiki, worker):
    rows = '{"name": "a"}\n{"nam": "b"}\n{"name": "c", "times": "x"}\n{"name": "d"}\n'
    done = aiki("enqueue", "hello", "--from", "-", stdin=rows)
    assert (done.code, len(done.lines)) == (65, 2)
    assert "4 of 4 rows: 2 enqueued, 2 refused" in done.err
    assert "line 2: " in done.err
    assert "line 3: " in done.err


def test_a_key_with_another_input_is_a_conflict_of_its_row(aiki, worker):
    rows = '{"name": "a", "times": 1}\n{"name": "a", "times": 2}\n{"name": "b"}\n'
    done = aiki("enqueue", "hello", "--from", "-", "--key-field", "name", "-o", "json", stdin=rows)
    assert done.code == 6
    assert (done.json["created"], [row["line"] for row in done.json["refused"]]) == (2, [2])


def test_rows_and_a_payload_exclude_each_other(aiki):
    assert aiki("enqueue", "hello", "name=x", "--from", "rows.jsonl").code == 2
    assert aiki("enqueue", "hello", "--key-field", "name").code == 2


MIXED = """{"name": "r1", "times": 1}
{"name": "r2", "times": "x"}
{"name": "r3", "times": 1}
{"name": "r1", "times": 1}
"""


def test_rows_are_told_of_as_their_runs_end_and_the_refused_ones_first(aiki, worker):
    command = ["enqueue", "hello", "--from", "-", "--key-field", "name", "--wait"]
    done = aiki(*command, stdin=MIXED)
    cells = [line.split("\t") for line in done.lines]
    assert (done.code, cells[0][:4]) == (65, ["2", "r2", "", "refused"])
    assert sorted((cell[0], cell[1], cell[3], cell[4]) for cell in cells[1:]) == [
        ("1", "r1", "completed", "HELLO R1"),
        ("3", "r3", "completed", "HELLO R3"),
        ("4", "r1", "completed", "HELLO R1"),
    ]
    assert "4 of 4 rows: 2 enqueued, 1 were there already, 1 refused; 2 completed" in done.err
    again = aiki(*command, "-o", "json", stdin=MIXED)
    assert (again.code, again.err) == (65, "")
    told = [(row["line"], row["created"], row["outcome"]) for row in again.json["rows"]]
    assert told[0] == (2, False, "refused")
    assert sorted(told[1:]) == [(line, False, "completed") for line in (1, 3, 4)]
    assert len(aiki(*command, "-o", "ids", stdin=MIXED).lines) == 3


def test_rows_fail_and_go_on_and_the_highest_code_counts(aiki, worker, flows):
    rows = "".join(f'{{"gate": "{flows / name}"}}\n' for name in ("open", "shut"))
    (flows / "open").touch()
    command = ["enqueue", "held", "--from", "-", "--key-field", "gate", "--wait", "--timeout", "600ms", "-o", "jsonl"]
    late = aiki(*command, stdin=rows)
    assert late.code == 124
    assert {(row["line"], row["outcome"], row["result"]) for row in map(json.loads, late.lines)} == {
        (1, "completed", "open"),
        (2, "timeout", None),
    }
    (flows / "shut").touch()
    assert aiki(*command, stdin=rows).code == 0
    failed = aiki("enqueue", "failing", "--from", "-", "--wait", stdin='{"reason": "no luck"}\n')
    assert (failed.code, failed.lines[0].split("\t")[3]) == (1, "failed")
    assert "error: not all of 1 runs completed: 1 failed\n" in failed.err
    assert aiki("enqueue", "hello", "--from", "-", "--timeout", "1s", stdin="").code == 2


def test_ctrl_c_leaves_the_runs_of_rows_as_they_are_and_says_how_to_go_on(aiki, start, own, flows):
    (flows / "rows.jsonl").write_text(f'{{"gate": "{flows / "gate"}"}}\n{{"gate": "{flows / "open"}"}}\n')
    (flows / "open").touch()
    waiting = start("enqueue", "held", "--from", "rows.jsonl", "--key-field", "gate", "--wait", env=own)
    wait_until_sync(lambda: "open\n" in waiting.printed(), what="the first end")
    assert waiting.terminate(Signals.SIGINT) == 130
    assert "1 run goes on, and none was cancelled; the same command waits for them again" in waiting.logged()
    (flows / "gate").touch()
    done = aiki("enqueue", "held", "--from", "rows.jsonl", "--key-field", "gate", "--wait", env=own)
    assert (done.code, len(done.lines)) == (0, 2)
