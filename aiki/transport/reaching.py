"""Own the wait until a daemon answers, with a word about it if it takes longer than a person expects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiki.core.errors import Denied, Unavailable
from aiki.core.keyfiles import KeyFiles
from aiki.process.outages import Outage
from aiki.transport.silence import SHORT_ATTEMPT_SECONDS, Unserved
from aiki.transport.transport import CONNECT_SECONDS, Transport, log
from aiki.wire.messages import Status

PAUSE_SECONDS: Final = 0.2
LEAST_SECONDS: Final = 0.5
"""Whoever gives less time, or none at all, still means to try."""


async def reach(
    url: str, keys: KeyFiles, *, namespace: str, name: str, seconds: float, fail_fast: bool = False
) -> Transport:
    """Return a connection on which a daemon has answered.

    Raises ConfigError for a bad URL or files of `keys` that cannot be used, Unavailable (Denied, if NATS refuses us) if
    none has within `seconds`. It is tried once in any case; with `fail_fast` once alone: `seconds` are for one that is
    there and slow.
    """
    deadline = time.monotonic() + seconds
    connect = partial(Transport.connect, url, keys=keys, namespace=namespace, name=name)
    if fail_fast:
        return await _answered(partial(connect, fail_fast=True), deadline, greet=_greet_once)
    outage = Outage(log, "aikid")
    while True:
        try:
            transport = await _answered(connect, deadline)
        except Unavailable as error:
            left = deadline - time.monotonic()
            if left <= PAUSE_SECONDS:
                raise
            if seconds > CONNECT_SECONDS:
                outage.goes_on(f"{error}; trying for another {left:.0f} s")
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            outage.is_over()
            return transport


async def _greet(transport: Transport, deadline: float) -> None:
    await transport.call(Status([]), seconds=_seconds_until(deadline))


async def _greet_once(transport: Transport, deadline: float) -> None:
    """Have a daemon answer, if one is there: only then is it asked again."""
    try:
        await transport.call(Status([]), seconds=min(SHORT_ATTEMPT_SECONDS, _seconds_until(deadline)), repeat=False)
    except (Unserved, Denied):
        raise
    except Unavailable:
        await _greet(transport, deadline)


async def _answered(
    connect: Callable[..., Awaitable[Transport]],
    deadline: float,
    greet: Callable[[Transport, float], Awaitable[None]] = _greet,
) -> Transport:
    transport = await connect(seconds=_seconds_until(deadline))
    try:
        await greet(transport, deadline)
    except BaseException:
        await transport.close()
        raise
    return transport


def _seconds_until(deadline: float) -> float:
    return min(CONNECT_SECONDS, max(deadline - time.monotonic(), LEAST_SECONDS))
