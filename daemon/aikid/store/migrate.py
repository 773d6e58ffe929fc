"""Own the version of the schema: bring it up to this code, and refuse one that is newer than this code.

Any number of daemons may start at once: an advisory lock lets one migrate while the others wait and find it done.
Migrations only ever move forward; a database in use is never taken back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from aiki.core.errors import ConfigError
from aikid.store import requirements
from aikid.store.address import parameters
from aikid.store.options import MIGRATION, as_words
from aikid.store.pool import Connection
from aikid.store.refusals import of_failure
from aikid.store.schema import SCHEMA

_LOCK: Final = 0x41696B69
"""The advisory lock's number: "Aiki" in ASCII."""
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


@cache
def head() -> str:
    """Return the schema version that this code needs."""
    version = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    assert version is not None
    return version


@cache
def known() -> frozenset[str]:
    """Return the schema versions that this code can bring up to its own."""
    return frozenset(revision.revision for revision in ScriptDirectory(str(_MIGRATIONS)).walk_revisions())


def upgrade(database_url: str) -> None:
    """Bring the schema to `head()`, creating it if need be. Blocks; safe to run from several processes at once.

    Raises ConfigError if the database is of the wrong kind, was migrated by a newer aikid, or its URL is wrong; Denied
    if it does not let us; Unavailable if it cannot be reached or changed now.
    """
    with _connection(database_url) as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = _version(connection)
        _refuse_newer(found)
        if found != head():
            _migrate(connection)
        requirements.check_rights(connection)


def check(database_url: str) -> None:
    """Return if the schema is what this code needs and the role may use it; else raise as `upgrade` does."""
    with _connection(database_url) as connection:
        found = _version(connection)
        _refuse_newer(found)
        if found != head():
            raise ConfigError(
                f"the database's schema is {found or 'missing'}, this aikid needs {head()}", hint="aikid migrate"
            )
        requirements.check_rights(connection)


async def check_again(connection: Connection) -> None:
    """Return if the schema is still one that this code knows; else raise ConfigError: a newer aikid has migrated it."""
    cursor = await connection.execute(f"SELECT version_num FROM {SCHEMA}.alembic_version", prepare=True)
    _refuse_newer(*(await cursor.fetchone() or (None,)))


def engine(database_url: str) -> sa.Engine:
    """Return SQLAlchemy's way to the database, without a pool. Raises ConfigError if the URL names no Postgres."""
    given = parameters(database_url, options=as_words(MIGRATION))
    return sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(**given), poolclass=sa.NullPool)


@contextmanager
def _connection(database_url: str) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction, to a database that will do. Raises Unavailable for what may pass."""
    try:
        with engine(database_url).begin() as connection:
            requirements.check_server(connection)
            yield connection
    except sa.exc.DBAPIError as error:
        cause = error.orig
        if not isinstance(cause, psycopg.Error):
            raise
        raise of_failure(cause, closed=error.connection_invalidated) from error


def _migrate(connection: sa.Connection) -> None:
    # Whoever may not make schemas may still own one that was made for it.
    if not sa.inspect(connection).has_schema(SCHEMA):
        requirements.check_may_create(connection)
        connection.execute(sa.text(f"CREATE SCHEMA {SCHEMA}"))
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    command.upgrade(config, "head")


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version", schema=SCHEMA):
        return None
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {SCHEMA}.alembic_version")).scalar()
    return found


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in known():
        raise ConfigError(
            f"the database's schema is {found}, newer than this aikid knows ({head()}): run one that knows {found}",
            hint="pip install -U aiki",
        )
