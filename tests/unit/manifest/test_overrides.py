"""What a manifest says of workflows comes before what they declare, and after what a call says."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki import WorkflowRun, workflow
from aiki.core.errors import ConfigError
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


def test_what_makes_no_sense_with_the_definition_names_the_manifest() -> None:
    with pytest.raises(ConfigError, match=r"/p/aiki.yaml: workflow 'w': .*longer than 0"):
        overrides.apply(read("{timeout: 0s}"), [workflow(name="w")(body)], file=FILE)
