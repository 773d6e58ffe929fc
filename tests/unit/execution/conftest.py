"""What each test of an execution begins with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aiki.execution import Pools
from tests.unit.execution import bodies, replays


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    """Forget what earlier tests' bodies and tasks have done."""
    bodies.seen.clear()
    replays.calls.clear()


@pytest.fixture
def pools() -> Iterator[Pools]:
    """Threads and processes of the test's own."""
    made = Pools()
    yield made
    made.close()
