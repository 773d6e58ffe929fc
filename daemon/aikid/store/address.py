"""Own how a database is reached: the URL as libpq itself reads it, and what every connection of ours asks for.

Several hosts, sockets, certificates and options thus mean what they mean to all other programs. The defaults of a role
or a database change nothing: what a statement relies on is asked for at connect.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from aiki.core.errors import ConfigError

CONNECT_SECONDS: Final = 2
"""For each host of the URL; psycopg takes no fewer."""
_SCHEMES: Final = ("postgresql://", "postgres://")
_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "aikid",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "tcp_user_timeout": 15_000,
    # After a failover the old primary may answer still, read-only: of several hosts, the one that takes writes.
    "target_session_attrs": "read-write",
}
"""What the URL may set otherwise."""
_ALWAYS: Final = r"-c default_transaction_isolation=read\ committed"


def parameters(database_url: str, *, options: str = "") -> dict[str, Any]:
    """Return libpq's connection parameters for the URL, with our `options` (`-c name=value …`) behind its own.

    Raises ConfigError if it is no URL of a Postgres.
    """
    if not database_url.startswith(_SCHEMES):
        raise ConfigError(f"the database URL must begin with {' or '.join(_SCHEMES)}")
    try:
        given: dict[str, Any] = conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        # Without libpq's own words: they quote what it stumbled over, which may be a part of the password.
        raise ConfigError(
            "the database URL cannot be read",
            hint="write it like postgresql://aiki@db:5432/aiki; in a user or password, @ : / # % are percent-encoded",
        ) from None
    joined = " ".join(filter(None, (given.get("options"), _ALWAYS, options)))
    return {
        **_DEFAULTS,
        **given,
        "connect_timeout": CONNECT_SECONDS,
        "client_encoding": "UTF8",
        "options": joined,
    }
