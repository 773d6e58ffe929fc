"""Decide what the bytes of a nats-server mean. Pure: no socket, no clock.

Whoever may publish at all chooses the subject, the reply subject, the header block and the payload of a message, byte
by byte, and the server passes them on as they are. So a message that cannot be read is a frame like any other
(`Unreadable`), and the next one is read: the server's own numbers say where it begins. Only a stream that breaks the
server's side of the protocol (`BrokenStream`) ends the connection. Of a header block nothing is read but the status.

The protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

LINE_BYTES: Final = 64 * 1024
"""No line of a server is longer; by default it takes 4 KiB itself, and its greeting is about 1 KiB."""
PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""A server cannot be configured to take more."""
_END: Final = b"\r\n"
_STATUS: Final = b"NATS/1.0 "
_STATUS_DIGITS: Final = 3


class BrokenStream(Exception):
    """What comes is not the protocol of a nats-server: nothing behind it can be understood."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """What was published. `status` is the server's word in place of a message ("503": nobody listens), mostly empty."""

    sid: bytes
    """Of the subscription that it came for."""
    subject: str
    reply: str
    status: str
    data: bytes


class Unreadable(msgspec.Struct, frozen=True):
    """A message that was left out, and why."""

    reason: str


class Info(msgspec.Struct, frozen=True):
    """What the server says of itself when it greets, and whenever that changes."""

    version: str = ""
    max_payload: int = 1024 * 1024
    """The largest message that it takes, in bytes, headers included."""
    tls_required: bool = False
    tls_available: bool = False
    connect_urls: list[str] = []
    """Host and port of each server of the cluster."""


class Problem(msgspec.Struct, frozen=True):
    """The server refuses something; after most of its reasons it closes the connection."""

    reason: str


class Ping(msgspec.Struct, frozen=True):
    """To be answered with PONG, else the server closes the connection."""


class Pong(msgspec.Struct, frozen=True):
    """The answer to a PING: all that was sent before it was dealt with."""


Frame = Message | Unreadable | Info | Problem | Ping | Pong

_decode_info: Final = msgspec.json.Decoder(Info).decode


class Frames:
    """The frames of one connection, however its bytes come cut."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        """The beginning of a frame, joined once, when all is there: a large message costs no more than its bytes."""
        self._missing = 0

    def receive(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes. Raises BrokenStream; nothing can be received after it."""
        if self._kept:
            self._kept.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._kept)
            self._kept = []
        at = 0
        while at < len(data):
            end = data.find(_END, at)
            if end < 0:
                self._keep(data[at:], missing=1)
                if len(data) - at > LINE_BYTES:
                    raise BrokenStream("a line does not end")
                return
            line, begin = data[at:end], end + 2
            if line.startswith((b"MSG ", b"HMSG ")):
                words = line.split(b" ")
                end = begin + _size(words[-1])
                if len(data) < end + 2:
                    self._keep(data[at:], missing=end + 2 - len(data))
                    return
                if data[end : end + 2] != _END:
                    raise BrokenStream("a payload is longer than the server says")
                yield _message(words, data[begin:end])
                at = end + 2
            else:
                if (frame := _control(line)) is not None:
                    yield frame
                at = begin

    def _keep(self, begun: bytes, *, missing: int) -> None:
        self._kept = [begun]
        self._missing = missing


def _message(words: list[bytes], payload: bytes) -> Message | Unreadable:
    """`MSG subject sid [reply] size` or `HMSG subject sid [reply] header-size size`; neither subject holds a blank."""
    status = ""
    if words[0] == b"HMSG":
        header_size = _size(words.pop(-2))
        if header_size > len(payload):
            return Unreadable("its headers are larger than all of it")
        status = _status(payload[:header_size])
        payload = payload[header_size:]
    try:
        match words:
            case [_, subject, sid, _]:
                return Message(sid, subject.decode(), "", status, payload)
            case [_, subject, sid, reply, _]:
                return Message(sid, subject.decode(), reply.decode(), status, payload)
            case _:
                raise BrokenStream("a message has more or fewer words than it should")
    except UnicodeDecodeError:
        return Unreadable("its subject or reply subject is not UTF-8")


def _status(headers: bytes) -> str:
    if not headers.startswith(_STATUS):
        return ""
    digits = headers[len(_STATUS) : len(_STATUS) + _STATUS_DIGITS]
    return digits.decode() if digits.isdigit() else ""


def _size(word: bytes) -> int:
    if not word.isdigit() or len(word) > len(str(PAYLOAD_BYTES)) or (size := int(word)) > PAYLOAD_BYTES:
        raise BrokenStream(f"{word[:20]!r} is not a size")
    return size


def _control(line: bytes) -> Frame | None:
    verb, _, rest = line.partition(b" ")
    match verb:
        case b"PING":
            return Ping()
        case b"PONG":
            return Pong()
        case b"INFO":
            try:
                return _decode_info(rest)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BrokenStream(f"the server's greeting cannot be read: {error}") from error
        case b"-ERR":
            return Problem(rest.decode(errors="replace").strip(" '"))
        case b"+OK":
            return None
        case _:
            raise BrokenStream(f"{verb[:20]!r} is no word of a nats-server")
