"""A worker that serves `examples/saga.py` and gets stuck in the middle of taking a trip back."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

from aiki import Client, Worker
from examples import saga

ask = saga.ask_partner


def ask_or_hang(service: str, order: str, to: str) -> str:
    """Hang where the hotel is called off: a sign in the folder of the command line says so."""
    if (service, order) == ("hotel", "call off"):
        (Path(sys.argv[1]) / "hangs").touch()
        threading.Event().wait()
    return ask(service, order, to)


async def main() -> None:
    saga.ask_partner = ask_or_hang
    async with Client.connect() as client, Worker(client, workflows=[saga.book_trip], lease="1s") as worker:
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
