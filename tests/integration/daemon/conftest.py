from collections.abc import AsyncIterator

import pytest

from tests.integration.daemon.engine import Engine, running_engine


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    async with running_engine(database) as one:
        yield one


@pytest.fixture
async def rival(database: str) -> AsyncIterator[Engine]:
    """A second daemon's engine on the same database."""
    async with running_engine(database) as one:
        yield one
