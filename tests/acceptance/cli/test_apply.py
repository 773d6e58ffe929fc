"""`aiki apply` makes the schedules of a project those of its manifest: by a plan, in one commit, and only its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import AIKI, Aiki, Done
from tests.acceptance.cli.streams import Stderr
from tests.waiting import patient, wait_until_sync

NIGHTLY = 'nightly: {workflow: hello, cron: "0 2 * * *", timezone: Europe/Berlin, payload: {name: Ada}}'
HOURLY = "hourly: {workflow: hello, every: 1h, labels: {team: ops}}"

TIMED = """
from decimal import Decimal

@workflow(name="timed", version="1", timeout="2h")
async def timed(run: WorkflowRun, amount: Decimal, share: float, note: str = "") -> None:
    return None
"""


@pytest.fixture
def apply(aiki: Aiki, flows: Path, namespace: str):
    """Write a manifest with some schedules, and run a command there in a namespace of the test's own."""

    def run(*schedules: str, then: str = "apply", project: str = "shop", modules: str = "flows") -> Done:
        lines = [
            *("aiki: 1", f"project: {project}", *([f"modules: {{m: [{modules}]}}"] if modules else []), "schedules:"),
            *(f"  {schedule}" for schedule in schedules),
        ]
        (flows / "aiki.yaml").write_text("\n".join(lines))
        return aiki(*then.split(), env={"AIKI_NAMESPACE": namespace})

    return run


def read(person: Stderr, seen: list[str]) -> list[str]:
    seen.append(person.read())
    return seen


def changes(done: Done) -> list[list[str]]:
    return [line.split("\t")[:3] for line in done.lines]


def test_what_is_declared_is_created_changed_and_left_alone(apply) -> None:
    dry = apply(HOURLY, NIGHTLY, then="apply --dry-run")
    assert (dry.code, changes(dry)) == (0, [["hourly", "create", ""], ["nightly", "create", ""]])
    assert apply(HOURLY, NIGHTLY, then="apply --exit-code").code == 8
    made = apply(HOURLY, NIGHTLY)
    assert (made.code, changes(made)) == (0, [["hourly", "created", ""], ["nightly", "created", ""]]), made.err
    assert made.err == "no worker serves hello 1, which hourly enqueues, and 1 more: aiki worker start -m MODULE\n"
    again = apply(HOURLY, NIGHTLY, then="apply --exit-code")
    assert (again.code, changes(again)) == (0, [["hourly", "unchanged", ""], ["nightly", "unchanged", ""]])
    other = HOURLY.replace("1h", "2h, catch_up_window: 3h").replace("ops", "it")
    changed = apply(other, NIGHTLY)
    assert changes(changed) == [["hourly", "updated", "every,catch_up_window,labels"], ["nightly", "unchanged", ""]]
    shown = apply(other, NIGHTLY, then="schedule show hourly -o json").json
    assert (shown["every"], shown["window"], shown["labels"], shown["project"]) == (
        7200,
        10_800,
        {"team": "it"},
        "shop",
    )


def test_the_plan_is_one_json_document(apply) -> None:
    done = apply(HOURLY, then="apply -o json")
    change = {"kind": "schedule", "name": "hourly", "action": "create", "fields": [], "reason": ""}
    assert done.json == {"project": "shop", "is_done": True, "changes": [change]}
    assert apply(HOURLY, NIGHTLY, then="apply -o ids --dry-run").lines == ["hourly", "nightly"]


def test_off_a_terminal_nothing_is_paused_or_deleted_without_a_yes(apply) -> None:
    apply(HOURLY, NIGHTLY)
    refused = apply(NIGHTLY)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.splitlines() == [
        "‖ pause    hourly  (the manifest names it no longer)",
        "error: 1 schedule would be paused, and none was",
        "  hint: the same again with --yes",
    ]
    paused = apply(NIGHTLY, then="apply --yes")
    assert (paused.code, changes(paused)) == (0, [["hourly", "paused", ""], ["nightly", "unchanged", ""]])
    info = apply(NIGHTLY, then="schedule show hourly -o json").json
    assert (info["state"], info["vanished"]) == ("paused", True)
    assert apply(NIGHTLY, then="apply --exit-code").code == 0

    back = apply(HOURLY, NIGHTLY)
    assert changes(back) == [["hourly", "updated", ""], ["nightly", "unchanged", ""]]
    pruned = apply(NIGHTLY, then="apply --prune --yes")
    assert changes(pruned) == [["hourly", "deleted", ""], ["nightly", "unchanged", ""]]
    assert apply(NIGHTLY, then="schedule show hourly").code == 5


def test_a_name_that_is_another_projects_is_refused_and_nothing_is_done(apply) -> None:
    apply(HOURLY)
    done = apply(HOURLY, NIGHTLY, project="bank")
    assert (done.code, changes(done)) == (6, [["hourly", "refused", ""], ["nightly", "create", ""]])
    assert "error: schedule 'hourly' belongs to project 'shop'; nothing was applied" in done.err
    told = apply(HOURLY, then="apply -o json", project="bank")
    assert (told.code, told.json["is_done"], told.json["changes"][0]["action"]) == (6, False, "refused")
    assert apply(HOURLY, then="schedule list -o ids").lines == ["hourly"]


