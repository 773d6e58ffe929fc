from collections.abc import AsyncIterator

import pytest
from nats import connect
from nats.aio.client import Client as Connection

from aikid.app import App
from tests.integration.daemon.asking import running_app
from tests.integration.daemon.engine import Engine, running_engine
from tests.integration.daemon.firing import Standing
from tests.servers import Nats


@pytest.fixture
async def engine(database: str) -> AsyncIterator[Engine]:
    async with running_engine(database) as one:
        yield one


@pytest.fixture
async def rival(database: str) -> AsyncIterator[Engine]:
    """A second daemon's engine on the same database."""
    async with running_engine(database) as one:
        yield one


@pytest.fixture
async def app(database: str, nats: Nats) -> AsyncIterator[App]:
    """A whole daemon on this test's own loop."""
    async with running_app(database, nats.url) as made:
        yield made


@pytest.fixture
async def bus(nats: Nats, anyio_backend: str) -> AsyncIterator[Connection]:
    """A connection to the NATS of `app`."""
    connection = await connect(nats.url)
    yield connection
    await connection.close()


@pytest.fixture
async def clock(engine: Engine) -> Standing:
    """The clock of `engine`'s database, which stands still."""
    made = Standing(engine)
    await made.stop()
    return made
