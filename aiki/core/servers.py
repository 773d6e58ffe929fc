"""Own the addresses of a cluster of nats-servers: what their text says, and what the servers add. Pure.

One form for all who connect (a flag, a variable, a manifest, the daemon's settings): one URL, or several with commas
between them, with white space or a byte order mark around them. A host alone is taken too, as NATS's own tools do; a
password is not without a scheme, since a text such as `a:b@c` then says too little to send anything there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

from aiki.core.addresses import PERCENT_ENCODED, is_cut_short
from aiki.core.variables import trimmed

DEFAULT_PORT: Final = 4222
SCHEMES: Final = ("nats", "tls")
EXPECTED: Final = "a URL such as nats://nats.example.com:4222, or several with commas between them"
_OTHERS: Final = {
    "ws": "WebSocket is not spoken here: take the servers' nats:// or tls:// port",
    "wss": "WebSocket is not spoken here: take the servers' nats:// or tls:// port",
    "http": "HTTP is for watching a nats-server: take its nats:// or tls:// port",
    "https": "HTTP is for watching a nats-server: take its nats:// or tls:// port",
}
_NEXT_URL: Final = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*://)")
_REST: Final = re.compile(r"(?:(?P<user>[^\s:/?#@\[\]]*)(?P<secret>:[^\r\n/?#@]*)?@)?(?P<hosts>[^/?#@]+)/?")
_HOST: Final = re.compile(r"(?:\[(?P<six>[^\]\s]+)\]|(?P<name>[^\s:/?#@\[\]%]+))(?::(?P<port>\d{0,5}))?")


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


def parse(text: str) -> list[Server]:
    """Return the servers that `text` names, in its order; hosts that follow in one URL share what stands before them.

    Raises ValueError that says what is expected, without repeating what may hold a password.
    """
    found = [server for url in _NEXT_URL.split(trimmed(text)) for server in _servers(trimmed(url).rstrip(", "))]
    if not found:
        raise ValueError(EXPECTED)
    return found


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


def _servers(url: str) -> Iterator[Server]:
    if not url:
        return
    if is_cut_short(url):
        raise ValueError(f"{EXPECTED}; in a password write {PERCENT_ENCODED}")
    scheme, _, rest = url.rpartition("://")
    scheme = scheme.lower()
    if scheme in _OTHERS:
        raise ValueError(f"{EXPECTED}; {_OTHERS[scheme]}")
    if scheme not in SCHEMES and (scheme or "@" in url):
        raise ValueError(f"{EXPECTED} (it begins with {' or '.join(f'{name}://' for name in SCHEMES)})")
    parts = _REST.fullmatch(rest)
    if parts is None:
        raise ValueError(f"{EXPECTED}; a host and a port, and nothing behind them")
    credentials = _credentials(parts["user"], parts["secret"])
    for host in parts["hosts"].split(","):
        if host.strip():
            yield _server(host.strip(), scheme == "tls", credentials)


def _credentials(user: str | None, secret: str | None) -> Credentials:
    try:
        name, password = (unquote(word or "", errors="strict") for word in (user, secret))
    except UnicodeDecodeError:
        raise ValueError(f"{EXPECTED}; what stands before the @ is not percent-encoded UTF-8") from None
    # A lone name before the @ is a token.
    return Credentials(token=name) if secret is None else Credentials(name, password[1:])


def _server(address: str, tls: bool, credentials: Credentials) -> Server:
    parts = _HOST.fullmatch(address)
    if parts is None:
        raise ValueError(f"{EXPECTED}; a port is a number, and an IPv6 address stands in brackets")
    host = unquote(parts["six"] or parts["name"])
    port = int(parts["port"] or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise ValueError(f"{EXPECTED}; a port is a number from 1 to 65535")
    if parts["six"] and not _is_address(host):
        raise ValueError(f"{EXPECTED}; only an IPv6 address stands in brackets")
    return Server(host, port, tls, credentials, host)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
