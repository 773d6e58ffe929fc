"""The workflows whose sleeps are measured, and a worker on them: `python -m bench.sleepers LINGER`."""

import asyncio
import signal
import sys
import time
from datetime import datetime, timedelta

import uvloop

from aiki import Client, Worker, WorkflowRun, task, workflow

SLOTS = 1_000


@task
async def now() -> float:
    return time.time()


@workflow(name="until", version="1")
async def until_date(run: WorkflowRun, at: datetime) -> float:
    """Return how many seconds after its date the run went on, by the clock that is its database's, too."""
    await run.sleep_until(at)
    return await now.run(run) - at.timestamp()


@workflow(name="nap", version="1")
async def nap(run: WorkflowRun, milliseconds: int) -> float:
    """Return how many seconds a sleep took, up to the task after it."""
    await now.run(run)
    began = run.now().timestamp()
    await run.sleep(timedelta(milliseconds=milliseconds))
    return await now.run(run) - began


async def _serve(linger: str) -> None:
    async with Client.connect() as client:
        worker = Worker(client, workflows=[until_date, nap], linger=linger, max_concurrent_runs=SLOTS)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        async with worker:
            await worker.run()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1]))
