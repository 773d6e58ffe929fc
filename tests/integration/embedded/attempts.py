"""Run the embedded servers on the folder that each line of stdin names, and say on a line what came of it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from aiki.core.errors import ConfigError
from aikid.embedded.supervisor import embedded_servers

SERVED = "served"


async def attempt(data: Path) -> str:
    """Return SERVED, or why the servers were not run."""
    try:
        async with embedded_servers(data, nats_port=0, start_seconds=30.0):
            return SERVED
    except ConfigError as error:
        return f"{error}"


if __name__ == "__main__":
    os.umask(0)
    for line in sys.stdin:
        print(repr(asyncio.run(attempt(Path(line.rstrip("\n"))))), flush=True)