def test_a_payload_is_checked_by_the_code_that_is_there_before_anything_is_sent(apply) -> None:
    done = apply(HOURLY, "bad: {workflow: hello, every: 1h, payload: {times: many}}")
    assert done.code == 65
    assert "aiki.yaml:6:8: schedule 'bad': $.times: must be integer, not 'many'" in done.err
    assert apply(HOURLY, then="schedule list -o ids").lines == []


def test_without_the_code_a_payload_is_checked_by_what_workers_have_registered(apply, start, flows, namespace):
    unknown = apply(HOURLY, modules="")
    assert unknown.code == 5
    assert "schedule 'hourly': workflow 'hello' is not registered" in unknown.err
    with (flows / "flows.py").open("a") as code:
        code.write(TIMED)
    start("worker", "start", "-m", "flows", env={"AIKI_NAMESPACE": namespace}).wait_for_log("serves")
    bad = apply("bad: {workflow: hello, every: 1h, payload: {times: many}}", modules="not_here")
    assert bad.code == 65
    assert bad.err.startswith("no module named 'not_here'")
    assert "payloads are checked against what workers have registered" in bad.err
    assert "schedule 'bad': $.times: must be integer" in bad.err
    (flows / "broken.py").write_text("raise RuntimeError('no database here')\n")
    broken = apply(HOURLY, modules="broken", then="apply --dry-run")
    assert broken.err.startswith("cannot import 'broken' (RuntimeError: no database here): payloads are checked")
    timed = "timed: {workflow: timed, every: 1d, payload: {amount: 12.10, share: 0.50}, priority: 3}"
    assert apply(HOURLY, NIGHTLY, timed, modules="").code == 0
    same = apply(HOURLY, NIGHTLY, timed, then="apply --exit-code")
    assert (same.code, {change for _, change, _ in changes(same)}) == (0, {"unchanged"}), "by code it is the same"
    shown = apply(HOURLY, NIGHTLY, timed, then="schedule show timed -o json").json
    assert (shown["payload"], shown["priority"], shown["timeout"]) == ({"amount": "12.10", "share": 0.5}, 3, 7200)


def test_code_that_was_named_has_to_be_there(apply) -> None:
    done = apply(HOURLY, then="apply -m not_here")
    assert (done.code, done.out) == (78, "")


def test_a_project_owns_what_is_applied(apply, aiki, flows) -> None:
    none = aiki("apply")
    assert none.code == 78
    assert "no manifest was found" in none.err
    (flows / "aiki.yaml").write_text("aiki: 1\n")
    assert "has no `project`" in aiki("apply").err


@pytest.mark.parametrize(("typed", "code", "names"), [("y", 0, ["hourly"]), ("", 2, [])])
def test_a_person_at_a_terminal_sees_the_plan_and_is_asked(apply, environment, flows, namespace, typed, code, names):
    apply(HOURLY, then="apply --dry-run")
    own, person = {**environment, "AIKI_NAMESPACE": namespace}, Stderr("terminal")
    command = [*AIKI, "apply", "-o", "ids"]
    process = subprocess.Popen(
        command, stdin=person.descriptor, stdout=subprocess.PIPE, stderr=person.descriptor, env=own, cwd=flows
    )
    seen: list[str] = []
    with process:
        try:
            wait_until_sync(lambda: "Go on? [y/N]" in "".join(read(person, seen)), 60)
            person.type(f"{typed}\n")
            out, _ = process.communicate(timeout=patient(60))
        finally:
            process.kill()
            person.close()
    assert "+ create   hourly" in "".join(seen)
    assert "1 schedule would be created. Go on? [y/N]" in "".join(seen)
    assert (process.returncode, out.decode().split()) == (code, names)
    assert apply(HOURLY, then="schedule list -o ids").lines == names


def test_a_worker_tells_in_one_line_that_schedules_differ_and_changes_nothing(apply, start, namespace) -> None:
    apply(HOURLY)
    apply(HOURLY.replace("1h", "2h"), NIGHTLY, then="apply --dry-run")
    worker = start("worker", "start", env={"AIKI_NAMESPACE": namespace})
    worker.wait_for_log("by `aiki apply`")
    (told,) = [line for line in worker.logged().splitlines() if "aiki apply" in line]
    assert "warning: project 'shop' has other schedules than " in told
    assert told.endswith("aiki.yaml: 1 schedule would be updated and 1 created by `aiki apply`")
    assert apply(HOURLY, then="apply --exit-code").code == 0
    assert worker.terminate() == 0


def test_a_worker_that_applies_tells_each_change_and_why_it_cannot(apply, start, namespace) -> None:
    apply(HOURLY, NIGHTLY, then="apply --dry-run")
    worker = start("worker", "start", "--apply", env={"AIKI_NAMESPACE": namespace})
    worker.wait_for_log("applied: + created  nightly")
    assert "applied: + created  hourly" in worker.logged()
    assert worker.terminate() == 0
    apply("hourly: {workflow: hello, every: 1h, payload: {times: many}}", then="apply --dry-run")
    worker = start("worker", "start", "--apply", env={"AIKI_NAMESPACE": namespace})
    worker.wait_for_log("error: schedules are not applied: ")
    assert "schedule 'hourly': $.times: must be integer, not 'many'" in worker.logged()
    assert apply(HOURLY, then="schedule list -o ids").lines == ["hourly", "nightly"]
    assert worker.terminate() == 0
