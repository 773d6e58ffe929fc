"""Own the wait at start until Postgres and NATS answer, with a word about it every few seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from aiki.core.errors import Unavailable
from aikid.bus import Bus
from aikid.config import Settings
from aikid.store import migrate
from aikid.store.pool import Pool
from aikid.threads import in_thread

log = logging.getLogger(__name__)

_TRY_SECONDS: Final = 0.25
_WORD_SECONDS: Final = 3.0


async def wait_for_postgres(settings: Settings) -> None:
    """Return once the schema is what this code needs, having brought it there unless `settings.migrate` is off.

    Raises Unavailable if Postgres does not answer in time, Denied if it refuses us then, and ConfigError at once if the
    database or its schema cannot be used.
    """
    bring = migrate.upgrade if settings.migrate else migrate.check
    await _until_available(
        lambda: in_thread(lambda: bring(settings.database_url)),
        what="Postgres",
        seconds=settings.start_timeout_seconds,
        hint="is it running, and is AIKI_DATABASE_URL right? `aikid check` tells; `aikid --embedded` brings its own",
    )


async def open_pool(settings: Settings) -> None:
    """Return once all connections that a daemon serves by have been open. Raises ConfigError, Denied, Unavailable."""
    pool = Pool(settings.database_url, size=settings.pool_size)
    try:
        await pool.open()
    finally:
        await pool.aclose()


async def wait_for_nats(settings: Settings) -> None:
    """Return once a NATS server lets us in and permits what a daemon needs.

    Raises Unavailable if none does in time, Denied if one refuses us then, ConfigError if our keys cannot be used.
    """
    await _until_available(
        lambda: _enter(settings),
        what="NATS",
        seconds=settings.start_timeout_seconds,
        hint="is it running, and is AIKI_NATS_URL right? `aikid check` tells; `aikid --embedded` brings its own",
    )


async def _until_available(attempt: Callable[[], Awaitable[None]], *, what: str, seconds: float, hint: str) -> None:
    began = time.monotonic()
    next_word = began
    last = Unavailable(f"{what} accepts connections and does not answer")
    while True:
        left = began + seconds - time.monotonic()
        try:
            async with asyncio.timeout(max(left, _TRY_SECONDS)):
                return await attempt()
        except Unavailable as error:
            last = error
        except TimeoutError:
            pass
        now = time.monotonic()
        reason = last.message
        if now - began >= seconds:
            # Of its own kind: whoever is denied ends with another exit code.
            raise type(last)(f"gave up after {seconds:g} s: {reason}", hint=last.hint or hint)
        if now >= next_word:
            next_word = now + _WORD_SECONDS
            log.warning("%s; trying for another %.0f s", reason, began + seconds - now)
        await asyncio.sleep(_TRY_SECONDS)


async def _enter(settings: Settings) -> None:
    bus = Bus(settings.nats_url, settings.keys, on_return=lambda: None, quiet=True)
    try:
        await bus.connect(seconds=_TRY_SECONDS)
        await bus.check_rights()
    finally:
        await bus.aclose()
