"""What is said of a run beside its status is a second request: that this fails takes nothing away."""

from __future__ import annotations

from typing import Any

import pytest

from aiki.client import explaining
from aiki.core.errors import AikiError, Overloaded, Unavailable, Unsupported
from aiki.core.states import State
from aiki.wire.messages import RunStatus, Why

pytestmark = pytest.mark.anyio


class Failing:
    """A wire whose daemon cannot say why runs do not move."""

    def __init__(self, error: AikiError) -> None:
        self.error = error
        self.asked: list[Why] = []

    async def call(self, request: Why, **_: Any) -> Any:
        self.asked.append(request)
        raise self.error


@pytest.mark.parametrize(
    "error", [Unsupported("why"), Unavailable("Postgres is away"), Overloaded("busy"), AikiError("a bug")]
)
async def test_a_status_that_was_read_is_told_without_a_sentence(error: AikiError) -> None:
    run = RunStatus("r", "flow", "1.0", State.RUNNING, 1)
    wire = Failing(error)
    assert await explaining.explained(wire, {"r": run}) == {"r": run}  # type: ignore[arg-type]
    assert [request.ids for request in wire.asked] == [["r"]]
