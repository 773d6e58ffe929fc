"""Own what it means that Postgres cannot be used from the start: who has to change what, and so with which code we end.

Once a daemon serves, whatever Postgres refuses is waited for (`fates`). Before, it is for the person who starts it:
`Denied` for rights, which somebody may be about to grant, `ConfigError` for what stays as it is, else `Unavailable`.

A failure to connect has no SQLSTATE in libpq, so it goes by its words. These are English unless the server's
`lc_messages` says otherwise: what is not recognised is an outage, with the server's own words.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import psycopg

from aiki.core.errors import AikiError, ConfigError, Denied, Unavailable
from aikid.store.fates import Fate, of_error

_OWNER: Final = (
    "let the owner of schema aiki run `aikid migrate`, and GRANT USAGE ON SCHEMA aiki TO this role; GRANT SELECT,"
    " INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA aiki TO it; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA aiki TO it"
)
_ENTRY: Final = "let it in: by pg_hba.conf, GRANT CONNECT ON DATABASE …, ALTER ROLE … LOGIN, or a client certificate"
_OPTIONS: Final = "look at `options` in the address (or PGOPTIONS)"
_WRITABLE: Final = "give the address of the primary; or ALTER ROLE … SET default_transaction_read_only = off"
_POOLER: Final = (
    "connect to Postgres itself, or let the pooler ignore it (PgBouncer: ignore_startup_parameters = options);"
    " what the role needs instead is said then"
)
_TLS: Final = "set sslrootcert= to the authority's certificate, or the host to the certificate's name"
_FEWER: Final = "each aikid takes pool_size (6) connections and up to 4 more: --pool-size 2, or raise the limit"
_LOGIN: Final = "set user and password right: in the address, by PGUSER and PGPASSWORD, or in a passfile"
_DATABASE: Final = r"createdb --encoding=UTF8 --template=template0 '\g<name>'"


class _Refusal(NamedTuple):
    words: str
    kind: type[AikiError]
    hint: str | None = None
    """It may name a group of the words."""


_REFUSALS: Final = (
    _Refusal("unsupported startup parameter", ConfigError, _POOLER),
    _Refusal("no encryption|SSL connection is required", Denied, "add sslmode=require to the address"),
    _Refusal("does not support SSL", ConfigError, "sslmode=prefer or disable in the address"),
    _Refusal("certificate verify failed|does not match host name", Denied, _TLS),
    _Refusal("authentication method requirement", ConfigError, "look at require_auth in the address"),
    _Refusal('role ".*" does not exist|no such user|user not found', Denied, _LOGIN),
    _Refusal("authentication failed|no password supplied", Denied, _LOGIN),
    _Refusal("pg_hba.conf|not permitted to log in|valid client cert|permission denied for database", Denied, _ENTRY),
    _Refusal("not in hot standby mode|session is not read-only", ConfigError, "target_session_attrs=read-write"),
    _Refusal("session is read-only|read-only transaction|in hot standby mode", Denied, _WRITABLE),
    _Refusal("(configuration|value for|to set) parameter|command-line argument", ConfigError, _OPTIONS),
    _Refusal("permission denied|must be owner", Denied, _OWNER),
    _Refusal('(database "|no such database: )(?P<name>[^"]*)("? does not exist|$)', ConfigError, _DATABASE),
    _Refusal("too many c|connection slots are reserved", Unavailable, _FEWER),
    _Refusal("response to SSL negotiation|expected authentication request", ConfigError, "is the port right?"),
    _Refusal("^invalid |could not match|definition of service|service file|(certificate|key) file", ConfigError),
)  # fmt: skip
_CODES: Final = {"25006": "read-only transaction", "42501": "permission denied"}
_FOREIGN: Final = frozenset({"42P06", "42P07", "42710", "42723"})
"""Duplicate schema, table, object, function: somebody else's are where ours belong."""


def of_failure(error: psycopg.Error, *, closed: bool) -> AikiError:
    """Return the error to end with. Raises `error` itself if it is a bug of ours."""
    said = _words(error)
    if error.sqlstate in _FOREIGN:
        return ConfigError(f"schema aiki holds what aikid has not made: {said}", hint="use another database")
    recognised = _CODES.get(error.sqlstate, "") if error.sqlstate else said
    for refusal in _REFUSALS:
        if found := re.search(refusal.words, recognised):
            how = "refuses us" if refusal.kind is Denied else "cannot be used"
            return refusal.kind(f"Postgres {how}: {said}", hint=refusal.hint and found.expand(refusal.hint))
    if of_error(error, closed=closed) is Fate.BUG:
        raise error
    return Unavailable(f"Postgres cannot be used: {said}")


def _words(error: psycopg.Error) -> str:
    """Return what was said in one line: of several hosts, what each said."""
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    hosts = [line.partition("hostaddr: ")[2].partition(": ")[2] for line in lines if line.startswith("- host: ")]
    return "; ".join(_bare(line) for line in hosts or lines[:1])


def _bare(line: str) -> str:
    return re.sub(r"^connection (failed|is bad): ", "", line)
