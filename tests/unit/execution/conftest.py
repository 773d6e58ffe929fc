"""What each test of an execution begins with."""

from __future__ import annotations

import pytest

from tests.unit.execution import bodies, replays


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Forget what earlier tests' bodies and tasks have done."""
    bodies.seen.clear()
    replays.calls.clear()
