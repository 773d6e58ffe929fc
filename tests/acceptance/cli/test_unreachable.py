"""Where Aiki cannot be reached it is said at once, with what is there instead, who says the address, and what to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from aiki import Client, Unavailable
from tests.servers import free_port

Serve = Callable[[bytes], "Port"]


class Port:
    """A port where somebody is who is no nats-server: it greets, closes, and counts who came."""

    def __init__(self, greeting: bytes, *, closes: bool) -> None:
        self.came = 0
        self._greeting = greeting
        self._closes = closes
        self._server = socket.create_server(("127.0.0.1", 0))
        self._kept: list[socket.socket] = []
        self.url = f"nats://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for one in self._kept:
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._server.accept()
                self.came += 1
                one.sendall(self._greeting)
                if self._closes:
                    one.close()
                else:
                    self._kept.append(one)
            except OSError:
                return


@pytest.fixture
def serve() -> Iterator[Callable[..., Port]]:
    with ExitStack() as stack:

        def start(greeting: bytes, *, closes: bool = True) -> Port:
            port = Port(greeting, closes=closes)
            stack.callback(port.close)
            return port

        yield start


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is no nats-server: it says 'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/1.1 400 Bad Request\r\n", "is no nats-server: it says 'HTTP/1.1 400 Bad Request'"),
        (b"", "ends the connection before it says anything"),
    ],
)
def test_what_is_no_nats_server_is_asked_once_and_named(aiki, serve, greeting, told):
    port = serve(greeting)
    done = aiki("status", env={"AIKI_URL": port.url})
    assert (done.code, done.out, port.came) == (69, "", 1)
    first, fact, *_, hint = done.err.splitlines()
    assert first.startswith(f"error: NATS at {port.url} cannot be reached (127.0.0.1:")
    assert told in first
    assert fact == "  tried once; the address comes from AIKI_URL"
    assert hint.startswith("  hint: --url, AIKI_URL or --profile NAME leads elsewhere; "), "its port is taken"


@pytest.mark.anyio
async def test_who_accepts_and_says_nothing_is_waited_for_and_named(serve):
    port = serve(b"", closes=False)
    with pytest.raises(Unavailable, match="accepts connections and says nothing: it is frozen, or no nats-server"):
        async with Client.connect(port.url, timeout="100ms", fail_fast=True):
            pass
    assert port.came == 1


def test_where_nobody_listens_it_is_told_once(aiki, environment, flows):
    nobody = f"nats://127.0.0.1:{free_port()}"
    (flows / "aiki.yaml").write_text(f"aiki: 1\nprofiles: {{p: {{client: {{url: '{nobody}', namespace: shop}}}}}}")
    done = aiki("status", "--profile", "p", env={"AIKI_URL": "", "AIKI_NAMESPACE": ""})
    assert done.code == 69
    place = f"profile p ({flows}/aiki.yaml:2:"
    assert "Connection refused)" in done.err
    assert f"  tried once; the address comes from {place}30)\n" in done.err
    assert len(done.err.splitlines()) == 3
    assert "  hint: start one: aiki dev   (--url, AIKI_URL or --profile NAME leads elsewhere; --start-ti" in done.err
    no_name = aiki("status", "--url", "nats://nowhere.invalid", "-o", "json")
    assert no_name.code == 69
    error = json.loads(no_name.err)["error"]
    assert (error["code"], error["exit"]) == ("unavailable", 69)
    assert error["message"].endswith("\ntried once; the address comes from --url")
    assert error["hint"].startswith("--url, AIKI_URL or --profile NAME leads elsewhere")


def test_a_nats_server_without_an_aikid_is_told_so(aiki, nats):
    done = aiki("status", env={"AIKI_URL": nats.url})
    assert done.code == 69
    assert "error: no aikid serves namespace 'cli-" in done.err
    assert "  tried once; the address comes from AIKI_URL\n  the namespace comes from AIKI_NAMESPACE\n" in done.err


def test_whoever_waits_gets_what_comes_later_and_hears_how_long_it_was_waited(
    aiki, start, start_aikid, nats, namespace
):
    late = {"AIKI_URL": nats.url, "AIKI_NAMESPACE": namespace}
    waits = start("status", "--start-timeout", "60s", "-o", "json", env=late)
    start_aikid(nats_url=nats.url)
    assert waits.wait(60) == 0
    given_up = aiki("--start-timeout", "600ms", "status", "-q", "--url", f"nats://127.0.0.1:{free_port()}")
    assert (given_up.code, given_up.err.splitlines()[1]) == (69, "  tried for 600ms; the address comes from --url")
    wrong = aiki("status", env={"AIKI_START_TIMEOUT": "soon"})
    assert (wrong.code, "soon" in wrong.err) == (2, True)
