"""Own the way into a cluster: which servers there are, and which of them lets us in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from aiki.core import servers
from aiki.core.keyfiles import KeyFiles
from aiki.nats.errors import Away, Refused
from aiki.nats.frames import Info
from aiki.nats.link import Link

PAUSE_SECONDS: Final = 0.1
"""Between two rounds over all servers, at first."""


class Cluster:
    """The servers of one cluster, those of each client in an order of its own. Raises ValueError for no addresses."""

    def __init__(self, urls: Sequence[str], *, name: str, keys: KeyFiles, echo: bool) -> None:
        self.info = Info()
        """What the server that let us in last has said of itself."""
        self._given = [server for url in urls for server in servers.parse(url)]
        random.shuffle(self._given)
        self._name = name
        self._keys = keys
        self._echo = echo

    @property
    def servers(self) -> list[servers.Server]:
        """Those given, and those that they told of."""
        return servers.merged(self._given, servers.discovered(self.info.connect_urls, self._given[0]))

    async def open(self, *, seconds: float | None = None) -> Link:
        """Return a link to the first server that lets us in; each has `seconds` for it, if that is less than usual.

        Raises Refused if one refuses, else Away.
        """
        refused: Refused | None = None
        away: Away | None = None
        for server in self.servers:
            try:
                return await Link.open(server, self._keys, name=self._name, echo=self._echo, seconds=seconds)
            except Refused as error:
                refused = error
            except Away as error:
                away = error
        raise refused or away or Away("there is no server to connect to")

    async def open_within(self, seconds: float) -> Link:
        """Do so, in as many rounds over all servers as there is time for. Raises Refused at once, Away in the end."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                return await self.open()
            except Away:
                if asyncio.get_running_loop().time() + PAUSE_SECONDS >= deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)
