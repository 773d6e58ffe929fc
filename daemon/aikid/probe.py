"""Own the wait at start until Postgres and NATS answer, with a word about it every few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from aiki.core.errors import Unavailable
from aikid.config import DEFAULT_NATS_PORT, Settings
from aikid.store import migrate
from aikid.threads import in_thread

log = logging.getLogger(__name__)

_TRY_SECONDS: Final = 0.25
_WORD_SECONDS: Final = 3.0
_NATS_SECONDS: Final = 2.0


async def wait_for_postgres(settings: Settings) -> None:
    """Return once the schema is what this code needs, having brought it there unless `settings.migrate` is off.

    Raises Unavailable if Postgres does not answer in time, and ConfigError if the schema cannot be used.
    """
    bring = migrate.upgrade if settings.migrate else migrate.check
    await _until_available(
        lambda: in_thread(lambda: bring(settings.database_url)),
        what="Postgres",
        seconds=settings.start_timeout_seconds,
        hint="is it running, and is AIKI_DATABASE_URL right? `aikid check` tells; `aikid --embedded` brings its own",
    )


async def wait_for_nats(settings: Settings) -> None:
    """Return once one of the NATS servers greets. Raises Unavailable if none does in time."""
    await _until_available(
        lambda: _greet_any(settings.nats_url),
        what="NATS",
        seconds=settings.start_timeout_seconds,
        hint="is it running, and is AIKI_NATS_URL right? `aikid check` tells; `aikid --embedded` brings its own",
    )


async def _until_available(attempt: Callable[[], Awaitable[None]], *, what: str, seconds: float, hint: str) -> None:
    began = time.monotonic()
    next_word = began
    reason = f"{what} accepts connections and does not answer"
    while True:
        left = began + seconds - time.monotonic()
        try:
            async with asyncio.timeout(max(left, _TRY_SECONDS)):
                return await attempt()
        except Unavailable as error:
            reason = error.message
        except TimeoutError:
            pass
        now = time.monotonic()
        if now - began >= seconds:
            raise Unavailable(f"gave up after {seconds:g} s: {reason}", hint=hint)
        if now >= next_word:
            next_word = now + _WORD_SECONDS
            log.warning("%s; trying for another %.0f s", reason, began + seconds - now)
        await asyncio.sleep(_TRY_SECONDS)


async def _greet_any(nats_url: str) -> None:
    reasons = []
    for url in nats_url.split(","):
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port or DEFAULT_NATS_PORT
        try:
            async with asyncio.timeout(_NATS_SECONDS):
                return await _greet(host, port, says_info=parts.scheme in ("nats", "tls"))
        except TimeoutError:
            reasons.append(f"{host}:{port} does not answer")
        except OSError as error:
            reasons.append(f"{host}:{port}: {error.strerror or error}")
    raise Unavailable(f"NATS cannot be reached: {'; '.join(reasons)}")


async def _greet(host: str, port: int, *, says_info: bool) -> None:
    """Return if a NATS server listens there: it speaks first (except over WebSocket), with `INFO {...}`."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if says_info and await reader.read(5) != b"INFO ":
            raise Unavailable(f"{host}:{port} is no NATS server")
    finally:
        writer.close()
