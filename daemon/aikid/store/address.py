"""Own how a database is reached: the one place that reads its address, and what every connection of ours asks for.

An address is what libpq takes: a URL or `name=value` pairs. What it leaves out comes from PGHOST, PGSERVICE, passfiles
and the like. Several hosts, sockets, certificates and options thus mean what they mean to all other programs. What
libpq would find wrong only once it connects is refused here, where the setting can still be named. The defaults of a
role or a database change nothing: what a statement relies on is asked for at connect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from os import environ
from typing import Any, Final
from urllib.parse import unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from aiki.core.addresses import PERCENT_ENCODED, is_cut_short
from aiki.core.errors import ConfigError

CONNECT_SECONDS: Final = 2
"""For each host; psycopg takes no fewer. Of several hosts none gets more: one that is away must leave the next ones
their share of the time that a request has."""
_EXPECTED: Final = "a URL such as postgresql://aiki@db.example.com:5432/aiki"
# SQLAlchemy and Django name a driver behind the `+`; which one is nothing to us.
_SCHEME: Final = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_PAIR: Final = re.compile(r"\w+\s*=")
_UNKNOWN: Final = re.compile(r'invalid connection option "(\w+)"')
_KNOWN: Final = frozenset(option.keyword.decode() for option in Conninfo.get_defaults())
_SYNONYM: Final = "ssl=true"
"""What libpq takes in URLs alone, for the sake of JDBC."""
_NUMBERS: Final = frozenset(
    {"connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
)
_LAST_PORT: Final = 65535
_DEFAULTS: Final[dict[str, Any]] = {
    "fallback_application_name": "aikid",
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "tcp_user_timeout": 15_000,
    # After a failover the old primary may answer still, read-only: of several hosts, the one that takes writes.
    "target_session_attrs": "read-write",
}
"""What the address and the environment may say otherwise."""


def parameters(address: str, *, options: str = "") -> dict[str, Any]:
    """Return libpq's connection parameters for the address, with our `options` (`-c name=value …`) behind its own.

    Raises ConfigError if it is no address of a Postgres.
    """
    try:
        given = {**_surroundings(), **read(address)}
        _check_numbers(given)
    except ValueError as error:
        raise ConfigError(f"the address of the database: expected {error}") from None
    joined = " ".join(filter(None, (given.get("options"), options)))
    several = {"connect_timeout": CONNECT_SECONDS} if _has_several_hosts(given) else {}
    return {**_DEFAULTS, **given, **several, "client_encoding": "UTF8", "options": joined}


def read(address: str) -> dict[str, str]:
    """Return what the address itself says, by libpq's names for it. Raises ValueError that says what was expected.

    The error repeats nothing of the address but the names of parameters: all else may be a part of its password.
    """
    scheme = _SCHEME.match(address)
    if scheme is not None:
        address = f"postgresql://{address[scheme.end() :]}"
        _check_query(address)
    elif not _PAIR.match(address):
        raise ValueError(f"{_EXPECTED} (it begins with postgresql:// or postgres://)")
    found = _parsed(address)
    _check_numbers(found)
    hosts = found.get("host", "").split(",")
    if len(hosts) > 1 and "" in hosts:  # to libpq that is a socket here; whoever writes a list has forgotten a name
        raise ValueError(f"{_EXPECTED}; one of these hosts has no name")
    return found


def _check_query(url: str) -> None:
    """Raise ValueError if the URL has parameters that libpq does not know, or if its password makes some up."""
    before, _, query = url.partition("?")
    authority, slash, _ = before.partition("://")[2].partition("/")
    is_split = is_cut_short(url) or ("@" in query and not slash)
    if is_split or {"[", "]"} & set(authority.rpartition("@")[0]):
        raise ValueError(f"{_EXPECTED}; in a password write {PERCENT_ENCODED}")
    # The ports first: where one is no number, a password without its host may have brought the `?`.
    _check_numbers(_parsed(before))
    _check_names(unquote(pair.partition("=")[0]) for pair in query.split("&") if pair not in {"", _SYNONYM})


def _parsed(address: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(address).items()}
    except psycopg.ProgrammingError as error:
        # Without libpq's own words: they quote what it stumbled over, which may be a part of the password.
        if unknown := _UNKNOWN.match(str(error)):
            _check_names([unknown[1]])
        raise ValueError(f"{_EXPECTED}; in it write {PERCENT_ENCODED}, %25 for %, %20 for a space") from None


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, 1)
            remedy = f"did you mean {near[0]}?" if near else "leave it out"
            raise ValueError(f"parameters that libpq knows, and {name[:40]!r} is none: {remedy}")


def _check_numbers(given: Mapping[str, str]) -> None:
    for port in given.get("port", "").split(","):
        if port and not (port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise ValueError(f"{_EXPECTED}, with a port from 1 to {_LAST_PORT}")
    for name in _NUMBERS & given.keys():
        if not re.fullmatch(r"-?[0-9]{1,9}", given[name]):
            raise ValueError(f"a whole number of up to 9 digits for {name}")


def _surroundings() -> dict[str, str]:
    """Return what libpq would take from the environment, or the service that it names, for what we give ourselves."""
    return {
        option.keyword.decode(): option.val.decode()
        for option in Conninfo.get_defaults()
        if option.keyword.decode() in {*_DEFAULTS, "options"} and option.val and option.val != option.compiled
    }


def _has_several_hosts(given: Mapping[str, str]) -> bool:
    return "," in (given.get("host") or given.get("hostaddr") or environ.get("PGHOST", ""))
