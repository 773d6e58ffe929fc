"""`aiki apply` has runs kept as the manifest says, shows it before, and refuses what makes no sense before all else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import Aiki, Done

HOURLY = "hourly: {workflow: hello, every: 1h}"


@pytest.fixture
def apply(aiki: Aiki, flows: Path, namespace: str):
    """Write a manifest that says this of retention, and run a command there in a namespace of the test's own."""

    def run(hello: str | None, *, rest: str | None = None, then: str = "apply", project: str = "shop") -> Done:
        lines = ["aiki: 1", f"project: {project}", "modules: {m: [flows]}"]
        lines += [f"workflows: {{hello: {{retention: {hello}}}}}"] if hello else []
        lines += [f"retention: {rest}"] if rest else []
        lines += ["schedules:", f"  {HOURLY}"] if project == "shop" else []
        (flows / "aiki.yaml").write_text("\n".join(lines))
        return aiki(*then.split(), env={"AIKI_NAMESPACE": namespace})

    return run


def retention(done: Done) -> list[list[str]]:
    return [line.split("\t")[:3] for line in done.lines if line.startswith("retention:")]


def test_what_is_said_is_planned_applied_changed_and_left_alone(apply) -> None:
    dry = apply("30d", rest="{failed: 90d}", then="apply --dry-run")
    planned = [["retention:*", "create", ""], ["retention:hello", "create", ""]]
    assert (dry.code, retention(dry)) == (0, planned)
    assert apply("30d", then="apply --exit-code").code == 8
    assert retention(apply("30d", rest="{failed: 90d}")) == [[name, "created", ""] for name, *_ in planned]
    assert apply("30d", rest="{failed: 90d}", then="apply --exit-code").code == 0
    changed = apply("{completed: 30d, failed: keep}", rest="{failed: 90d}")
    assert retention(changed) == [
        ["retention:*", "unchanged", ""],
        ["retention:hello", "updated", "failed,cancelled"],
    ]


def test_what_the_manifest_names_no_longer_stays_until_it_is_pruned(apply) -> None:
    apply("30d")
    kept = apply(None)
    assert (kept.code, retention(kept)) == (0, [["retention:hello", "unchanged", ""]])
    refused = apply(None, then="apply --prune")
    assert refused.code == 2
    assert "1 policy of retention would be deleted, and none was" in refused.err
    assert retention(apply(None, then="apply --prune --yes")) == [["retention:hello", "deleted", ""]]
    assert retention(apply(None)) == []


def test_a_workflow_of_another_project_is_refused_and_no_schedule_of_that_apply_is_made(apply) -> None:
    apply("30d", project="bank")
    done = apply("60d")
    assert (done.code, retention(done)) == (6, [["retention:hello", "refused", ""]])
    assert "the retention of workflow 'hello' belongs to project 'bank'; nothing was applied" in done.err
    assert apply("60d", then="schedule list -o ids").lines == []


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        ("0s", "a period of 0 keeps nothing"),
        ("10s", "less than a minute"),
        ("{done: 30d}", "unknown key `done` in `retention`"),
        ("{completed: soon}", "'soon' is not a duration"),
        ("[30d]", "expected text"),
    ],
)
def test_a_period_that_makes_no_sense_is_refused_with_its_place(apply, hello: str, said: str) -> None:
    done = apply(hello)
    assert done.code == 78
    assert "aiki.yaml:4:" in done.err
    assert said in done.err
    assert retention(apply(None)) == []


def test_retention_without_a_project_is_refused(aiki: Aiki, flows: Path) -> None:
    (flows / "aiki.yaml").write_text("aiki: 1\nretention: 30d")
    done = aiki("apply")
    assert (done.code, "`retention` without a `project`" in done.err) == (78, True)
