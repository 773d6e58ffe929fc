"""What a manifest says of workflows comes before what they declare, and after what a call says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki import Retry, WorkflowRun, workflow
from aiki.core.errors import ConfigError
from aiki.definitions.arguments import RECORD_ARGUMENTS, RecordArguments
from aiki.manifest import overrides, parse

FILE = Path("/p/aiki.yaml")
HOUR = 3_600_000_000


async def body(run: WorkflowRun) -> None:
    pass


def read(settings: str) -> overrides.Overrides:
    return parse(f"aiki: 1\nworkflows: {{w: {settings}}}".encode(), FILE).workflows


def test_a_manifests_timeout_goes_before_the_definitions_and_after_the_calls() -> None:
    made = workflow(name="w", timeout="2h", cancel_timeout="1m")(body)
    other = workflow(name="other", timeout="2h")(body)
    called = made.options(timeout="3h")
    overrides.apply(read("{timeout: 1h}"), [made, called, other], file=FILE)
    assert (made.declared.timeout, made.declared.cancel_timeout) == (HOUR, 60_000_000)
    assert made.bind().options.timeout == HOUR
    assert called.bind().options.timeout == 3 * HOUR
    assert other.bind().options.timeout == 2 * HOUR


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{type: fixed, max_attempts: 5, delay: 2s}", Retry.fixed(5, "2s")),
        ("{type: exponential, max_attempts: 5, base_delay: 1s}", Retry.exponential(5, "1s")),
        ("{type: jittered, max_attempts: 5, base_delay: 1s, max_delay: 1m}", Retry.jittered(5, "1s", "1m")),
        ("{type: linear, max_attempts: 5, base_delay: 1s, max_elapsed: 1d}", Retry.linear(5, "1s", max_elapsed="1d")),
        ("{type: from_delays, delays: [1s, 1m]}", Retry.from_delays(["1s", "1m"])),
        ("{type: none}", Retry.none()),
    ],
)
def test_a_manifests_retry_goes_before_the_definitions(settings: str, expected: Retry) -> None:
    made = workflow(name="w", retry=Retry.fixed(9, "9s"))(body)
    other = workflow(name="other", retry=Retry.fixed(9, "9s"))(body)
    overrides.apply(read(f"{{retry: {settings}, retry_from: start}}"), [made, other], file=FILE)
    assert (made.retry, made.retry_from) == (expected, "start")
    assert (other.retry, other.retry_from) == (Retry.fixed(9, "9s"), "failure")


@pytest.mark.parametrize("said", RECORD_ARGUMENTS)
def test_a_manifests_word_on_arguments_goes_before_the_definitions(said: RecordArguments) -> None:
    made = workflow(name="w", record_arguments="full")(body)
    other = workflow(name="other", record_arguments="full")(body)
    overrides.apply(read(f"{{record_arguments: {said}}}"), [made, other], file=FILE)
    assert (made.record_arguments, other.record_arguments) == (said, "full")
    overrides.apply(read("{timeout: 1h}"), [other], file=FILE)
    assert other.record_arguments == "full"


def test_what_a_manifest_does_not_say_is_as_it_was_declared() -> None:
    made = workflow(name="w", retry=Retry.fixed(9, "9s"), retry_from="start")(body)
    overrides.apply(read("{timeout: 1h}"), [made], file=FILE)
    assert (made.retry, made.retry_from) == (Retry.fixed(9, "9s"), "start")


def test_what_makes_no_sense_with_the_definition_names_the_manifest() -> None:
    with pytest.raises(ConfigError, match=r"/p/aiki.yaml: workflow 'w': .*longer than 0"):
        overrides.apply(read("{timeout: 0s}"), [workflow(name="w")(body)], file=FILE)
