from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aiki.worker import clock as worker_clock
from tests.conformance.clock import EPOCH
from tests.conformance.servers import House, house
from tests.servers import Nats, Postgres

pytest.register_assert_rewrite("tests.conformance.scenarios")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """All scenarios of a module share a loop, and on it a daemon."""
    return "asyncio"


class Standing:
    """The clock of a machine on which no time passes."""

    @staticmethod
    def time_ns() -> int:
        return EPOCH * 1000

    @staticmethod
    def clock_gettime_ns(_: int) -> int:
        return 0


@pytest.fixture(autouse=True)
def standing_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a worker know the database's time alone, as of its last reply."""
    monkeypatch.setattr(worker_clock, "time", Standing)


@pytest.fixture(scope="module")
async def servers(postgres: Postgres, template: str, nats: Nats, anyio_backend: str) -> AsyncIterator[House]:
    """A daemon on a database of the module's own, whose clock stands."""
    database = postgres.create_database("conformance", template=template)
    async with house(database, nats.url) as made:
        yield made
    postgres.drop_database("conformance")
