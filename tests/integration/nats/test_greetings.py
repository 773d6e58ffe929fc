"""What a connection makes of how it is greeted: by no nats-server at all, in the clear, or by one that asks for TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aiki.nats import (
    Away,
    Connection,
    Message,
    Untrusted,
)
from aiki.nats import link as links
from tests.integration.nats.connecting import connected, echo
from tests.servers import Nats
from tests.waiting import patient

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Applications run on the one, daemons and workers on the other."""
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def greeting_with(greeting: bytes) -> AsyncIterator[str]:
    """Serve everybody with these bytes; yields the address."""
    left: list[asyncio.Task[Any] | None] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(asyncio.current_task())
        writer.write(greeting)
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.gather(*filter(None, left), return_exceptions=True)


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", r"is no nats-server: it says 'SSH-2\.0-OpenSSH_9\.2'"),
        (b"HTTP/1.1 400 Bad\r\n\r\n", r"is no nats-server: it says 'HTTP/1\.1 400 Bad'"),
        (b"INFO {\r\n", r"is no nats-server: it says 'INFO \{'"),
        (b"INFO []\r\n", r"is no nats-server: it says 'INFO \[\]'"),
        (b"\x1b[2J\xff\n", r"is no nats-server: it says '\\x1b\[2J"),
        (b"", "accepts connections and says nothing: it is frozen, or no nats-server"),
    ],
)
async def test_what_is_no_nats_server_is_told_so(greeting: bytes, told: str) -> None:
    async with greeting_with(greeting) as url:
        connection = Connection([url], name="test")
        with pytest.raises(Away, match=told):
            await connection.connect(seconds=0.2, fail_fast=True)


async def test_what_comes_before_tls_is_not_believed(monkeypatch) -> None:
    """Anybody on the way can put messages behind the greeting, which is in the clear."""
    monkeypatch.setattr(links, "OPEN_SECONDS", 0.3)
    info = json.dumps({"tls_required": True}).encode()
    got: list[Message] = []
    async with greeting_with(b"INFO " + info + b"\r\nPONG\r\nMSG forged 2 4\r\nevil\r\n") as url:
        connection = Connection([url], name="test")
        connection.subscribe("forged", got.append)
        with pytest.raises(Away):
            await connection.connect(seconds=0.2)
    assert not got


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, *made], cwd=folder, check=True, capture_output=True
    )
    (folder / "key.pem").chmod(0o644)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def encrypted(make_nats: Callable[[], Nats], folder: Path, certificate: tuple[Path, Path]) -> Nats:
    """A server that insists on TLS."""
    for path in certificate:
        (folder / path.name).write_bytes(path.read_bytes())
    nats = make_nats()
    nats.stop()
    nats.configure(tls={"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")})
    nats.start()
    return nats


async def test_tls_is_spoken_where_the_server_asks_for_it(
    encrypted: Nats, certificate: tuple[Path, Path], monkeypatch
) -> None:
    for scheme in ("nats", "tls"):
        url = encrypted.url.replace("nats://", f"{scheme}://")
        stranger = Connection([url], name="test")
        with pytest.raises(Untrusted, match="certificate"):
            await stranger.connect(seconds=0.2)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert ssl.get_default_verify_paths().cafile == str(certificate[0])
    for scheme in ("nats", "tls"):
        async with connected(encrypted.url.replace("nats://", f"{scheme}://")) as connection:
            echo(connection, "test.echo")
            assert len((await connection.request("test.echo", b"x" * 500_000, seconds=patient(3))).data) == 500_000


async def test_a_tls_address_is_never_served_in_the_clear(nats: Nats) -> None:
    connection = Connection([nats.url.replace("nats://", "tls://user:secret@")], name="test")
    with pytest.raises(Away, match="offers no TLS"):
        await connection.connect(seconds=0.2)
