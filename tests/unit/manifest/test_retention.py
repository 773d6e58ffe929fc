"""What a manifest says of how long runs are kept: read, refused with its place, and whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiki.core.duration import MICROSECONDS
from aiki.core.errors import ConfigError
from aiki.core.retention import Periods
from aiki.manifest import parse

FILE = Path("/p/aiki.yaml")
DAY = MICROSECONDS["d"]


def policies(*lines: str) -> dict[str, Periods]:
    return parse("\n".join(["aiki: 1", "project: shop", *lines]).encode(), FILE).policies


def test_it_is_said_by_workflow_and_for_all_others() -> None:
    found = policies(
        "workflows: {a: {retention: 30d}, b: {timeout: 1h}, c: {retention: {completed: 1d, failed: keep}}}",
        "retention: {cancelled: 7d}",
    )
    assert found == {
        "a": Periods(30 * DAY, 30 * DAY, 30 * DAY),
        "c": Periods(DAY, 0),
        "*": Periods(cancelled=7 * DAY),
    }
    assert policies() == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("retention: 0d", "3:12: a `retention` that makes no sense: a period of 0 keeps nothing"),
        ("retention: 5s", "3:12: .*less than a minute"),
        ("retention: {completed: 1}", "3:12: .*'1' is not a duration"),
        ("retention: {complete: 1d}", "3:13: unknown key `complete` in `retention`: did you mean `completed`?"),
        ("retention: [1d]", "3:12: a list, and expected text"),
        ("workflows: {a: {retention: }}", "3:27: nothing, and expected text"),
        ('retention: "${DAYS}"', "3:12: .*without variables"),
    ],
)
def test_a_mistake_is_told_with_its_place(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        policies(line)


def test_it_needs_an_owner() -> None:
    with pytest.raises(ConfigError, match="without a `project`"):
        parse(b"aiki: 1\nworkflows: {a: {retention: 1d}}", FILE)
