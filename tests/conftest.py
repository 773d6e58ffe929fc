"""Fixtures with real servers: one Postgres and one nats-server for the whole session, all else per test.

`database` + `nats` + `start_aikid`   a test's own database, for tests that run daemons (or parts of one) themselves
`aikid` + `namespace`                 the session's shared daemon on servers of its own: cheap, for tests of clients
`make_postgres`, `make_nats`          durable servers of a test's own, to kill, freeze and wipe
"""

from __future__ import annotations

import gc
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import servers
from tests.servers import Aikid, Aikids, Nats, Postgres
from tests.servers.authority import Authority
from tests.waiting import patient

TEMPLATE = "aiki_template"
FIRST = ("typing", "model", "chaos", "acceptance")
"""Folders whose files take long. They are handed out first, so that at the end no core idles beside a long one."""


def pytest_configure(config: pytest.Config) -> None:
    """Let a whole test take longer by the factor, too (pytest-timeout), and an example of Hypothesis what it takes."""
    if config.option.timeout is None:
        config.option.timeout = patient(float(config.getini("timeout")))
    # What the person who runs them has set, or enqueued last, is none of their business: no folder can be below this.
    os.environ |= {"XDG_CONFIG_HOME": os.devnull, "XDG_STATE_HOME": os.devnull}
    # By the clock of a busy machine the first examples are too slow, whatever they do.
    settings.register_profile("aiki", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("aiki")
    # Under nohup, or in the background of a script, children would ignore them, too: what is caught is not handed down.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Look for no garbage while tests are collected: what is made then stays, and the looking takes half the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for it from now on, but no more at what is there already."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by how long they take (xdist hands them out in this order: `--no-loadscope-reorder`)."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return FIRST.index(folder) if folder in FIRST else len(FIRST) + (folder == "unit")

    items.sort(key=place)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's Postgres. Never kill it: it does not sync its writes."""
    with servers.running_postgres(durable=False) as server:
        yield server


@pytest.fixture(scope="module")
def nats() -> Iterator[Nats]:
    """The module's nats-server, on which only this test's own daemons listen.

    Not the session's: the consumers of routes outlive their test, and a server has room for a thousand.
    """
    with servers.running_nats() as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> str:
    """The name of a migrated, empty database that others are copied from."""
    from aikid.store import migrate

    migrate.upgrade(postgres.create_database(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database(postgres: Postgres, template: str) -> Iterator[str]:
    """The address of a migrated, empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield postgres.create_database(name, template=template)
    postgres.drop_database(name)


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def start_aikid(database: str, nats: Nats) -> Iterator[Aikids]:
    """Call it to start an aikid on this test's `database` and `nats`; any number of times."""
    with servers.server_folder() as folder:
        aikids = Aikids(folder, database_url=database, nats_url=nats.url)
        try:
            yield aikids
        finally:
            aikids.close()


@pytest.fixture(scope="session")
def aikid(postgres: Postgres, template: str) -> Iterator[Aikid]:
    """The session's shared daemon. Use `namespace` with it, and leave it running."""
    with servers.running_nats() as nats, servers.server_folder() as folder:
        url = postgres.create_database("aiki_shared", template=template)
        daemon = Aikid(folder, database_url=url, nats_url=nats.url)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.close()


@pytest.fixture
def aiki_env(aikid: Aikid, namespace: str) -> dict[str, str]:
    """The environment for an `aiki` command or a worker process: the shared daemon, this test's namespace."""
    return servers.clean_environment(AIKI_URL=aikid.nats_url, AIKI_NAMESPACE=namespace)


@pytest.fixture
def make_postgres() -> Iterator[Callable[[], Postgres]]:
    """Call it for a durable Postgres of the test's own, which may be killed, frozen and wiped."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(servers.running_postgres())


@pytest.fixture
def make_nats() -> Iterator[Callable[[], Nats]]:
    """Call it for a nats-server of the test's own, which may be killed, frozen and wiped."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(servers.running_nats())


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """An authority that no system trusts."""
    with servers.server_folder() as folder:
        yield Authority(folder, "authority")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for servers: unlike `tmp_path`, an account other than root can enter it."""
    with servers.server_folder() as path:
        yield path


@pytest.fixture
def anyio_backend() -> str:
    """Async tests are marked `anyio` and run on asyncio."""
    return "asyncio"
