"""A client process that may be killed: it enqueues `mixed` runs one by one, by key, and prints what it was told.

Numbers and ids go to stdout, one line each, flushed: what stands there was acknowledged.
"""

from __future__ import annotations

import asyncio
import sys

from aiki import Client
from tests.chaos.flows import mixed


async def main(count: int) -> None:
    async with Client.connect() as client:
        for n in range(count):
            handle = await mixed.options(idempotency_key=f"order-{n}").enqueue(client, n)
            print(n, handle.run_id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
