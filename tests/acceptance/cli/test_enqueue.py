"""`aiki enqueue` against a real daemon and worker."""

from __future__ import annotations

import json
import re

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def test_enqueue_prints_the_id_alone_and_wait_the_result(aiki, worker):
    done = aiki("enqueue", "hello", "name=Grace", "times:=2")
    assert (done.code, done.err) == (0, "")
    (run_id,) = done.lines
    assert ID.fullmatch(run_id)
    waited = aiki("wait", run_id)
    assert (waited.code, waited.out) == (0, '"HELLO GRACE HELLO GRACE"\n')
    assert f"{run_id} completed: hello 1" in waited.err
    assert aiki("wait", run_id, "-q").err == ""
    again = aiki("wait", run_id[-9:], "-o", "json")
    assert again.json == {"id": run_id, "outcome": "completed", "result": "HELLO GRACE HELLO GRACE", "error": None}


def test_a_payload_comes_from_words_files_and_stdin(aiki, worker, flows):
    (flows / "base.json").write_text('{"name": "Ada", "times": 3}')
    assert aiki("enqueue", "hello", "-p", "@base.json", "times:=1", "--wait").out == '"HELLO ADA"\n'
    assert aiki("enqueue", "hello", "-p", "-", "--wait", stdin='{"name": "Bob"}').out == '"HELLO BOB"\n'
    assert aiki("enqueue", "hello", "-p", '{"name": "Eve"}', "--wait", "-o", "json").json["result"] == "HELLO EVE"
    assert aiki("enqueue", "hello", "--wait").out == '"HELLO ADA"\n'


REFUSED = [
    # (arguments, exit code, a part of the message)
    (["hello", "-p", "{"], 65, "error: the payload is not JSON"),
    (["hello", "-p", "[]"], 65, "expected a JSON object"),
    (["hello", "times:=x"], 65, "is not JSON"),
    (["hello", "times=2"], 65, "times"),
    (["hello", "age:=2"], 65, "age"),
    (["hello", "-p", "@missing.json"], 66, "error: cannot read missing.json"),
    (["hello", "--from", "missing.jsonl"], 66, "error: cannot read missing.jsonl"),
    (["hello", "name"], 2, "'name' is no pair"),
    (["hello", "--timeout", "1s"], 2, "--timeout bounds --wait"),
    (["hello", "--at", "soon"], 2, "is no time"),
    (["hello", "--delay", "soon"], 2, "soon"),
    (["hello", "--priority", "500"], 2, "500"),
    (["hello", "--label", "x"], 2, "is no label"),
    (["hello", "--version", "2"], 5, "no version '2'"),
    (["helo"], 5, "'helo'"),
    ([], 2, "WORKFLOW"),
]


def test_what_cannot_be_enqueued_says_why(aiki, worker):
    for arguments, code, message in REFUSED:
        done = aiki("enqueue", *arguments)
        assert (done.code, done.out) == (code, ""), (arguments, done)
        assert done.err.startswith("error: "), arguments
        assert message in done.err, (arguments, done.err)


def test_errors_are_one_json_object_with_o_json(aiki, worker):
    done = aiki("enqueue", "helo", "-o", "json")
    error = json.loads(done.err)["error"]
    assert (error["code"], error["exit"], done.code) == ("not_found", 5, 5)
    usage = aiki("enqueue", "-o", "json")
    assert json.loads(usage.err)["error"]["code"] == "usage"


def test_a_key_makes_enqueue_repeatable(aiki, worker):
    first = aiki("enqueue", "hello", "name=Ada", "--key", "k-1", "-o", "json").json
    again = aiki("enqueue", "hello", "--key", "k-1", "-o", "json").json
    assert (first["created"], again["created"]) == (True, False)
    assert first["id"] == again["id"], "a default that is spelled out is the same input"
    other = aiki("enqueue", "hello", "name=Bob", "--key", "k-1")
    assert other.code == 6
    assert first["id"] in other.err
    taken = aiki("enqueue", "hello", "name=Bob", "--key", "k-1", "--on-conflict", "existing")
    assert taken.lines == [first["id"]]
    assert aiki("wait", "hello@k-1").out == '"HELLO ADA"\n'


def test_delays_labels_and_priority_reach_the_run(aiki, worker):
    run_id = aiki("enqueue", "hello", "--delay", "1h", "--label", "tenant=a", "--priority", "7").lines[0]
    run = aiki("status", run_id, "-o", "json").json
    assert (run["state"], run["labels"], run["priority"]) == ("scheduled", {"tenant": "a"}, 7)
    later = aiki("enqueue", "hello", "--at", "2100-01-01T00:00:00Z").lines[0]
    assert aiki("status", later, "-o", "json").json["due_at"] == "2100-01-01T00:00:00.000000Z"
