"""Own the wait until a daemon answers, with a word about it if it takes longer than a person expects."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from aiki.core.errors import Unavailable
from aiki.outages import Outage
from aiki.transport.transport import CONNECT_SECONDS, Transport, log
from aiki.wire.messages import Status

PAUSE_SECONDS: Final = 0.2


async def reach(url: str, *, namespace: str, name: str, seconds: float) -> Transport:
    """Return a connection on which a daemon has answered.

    Raises ConfigError for a bad URL, Unavailable (Denied, if NATS refuses us) if none has within `seconds`. It is
    tried once in any case, for at most twice CONNECT_SECONDS.
    """
    deadline = time.monotonic() + seconds
    outage = Outage(log, "aikid")
    while True:
        try:
            transport = await _answered(url, namespace, name)
        except Unavailable as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if seconds > CONNECT_SECONDS:
                outage.goes_on(f"{error}; trying for another {left:.0f} s")
            await asyncio.sleep(min(PAUSE_SECONDS, left))
        else:
            outage.is_over()
            return transport


async def _answered(url: str, namespace: str, name: str) -> Transport:
    transport = await Transport.connect(url, namespace=namespace, name=name)
    try:
        await transport.call(Status([]), seconds=CONNECT_SECONDS)
    except BaseException:
        await transport.close()
        raise
    return transport
