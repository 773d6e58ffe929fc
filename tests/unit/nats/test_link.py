"""A link takes over what has come to the stream before it, in its order, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlparse

import pytest
import uvloop

from aiki.core import servers
from aiki.nats.entry import READ_BYTES, Stream
from aiki.nats.frames import Info
from aiki.nats.link import Link
from tests.waiting import wait_until

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_comes_during_the_hand_over_does_not_overtake_what_had_come(run: Run) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"nats://127.0.0.1:{server.getsockname()[1]}"
            stream, address = Stream(servers.parse(url)[0]), urlparse(url)
            stream.has_greeted = True
            await stream.connect(address, buffer_size=READ_BYTES, connect_timeout=2)
            peer, _ = server.accept()
            with peer:
                peer.sendall(b'PONG\r\nINFO {"max_pay')
                assert await stream.readline() == b"PONG\r\n"
                peer.sendall(b'load": 12345}\r\n')
                assert select.select([stream._io_writer.get_extra_info("socket")], [], [], 2)[0]  # type: ignore[union-attr]
                link = Link(stream, Info())
                await wait_until(lambda: link.lost.done() or link.info.max_payload == 12345)
                assert not link.lost.done(), link.lost.result()
                await link.close()

    run(main())
