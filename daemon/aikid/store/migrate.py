"""Own the version of the schema: bring it up to this code, and refuse one that is newer than this code.

Any number of daemons may start at once: an advisory lock lets one migrate while the others wait and find it done.
Migrations only ever move forward; a database in use is never taken back.
"""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from aiki.core.errors import ConfigError, Unavailable
from aikid.store.tables import SCHEMA

_LOCK: Final = 0x41696B69
"""The advisory lock's number: "Aiki" in ASCII."""
_MIGRATIONS: Final = Path(__file__).with_name("migrations")


def head() -> str:
    """Return the schema version that this code needs."""
    version = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
    assert version is not None
    return version


def upgrade(database_url: str) -> None:
    """Bring the schema to `head()`, creating it if need be. Blocks; safe to run from several processes at once.

    Raises ConfigError if the database was migrated by a newer aikid or its URL is wrong, Unavailable if it cannot
    be reached.
    """
    engine = sa.create_engine(driver_url(database_url), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _refuse_newer(_version(connection))
            connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(_MIGRATIONS))
            command.upgrade(config, "head")
    except sa.exc.OperationalError as error:
        raise Unavailable(f"Postgres cannot be used: {_first_line(error)}") from error
    finally:
        engine.dispose()


def check(database_url: str) -> None:
    """Return if the schema is what this code needs; else raise ConfigError that says what to do."""
    engine = sa.create_engine(driver_url(database_url), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            found = _version(connection)
    except sa.exc.OperationalError as error:
        raise Unavailable(f"Postgres cannot be used: {_first_line(error)}") from error
    finally:
        engine.dispose()
    _refuse_newer(found)
    if found != head():
        raise ConfigError(
            f"the database's schema is {found or 'missing'}, this aikid needs {head()}", hint="aikid migrate"
        )


def driver_url(database_url: str) -> sa.URL:
    """Return the URL for SQLAlchemy with the psycopg driver. Raises ConfigError if it names no Postgres."""
    try:
        url = sa.make_url(database_url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"the database URL cannot be read: {error}") from error
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigError(f"the database URL names {url.drivername!r}: only postgresql:// is supported")
    return url.set(drivername="postgresql+psycopg")


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version", schema=SCHEMA):
        return None
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {SCHEMA}.alembic_version")).scalar()
    return found


def _refuse_newer(found: str | None) -> None:
    known = {revision.revision for revision in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"the database's schema is {found}, newer than this aikid knows ({head()}): run one that knows {found}",
            hint="pip install -U aiki",
        )


def _first_line(error: sa.exc.DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0]
