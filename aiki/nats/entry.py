"""Own how a nats-server lets us in: nats-py's client, from the address to the server's first PONG.

The connection, TLS, the greeting and all forms of credentials are nats-py's; their files are `keyring`'s, since nats-py
reads for ever in one that holds no JWT, and keeps the line ends of Windows. What comes behind is not: its reading loop
ends for good at a subject, a reply subject or a status that is not UTF-8, at a header block without a first line and at
the answer to a ping that was given up; it closes for good when credentials are refused, forgets subscriptions that
permissions took, and each message costs it a task's turn. So its tasks never begin, and the socket becomes `link`'s.

nats-py has no public way to either; `tests/unit/nats/test_entry.py` holds what is overridden here against its release.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from aiki.core.errors import AikiError, ConfigError
from aiki.nats import keyring
from aiki.nats.errors import Away, KeysUnusable, NatsError, Refused, Untrusted
from aiki.nats.frames import Info
from aiki.nats.nats_py import Client, TcpTransport, errors

if TYPE_CHECKING:
    from aiki.core.keyfiles import KeyFiles
    from aiki.core.servers import Server
    from aiki.nats.keyring import Login

OPEN_SECONDS: Final = 2
"""For each step of a server's way of letting us in; `link` bounds them together."""
READ_BYTES: Final = 64 * 1024
SHOWN_BYTES: Final = 40
"""Of what greets us and is no nats-server."""
_AUTHENTICATION: Final = re.compile(r"authorization|authentication (?!timeout)|not trusted", re.IGNORECASE)
"""What a server calls a refusal of credentials: also `User Authentication Expired` and `… Revoked`."""


async def enter(server: Server, keys: KeyFiles, *, name: str, echo: bool, seconds: float) -> tuple[Stream, Info]:
    """Return the stream of a server that has let us in within `seconds`, and what it says of itself.

    Raises Refused if it does not take our credentials, Untrusted if we do not take its certificate, KeysUnusable if we
    have none to show, and Away for all else.
    """
    try:
        login, tls = keyring.login(keys), keyring.tls_context(keys)
    except ConfigError as error:
        raise KeysUnusable(error) from error
    client = _Entrant(server, keys)
    try:
        async with asyncio.timeout(seconds):
            await client.connect(
                server.url,
                name=name,
                no_echo=not echo,
                allow_reconnect=False,
                connect_timeout=OPEN_SECONDS,
                error_cb=_ignore,
                tls=tls,
                tls_hostname=server.name,
                **_presented(server, login),
            )
        entered = client.stream, client.info
    except BaseException as error:
        client.leave()
        if isinstance(error, TimeoutError):
            raise Away(f"{server} {client.silence}") from error
        if isinstance(error, Exception) and not isinstance(error, NatsError | AikiError):
            # Whatever nats-py makes of what a stranger says: it is no server that we can use.
            raise _told(client, error, login) from error
        raise
    return entered


def is_refusal(reason: str) -> bool:
    """Tell whether the server's words mean that it does not take our credentials."""
    return _AUTHENTICATION.search(reason) is not None


class _Entrant(Client):
    """A client that tries one server, once, and does nothing more."""

    def __init__(self, server: Server, keys: KeyFiles) -> None:
        super().__init__()
        self.server = server
        self._keys = keys

    @property
    def stream(self) -> Stream:
        """The bytes behind the door. Raises Away if it has not opened."""
        if not isinstance(self._transport, Stream) or not self.is_connected:
            raise Away(f"{self.server} has not let us in")
        return self._transport

    @property
    def has_shown_certificate(self) -> bool:
        """Whether the server has asked for our certificate, and we have one."""
        return bool(self._server_info.get("tls_verify")) and self._keys.tls_cert is not None

    @property
    def silence(self) -> str:
        """What is said of a server that let its time pass."""
        if isinstance(self._transport, Stream) and not self._transport.has_greeted:
            return "accepts connections and says nothing: it is frozen, or no nats-server"
        return "does not answer"

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
        stream = Stream(self.server)
        await stream.connect(self._current_server.uri, buffer_size=READ_BYTES, connect_timeout=OPEN_SECONDS)
        self._transport = stream

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # Before our credentials are sent: where TLS is insisted on they must not go in the clear.
        if (self.server.tls or self._keys.insist_on_tls) and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise Away(f"{self.server}: it offers no TLS, and {self._tls_reason} for it")
            info["tls_required"] = True
        if info.get("tls_required") and info.get("tls_verify") and self._keys.tls_cert is None:
            raise Refused(f"{self.server} asks for a certificate of ours, and tls_cert (AIKI_TLS_CERT) gives none")

    @property
    def _tls_reason(self) -> str:
        if self.server.tls:
            return "its URL asks"
        return "tls_ca asks" if self._keys.tls_ca else "tls_cert asks"

    async def _read_loop(self) -> None:
        """Leave the stream to `link`."""

    async def _flusher(self) -> None:
        """Leave the stream to `link`."""

    async def _ping_interval(self) -> None:
        """Leave the stream to `link`."""


