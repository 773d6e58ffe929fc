"""A worker process for the chaos tests: `worker_main.py NAME --lease 1500ms --linger 20ms`. SIGTERM drains it."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from aiki import Client, Worker
from aiki.execution import Pools
from aiki.execution.tasks.processes import Processes
from aiki.execution.tasks.threads import Threads
from tests.chaos.flows import ALL, SLOTS


async def serve(options: argparse.Namespace) -> None:
    async with Client.connect() as client:
        worker = Worker(
            client,
            workflows=[flow for flow in ALL if not options.only or flow.name in options.only],
            id=options.name,
            lease=options.lease,
            linger=options.linger,
            drain=options.drain,
            max_concurrent_runs=options.slots,
        )
        worker._pools = Pools(Threads(options.threads), Processes(options.processes))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        async with worker:
            await worker.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--lease", default="1500ms")
    parser.add_argument("--linger", default="20ms")
    parser.add_argument("--drain", default="5s")
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--threads", type=int, default=40)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(serve(parser.parse_args()))
