"""Own what a database must be before a daemon works with it, and the sentence for each that is not so.

It is asked once, at the start, on a connection in a transaction; what changes later is met by the statements.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from aiki.core.errors import ConfigError, Denied
from aikid.store.schema import FUNCTIONS, SCHEMA
from aikid.store.standing_tables import metadata

OLDEST_MAJOR: Final = 14
"""The oldest Postgres that our statements run on; the newest that is tried is 18."""
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SERVER: Final = sa.text("""
SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),
  current_setting('server_encoding'), current_setting('transaction_read_only') = 'on', pg_is_in_recovery(),
  quote_ident(current_database())
""")
_MAY_CREATE: Final = sa.text("""
SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_database()), quote_ident(current_user)
""")
_LACKING: Final = sa.text("""
SELECT quote_ident(current_user), string_agg(DISTINCT p.privilege, ', '), string_agg(DISTINCT t.name, ', ')
FROM unnest(CAST(:names AS text[])) AS t(name), unnest(CAST(:privileges AS text[])) AS p(privilege)
WHERE NOT has_table_privilege(t.name, p.privilege)
""")
_CALLABLE: Final = sa.text("""
SELECT quote_ident(current_user), bool_and(has_function_privilege(f.name, 'EXECUTE'))
FROM unnest(CAST(:names AS text[])) AS f(name)
""")


def check_server(connection: sa.Connection) -> None:
    """Return if the server and the database are of the right kind, and take writes; else raise ConfigError or Denied.

    Any other encoding than UTF8 lacks characters that payloads, keys and names may have.
    """
    major, version, encoding, is_read_only, is_standby, database = connection.execute(_SERVER).one()
    if major < OLDEST_MAJOR:
        raise ConfigError(f"Postgres is {version}, and aikid needs {OLDEST_MAJOR} or later", hint="upgrade the server")
    if encoding != "UTF8":
        raise ConfigError(
            f"the encoding of database {database} is {encoding}, and aikid needs UTF8, which holds all characters",
            hint=f"drop it, and CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0",
        )
    if is_standby:
        raise Denied("Postgres takes no writes: it is a standby", hint="give the address of the primary")
    if is_read_only:
        raise Denied(
            f"Postgres takes no writes from us: database {database} or its role is read-only by default",
            hint=f"ALTER DATABASE {database} (or ROLE …) SET default_transaction_read_only = off",
        )


def check_may_create(connection: sa.Connection) -> None:
    """Return if the role may make our schema; else raise Denied."""
    may, database, role = connection.execute(_MAY_CREATE).one()
    if not may:
        raise Denied(
            f"role {role} may not create schema {SCHEMA} in database {database}",
            hint=f"GRANT CREATE ON DATABASE {database} TO {role}; or CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}",
        )


def check_rights(connection: sa.Connection) -> None:
    """Return if the role may use our tables and functions, which are there; else raise Denied that names the rights.

    Raises sqlalchemy.exc.ProgrammingError if it may not even look into their schema.
    """
    asked = {"names": sorted(metadata.tables), "privileges": list(_RIGHTS)}
    role, privileges, tables = connection.execute(_LACKING, asked).one()
    if tables is not None:
        raise Denied(
            f"role {role} lacks rights ({privileges}) on tables of ours: {tables}",
            hint=f"GRANT {', '.join(_RIGHTS)} ON ALL TABLES IN SCHEMA {SCHEMA} TO {role}",
        )
    names = [f"{SCHEMA}.{name}()" for name in FUNCTIONS]
    role, may_call = connection.execute(_CALLABLE, {"names": names}).one()
    if not may_call:
        raise Denied(
            f"role {role} may not call functions of ours: {', '.join(names)}",
            hint=f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {SCHEMA} TO {role}",
        )