class Stream(TcpTransport):
    """A stream that knows a greeting, and when it has become one of TLS, and that can be handed over."""

    def __init__(self, server: Server) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.has_greeted = False
        self._server = server

    async def readline(self) -> bytes:
        """Return the next line. Raises Away if the first one is no greeting of a nats-server's."""
        line: bytes = await super().readline()  # type: ignore[no-untyped-call]
        if not self.has_greeted and (reason := _no_greeting(line)):
            raise Away(f"{self._server} {reason}")
        self.has_greeted = True
        return line

    def hand_over(self, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes, bool]:
        """Give all that comes from now on to `protocol`; return what writes to it, what had come, and whether it ended.

        Keep the stream as long as the transport: the end of its writer would be the transport's.
        """
        assert self._io_reader is not None
        assert self._io_writer is not None
        transport = self._io_writer.transport
        transport.set_protocol(protocol)
        reading = self._io_reader.read(READ_BYTES)
        try:
            reading.send(None)  # it waits only if there is nothing
        except StopIteration as read:
            come: bytes = read.value
        except OSError:
            come = b""
        else:
            come = b""
            reading.close()
        return cast("asyncio.Transport", transport), come, transport.is_closing() or self._io_reader.at_eof()

    async def connect_tls(self, *args: Any, **options: Any) -> None:
        """Speak TLS from now on."""
        await super().connect_tls(*args, **options)
        assert self._io_writer is not None
        transport = self._io_writer.transport
        if (protocol := transport.get_protocol()) is None:
            raise ConnectionResetError("the server has ended the connection")
        # Else its reader cannot pause it, and asyncio complains when it ends.
        protocol.connection_made(transport)


def _no_greeting(line: bytes) -> str:
    """Return why a server's first line is no greeting; empty if it is one."""
    if not line:
        return "ends the connection before it says anything"
    word, _, info = line.partition(b" ")
    if word == b"INFO":
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if isinstance(msgspec.json.decode(info), dict):
                return ""
    said = line[:SHOWN_BYTES].decode(errors="replace").strip()
    return f"is no nats-server: it says {said!r}"


def _presented(server: Server, login: Login | None) -> dict[str, Any]:
    """Return what we say of ourselves, in nats-py's words."""
    of_url = server.credentials
    if login is not None and login.jwt:
        return {"user_jwt_cb": lambda: login.jwt.encode(), "signature_cb": login.sign, "token": of_url.token or None}
    if login is not None:
        return {"nkeys_seed_str": login.seed, "token": of_url.token or None}
    if of_url.token:
        return {"token": of_url.token}
    return {"user": of_url.user, "password": of_url.password} if of_url.user else {}


def _told(client: _Entrant, error: Exception, login: Login | None) -> Away | Refused:
    server = client.server
    if isinstance(error, ssl.SSLCertVerificationError):
        return Untrusted(f"the certificate of {server}: {error.verify_message}")
    reason = getattr(error, "strerror", None) or str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    if isinstance(error, OSError) and client.has_shown_certificate:
        # TLS 1.3: what the server thinks of it comes when we already speak, if it comes at all.
        return Refused(f"{server} ends the connection at our certificate (tls_cert): does it trust who signed that?")
    if isinstance(error, ConnectionError) and error.errno:
        reason = os.strerror(error.errno)  # asyncio's words for it repeat the address
    if isinstance(error, errors.Error) and is_refusal(reason):
        expired = login.expired(datetime.now(UTC)) if login else ""
        return Refused(f"{reason} ({expired})" if expired else reason)
    return Away(f"{server}: {reason}")


async def _ignore(error: Exception) -> None:
    """Say nothing: what `connect` meets it raises, too."""
