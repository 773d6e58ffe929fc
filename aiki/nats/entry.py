"""Own how a nats-server lets us in: nats-py's client, from the address to the server's first PONG.

The connection, TLS, the greeting and all forms of credentials are nats-py's. What comes behind is not: its reading loop
ends for good at a subject, a reply subject or a status that is not UTF-8, at a header block without a first line and at
the answer to a ping that was given up; it closes for good when credentials are refused, forgets subscriptions that
permissions took, and each message costs it a task's turn. So its tasks never begin, and `link` has the stream.

nats-py has no public way to either; `tests/unit/nats/test_entry.py` holds what is overridden here against its release.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import nats.errors
from nats.aio.client import Client

from aiki.core.errors import AikiError
from aiki.nats.errors import Away, Refused
from aiki.nats.frames import Info

if TYPE_CHECKING:
    from nats.aio.transport import Transport

    from aiki.nats.servers import Server

OPEN_SECONDS: Final = 2
"""For each step of a server's way of letting us in; `link` bounds them together."""
_AUTHENTICATION: Final = re.compile(r"authorization|authentication (?!timeout)|not trusted", re.IGNORECASE)
"""What a server calls a refusal of credentials: also `User Authentication Expired` and `… Revoked`."""


async def enter(server: Server, *, name: str, echo: bool) -> tuple[Transport, Info]:
    """Return the stream of a server that has let us in, and what it says of itself.

    Raises Refused if it does not take our credentials, Away for all else, and TimeoutError.
    """
    client = _Entrant(server)
    try:
        await client.connect(
            server.url,
            name=name,
            no_echo=not echo,
            allow_reconnect=False,
            connect_timeout=OPEN_SECONDS,
            error_cb=_ignore,
            tls_hostname=server.name,
            user=server.credentials.user or None,
            password=server.credentials.password or None,
            token=server.credentials.token or None,
        )
        entered = client.stream, client.info
    except BaseException as error:
        client.leave()
        if isinstance(error, Exception) and not isinstance(error, TimeoutError | AikiError):
            # Whatever nats-py makes of what a stranger says: it is no server that we can use.
            raise _told(server, error) from error
        raise
    return entered


def is_refusal(reason: str) -> bool:
    """Tell whether the server's words mean that it does not take our credentials."""
    return _AUTHENTICATION.search(reason) is not None


class _Entrant(Client):
    """A client that tries one server, once, and does nothing more."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    @property
    def stream(self) -> Transport:
        """The bytes behind the door. Raises Away if it has not opened."""
        if self._transport is None or not self.is_connected:
            raise Away(f"{self._server} has not let us in")
        return self._transport

    @property
    def info(self) -> Info:
        """What the server has said of itself. Raises msgspec.ValidationError if that cannot be read."""
        return msgspec.convert(self._server_info, Info)

    def leave(self) -> None:
        """Close the stream, if there is one."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]

    async def _select_next_server(self) -> None:
        self._current_server = self._server_pool[0]
        await self._connect_to_server(self._current_server)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # Before our credentials are sent: where the address insists on TLS they must not go in the clear.
        if self._server.tls and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise nats.errors.Error("it offers no TLS, and its URL says tls://")
            info["tls_required"] = True

    async def _read_loop(self) -> None:
        """Leave the stream to `link`."""

    async def _flusher(self) -> None:
        """Leave the stream to `link`."""

    async def _ping_interval(self) -> None:
        """Leave the stream to `link`."""


def _told(server: Server, error: Exception) -> Away | Refused:
    reason = getattr(error, "strerror", None) or str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if isinstance(error, ConnectionError) and error.errno:
        reason = os.strerror(error.errno)  # asyncio's words for it repeat the address
    if isinstance(error, nats.errors.Error) and is_refusal(reason):
        return Refused(reason)
    return Away(f"{server}: {reason}")


async def _ignore(error: Exception) -> None:
    """Say nothing: what `connect` meets it raises, too."""
