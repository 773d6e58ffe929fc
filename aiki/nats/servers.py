"""Own the addresses of a cluster: what its URLs say, and what its servers add. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from aiki.core.addresses import is_cut_short

DEFAULT_PORT: Final = 4222
SCHEMES: Final = ("nats", "tls")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the server; all of it empty where it asks for nothing."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Server:
    """One server. `tls` insists on TLS, which is used in any case where the server asks for it."""

    host: str
    port: int
    tls: bool
    credentials: Credentials
    name: str
    """What its certificate must be made out to."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Its address, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


def parse(url: str) -> Server:
    """Return the server that `url` names. Raises ValueError, without repeating what may hold a password."""
    wrong = ValueError("expected nats://HOST:PORT or tls://HOST:PORT")
    try:
        parts = urlsplit(url)
        port = parts.port if parts.port is not None else DEFAULT_PORT
    except ValueError:
        # Not its cause: it quotes what it could not read, which may be half a password.
        raise wrong from None
    if parts.scheme not in SCHEMES or not parts.hostname or not port or is_cut_short(url):
        raise wrong
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    # A lone name before the @ is a token.
    credentials = Credentials(user, password) if parts.password is not None else Credentials(token=user)
    return Server(parts.hostname, port, parts.scheme == "tls", credentials, parts.hostname)


def discovered(addresses: Iterable[str], like: Server) -> list[Server]:
    """Return the servers that `like` says its cluster has, to be met as it was: same credentials, TLS where it has TLS.

    They are named by their addresses mostly, which no certificate holds: there its name must be `like`'s.
    """
    found = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        if host and port.isdecimal():
            name = like.name if _is_address(host) else host
            found.append(replace(like, host=host, port=int(port), name=name))
    return found


def merged(given: Sequence[Server], found: Iterable[Server]) -> list[Server]:
    """Return the given servers, then those found that are not among them."""
    servers = {str(server): server for server in given}
    for server in found:
        servers.setdefault(str(server), server)
    return list(servers.values())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
