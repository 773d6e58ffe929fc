"""Own the requests to JetStream's API: what is asked of it, and what of its answers is read.

Durations are nanoseconds there. The API: https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar, overload

import msgspec

from aiki.nats import Connection, NatsError, NoResponders

NOT_FOUND: Final = 404
BAD_REQUEST: Final = 400
SECOND: Final = 1_000_000_000

T = TypeVar("T")


class JetStreamDown(Exception):
    """JetStream does not answer, or not as it should; hints wait."""


class JetStreamRefused(JetStreamDown):
    """JetStream answered with an error; `code` is its HTTP-like number."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class Delivered(msgspec.Struct):
    """How far a consumer has come."""

    consumer_seq: int = 0


class ConsumerInfo(msgspec.Struct):
    """What JetStream says of a consumer."""

    num_pending: int = 0
    num_ack_pending: int = 0
    num_waiting: int = 0
    delivered: Delivered = msgspec.field(default_factory=Delivered)


class StreamInfo(msgspec.Struct):
    """What JetStream says of a stream: its settings as they are, those too that we do not know."""

    config: dict[str, Any]


class _Error(msgspec.Struct):
    code: int
    description: str = ""


class _Answer(msgspec.Struct):
    error: _Error | None = None


class JetStream:
    """The API, asked over `connection`; each request waits for `seconds`."""

    def __init__(self, connection: Connection, *, seconds: float) -> None:
        self._nats = connection
        self._seconds = seconds

    @overload
    async def ask(self, what: str, body: Mapping[str, Any] | None = None) -> object: ...
    @overload
    async def ask(self, what: str, body: Mapping[str, Any] | None = None, *, answer: type[T]) -> T: ...
    async def ask(self, what: str, body: Mapping[str, Any] | None = None, *, answer: Any = object) -> Any:
        """Return what `$JS.API.<what>` answers. Raises JetStreamRefused for an error of the API, else JetStreamDown."""
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            message = await self._nats.request(f"$JS.API.{what}", data, seconds=self._seconds)
        except NoResponders as error:
            raise JetStreamDown("JetStream is not enabled") from error
        except NatsError as error:
            raise JetStreamDown(str(error)) from error
        try:
            if (failed := msgspec.json.decode(message.data, type=_Answer).error) is not None:
                raise JetStreamRefused(failed.code, failed.description)
            return msgspec.json.decode(message.data, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JetStreamDown(f"JetStream's answer to {what} cannot be read: {error}") from error
