"""What commands say as JSON, on real servers, is what the schemas say: `-o json` whole, `-o jsonl` line by line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import fastjsonschema

from aiki_cli import tree
from aiki_cli.view import columns, schemas

SILENT = {"dev", "worker start", "completion"}
"""They have no JSON: processes that serve, and texts."""
MANIFEST = """
aiki: 1
project: shop
modules: {flows: [flows]}
profiles: {p: {client: {url: "nats://${HOST}"}, protected: true}}
schedules:
  pulse: {workflow: hello, version: "1", every: 2h}
"""
MANIFOLD = {"check"}
"""Its rows are of several kinds, which have no columns in common."""
HOURLY = ("--every", "1h", "--anchor", "2026-01-01T00:00Z")


def strictly(schema: Any) -> Any:
    """Return the schema for what has the members that it names, and no other."""
    if isinstance(schema, list):
        return [strictly(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: strictly(one) for name, one in schema.items()}
    return told if not isinstance(schema.get("properties"), dict) else {**told, "additionalProperties": False}


class Validated:
    """Commands that are run and whose JSON is compared with its schema; they are remembered."""

    def __init__(self, aiki: Any) -> None:
        self._aiki = aiki
        self._fits = {
            (name, mode): fastjsonschema.compile(strictly(schema))
            for name, modes in schemas.schemas().items()
            for mode, schema in modes.items()
        }
        self.seen: set[tuple[str, str]] = set()

    def __call__(self, command: str, *arguments: str, mode: str, code: int = 0, stdin: str = "") -> Any:
        """Run a command, validate what it says, and return that: the document, or all lines."""
        done = self._aiki(*command.split(), *arguments, "-o", mode, stdin=stdin)
        assert done.code == code, f"{command} {arguments}: {done.err}"
        told = done.json if mode == "json" else [json.loads(line) for line in done.lines]
        for one in [told] if mode == "json" else told:
            try:
                self._fits[command, mode](one)
            except fastjsonschema.JsonSchemaException as error:
                raise AssertionError(f"{command} {arguments} -o {mode}: {error}: {json.dumps(one)[:2000]}") from error
        self.seen.add((command, mode))
        return told

    def both(self, command: str, *arguments: str, code: int = 0) -> Any:
        """Run a command that changes nothing in all modes, and return its document."""
        self(command, *arguments, mode="jsonl", code=code)
        self._chosen(command, *arguments, code=code)
        return self(command, *arguments, mode="json", code=code)

    def _chosen(self, command: str, *arguments: str, code: int) -> None:
        """Run a command for ids, and for rows: whole, and with two of their columns."""
        kinds = {len(kind): kind for kind in columns.kinds(command)}
        ids = self._aiki(*command.split(), *arguments, "-o", "ids")
        assert (ids.code, "\t" in ids.out) == (code, False), ids.err
        told = self._aiki(*command.split(), *arguments, "-o", "tsv").lines
        if command in MANIFOLD or not told or len(told[0].split("\t")) == 1:
            return
        kind = kinds[len(told[0].split("\t"))]
        if len({len(line.split("\t")) for line in told}) == 1:
            wanted = ["--columns", f"{kind[1]},{kind[0]}"]
            chosen = self._aiki(*command.split(), *arguments, "-o", "tsv", *wanted).lines
            assert sorted(line.split("\t") for line in chosen) == sorted(line.split("\t")[1::-1] for line in told)

    def refused(self, command: str, *arguments: str, mode: str, code: int) -> Any:
        """Run a command that is refused, and return the error that stderr has."""
        done = self._aiki(*command.split(), *arguments, "-o", mode)
        assert (done.code, done.out) == (code, "")
        error = json.loads(done.err.splitlines()[-1])
        self._fits["error", mode](error)
        self.seen.add(("error", mode))
        return error["error"]


def test_each_command_says_what_its_schema_says(aiki, own, flows):
    validated = Validated(partial(aiki, env=own))
    done, failed = _enqueued(validated)
    family = validated("enqueue", "tree", f"gate={flows / 'gate'}", "leaves:=2", mode="json")["id"]
    _looked_at(validated, done, failed, family)
    _ordered(validated, done, failed)
    _scheduled(validated)
    _declared(validated, flows)
    _filed(validated, flows, done, failed)
    assert "run list" in [one["command"] for one in validated.both("help", "json")["outputs"]]
    assert validated.refused("status", "0" * 32, mode="json", code=5)["code"] == "not_found"
    assert validated.refused("run show", "0" * 32, mode="jsonl", code=5)["hint"]
    assert validated.refused("status", "--wtach", mode="json", code=2)["code"] == "usage"
    assert validated.seen == {(name, mode) for name in schemas.OUTPUTS for mode in ("json", "jsonl")}


def test_each_command_has_a_schema_or_nothing_to_say():
    groups = {path.rpartition(" ")[0] for path in tree.paths()}
    assert set(tree.paths()) - groups - SILENT == set(schemas.OUTPUTS) - {"error"}


def _enqueued(validated: Validated) -> tuple[str, str]:
    """Enqueue runs, wait for them, and return one that has completed and one that has failed."""
    done = validated("enqueue", "hello", "--key", "k", "--label", "a=b", mode="json")["id"]
    (failed,) = validated("enqueue", "failing", "reason=no", mode="jsonl")
    validated.both("enqueue", "hello", "--wait")
    assert validated("wait", done, mode="json")["outcome"] == "completed"
    assert validated("wait", failed["id"], mode="json", code=1)["error"]["traceback"]
    assert len(validated("wait", done, failed["id"], mode="jsonl", code=1)) == 2
    assert len(validated("wait", done, failed["id"], mode="json", code=1)["runs"]) == 2
    rows = '{"name": "Ada"}\n{"name": 5}\n'
    told = validated("enqueue", "hello", "--from", "-", mode="json", code=65, stdin=rows)
    assert (told["created"], told["refused"][0]["line"]) == (1, 2)
    validated("enqueue", "hello", "--from", "-", mode="jsonl", code=65, stdin=rows)
    return done, failed["id"]


def _looked_at(validated: Validated, done: str, failed: str, family: str) -> None:
    assert validated.both("status", done)["result"] == "HELLO ADA"
    assert len(validated.both("status", done, failed, family)["runs"]) == 3
    assert validated.both("status")["counts"]
    assert validated.both("status", "--storage")["tables"]
    assert len(validated.both("status", done, failed, "--watch")["runs"]) == 2
    assert validated.both("run list", "--limit", "2")["cursor"]
    assert validated.both("run list", "--count")["runs"] > 4
    assert validated.both("run show", done)["input"] == {}
    assert validated.both("run show", failed)["error"]["task"] == "break_down"
    assert validated.both("run show", family, "--tree")["own"]
    assert validated.both("run history", done)["history"]
    assert validated.both("run history", family)["why"]
    assert validated.both("why", family)["sentence"]
    assert validated.both("why", done)["state"] == "completed"
    assert validated.both("worker list")["workers"]
    assert validated.both("workflow list")["workflows"]
    assert validated.both("workflow show", "hello")["workflows"][0]["standing"] == "served"
    assert validated.both("replay", done, failed, "-m", "flows")["compatible"] == 2


def _ordered(validated: Validated, done: str, failed: str) -> None:
    first, second, third = (validated("enqueue", "sleeper", "--delay", "1h", mode="json")["id"] for _ in range(3))
    asking = validated("enqueue", "asking", mode="json")["id"]
    assert validated("run pause", first, mode="json")["state"] == "paused"
    assert len(validated("run pause", second, third, mode="json")["runs"]) == 2
    refused = validated("run pause", done, first, mode="jsonl", code=6)
    assert refused[0]["error"]["code"] == "conflict"
    assert len(validated("run move", first, second, "--to-version", "2", "--no-replay", "--force", mode="json")) == 1
    validated("run move", third, done, "--to-version", "2", "--no-replay", "--force", mode="jsonl", code=6)
    assert validated("run resume", first, mode="json")["id"] == first
    validated("run resume", second, done, mode="jsonl", code=6)
    assert validated("run wake", "--workflow", "sleeper", "--yes", mode="json")["runs"]
    validated("run wake", done, first, mode="jsonl", code=6)
    assert len(validated("run cancel", "--workflow", "sleeper", "--yes", mode="json")["runs"]) == 3
    validated("run cancel", done, first, mode="jsonl", code=6)
    new = validated("run retry", failed, mode="json")["id"]
    validated("run retry", failed, done, mode="jsonl", code=6)
    validated("wait", new, mode="json", code=1)
    assert validated("event send", asking, "approved", "-p", '"Eve"', mode="json")["outcome"] == "sent"
    told = validated("event send", asking, done, "approved", "-p", '"Eve"', mode="json", code=6)
    assert [one["outcome"] for one in told["runs"]][1] == "refused"
    validated("event send", done, first, "approved", "-p", '"Eve"', mode="jsonl", code=6)
    assert validated("run delete", second, "--yes", mode="json")["runs"] == 1
    validated("run delete", "--workflow", "sleeper", "--yes", mode="json")
    going = validated("enqueue", "sleeper", "--delay", "1h", mode="json")["id"]
    assert validated("run delete", third, going, "--yes", mode="jsonl", code=6)[1]["error"]["code"] == "conflict"


def _scheduled(validated: Validated) -> None:
    created = validated("schedule create", "nightly", "hello", "name=Ada", *HOURLY, "--run-timeout", "90s", mode="json")
    assert (created["every"], created["timeout"]) == (3600, 90)
    validated("schedule create", "pulse", "hello", "--cron", "0 2 * * *", mode="jsonl")
    assert validated.both("schedule update", "nightly", "--jitter", "5s")["jitter"] == 5
    assert len(validated.both("schedule list")["schedules"]) == 2
    assert len(validated.both("schedule next", "nightly", "-n", "2")["firings"]) == 2
    assert validated("schedule trigger", "nightly", mode="json")["schedule"] == "nightly"
    assert validated("schedule trigger", "nightly", "--wait", mode="json")["result"] == "HELLO ADA"
    validated("schedule trigger", "nightly", mode="jsonl")
    when = ("--from", "2026-01-01T00:00Z", "--to", "2026-01-01T02:00Z", "--yes")
    assert len(validated("schedule backfill", "nightly", *when, mode="json")["slots"]) == 2
    validated("schedule backfill", "nightly", "--from", "2026-01-02", "--to", "2026-01-03", "--yes", mode="jsonl")
    whole = validated.both("schedule show", "nightly")
    assert whole["slots"]
    assert whole["upcoming"]
    assert validated("schedule pause", "nightly", mode="json")["result"] == "paused"
    validated("schedule pause", "nightly", "none", mode="jsonl", code=5)
    assert len(validated("schedule resume", "nightly", "pulse", mode="json")["schedules"]) == 2
    validated("schedule resume", "nightly", mode="jsonl")
    validated("schedule delete", "nightly", "--yes", mode="json")
    validated("schedule delete", "pulse", "--yes", mode="jsonl")


def _declared(validated: Validated, flows: Path) -> None:
    (flows / "aiki.yaml").write_text(MANIFEST)
    found = validated.both("check")
    assert (found["is_ok"], found["schedules"][0]["name"]) == (True, "pulse")
    assert {one["name"]: one["source"] for one in validated.both("config show")["values"]}["url"] == "environment"
    assert [one["name"] for one in validated.both("config profiles")["profiles"]] == ["p"]
    assert validated("apply", "--dry-run", mode="json")["changes"][0]["action"] == "create"
    validated("apply", mode="jsonl")
    (flows / "aiki.yaml").write_text(MANIFEST.replace("every: 2h", "every: 2h, payload: {name: 5}"))
    assert validated.both("check", code=65)["problems"]
    (flows / "aiki.yaml").unlink()


def _filed(validated: Validated, flows: Path, done: str, failed: str) -> None:
    assert validated("run export", done, failed, "--to", "runs.jsonl", mode="json")["runs"] == 2
    validated("run export", done, "--to", "run.jsonl", mode="jsonl")
    told = validated("run import", "runs.jsonl", mode="json", code=6)
    assert [one["error"]["code"] for one in told["runs"]] == ["conflict", "conflict"]
    validated("run import", "run.jsonl", mode="jsonl", code=6)
