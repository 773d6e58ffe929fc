"""What opens a server: passwords, tokens, credentials files, certificates; and what is said where they do not."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import nkeys
import pytest

from aiki.core.errors import ConfigError, FileUnreadable
from aiki.core.keyfiles import KeyFiles
from aiki.nats import Away, Connection, KeysUnusable, NoResponders, Refused, Untrusted
from tests.servers import Nats, free_port
from tests.servers.authority import Authority, Certificate
from tests.servers.operator import HOUR_SECONDS, Operator
from tests.waiting import patient, wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Applications run on the one, daemons and workers on the other."""
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def connected(url: str, keys: KeyFiles | None = None, *, seconds: float = 3.0) -> AsyncIterator[Connection]:
    connection = Connection([url], keys=keys, name="test")
    await connection.connect(seconds=patient(seconds))
    try:
        yield connection
    finally:
        await connection.close()


async def assert_enters(url: str, keys: KeyFiles | None = None) -> None:
    async with connected(url, keys) as connection:
        with pytest.raises(NoResponders):
            await connection.request("test.nobody", seconds=patient(2))


async def refusal(url: str, keys: KeyFiles | None = None) -> Exception:
    """Return why the server cannot be entered."""
    with pytest.raises((Away, Refused)) as caught:
        async with connected(url, keys, seconds=0.1):
            pass
    return caught.value


def is_lost(connection: Connection) -> bool:
    return not connection.connected


async def restart(nats: Nats, **settings: Any) -> None:
    await anyio.to_thread.run_sync(partial(nats.restart_with, **settings))


# -- in the address


async def test_any_password_and_token_can_be_written_in_an_address(make_nats: Callable[[], Nats]) -> None:
    nats = make_nats()
    for secret in ("p@ss/w:rd?#%&=+ ü,[]", "a%40b", "%"):
        encoded = quote(secret, safe="")
        for who, settings in (
            (f"us%40r:{encoded}", {"user": "us@r", "password": secret}),
            (encoded, {"token": secret}),
        ):
            await restart(nats, authorization=settings)
            await assert_enters(nats.url.replace("://", f"://{who}@"))
            error = await refusal(nats.url.replace("://", "://us%40r:wrong@"))
            assert isinstance(error, Refused)
            assert str(error) == "Authorization Violation"


async def test_the_first_of_several_servers_may_be_away_or_refuse_us(nats: Nats, make_nats: Callable[[], Nats]) -> None:
    guarded = make_nats()
    guarded.guard()
    await assert_enters(f"nats://127.0.0.1:{free_port()}, {guarded.server.url},{nats.url}")
    assert isinstance(await refusal(f"127.0.0.1:{free_port()},{guarded.server.url}"), Refused)


# -- credentials files


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def signed(make_nats: Callable[[], Nats], operator: Operator) -> Nats:
    """A server that lets in whom the operator's account has signed."""
    nats = make_nats()
    nats.restart_with(**operator.settings())
    return nats


async def test_a_credentials_file_opens_a_server(signed: Nats, operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    file.write_bytes(operator.credentials(seconds=HOUR_SECONDS).replace("\n", "\r\n").encode("utf-8-sig"))
    await assert_enters(signed.url, KeyFiles(creds=file))
    assert str(await refusal(signed.url)) == "Authorization Violation"
    file.write_text(operator.credentials(seconds=-1))
    assert str(await refusal(signed.url, KeyFiles(creds=file))).startswith(
        f"Authorization Violation (what {file} holds expired at 20"
    )
    file.write_text(Operator().credentials(seconds=HOUR_SECONDS))
    assert str(await refusal(signed.url, KeyFiles(creds=file))) == "Authorization Violation"


async def test_a_seed_alone_opens_a_server_that_knows_its_key(
    make_nats: Callable[[], Nats], operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / "user.nk"
    seed = operator.credentials(seconds=HOUR_SECONDS).split()[-5]
    file.write_text(f"{seed}\n")
    nats = make_nats()
    key = nkeys.from_seed(seed.encode()).public_key.decode()
    await restart(nats, authorization={"users": [{"nkey": key}]})
    await assert_enters(nats.url, KeyFiles(creds=file))


async def test_a_file_that_cannot_be_used_is_told_whatever_the_server_asks_for(nats: Nats, tmp_path: Path) -> None:
    unreadable = await refusal(nats.url, KeyFiles(creds=tmp_path / "none"))
    assert isinstance(unreadable, KeysUnusable)
    assert isinstance(unreadable.error, FileUnreadable)
    (tmp_path / "empty").write_text("")
    for keys in (KeyFiles(creds=tmp_path / "empty"), KeyFiles(tls_ca=tmp_path / "empty")):
        useless = await refusal(nats.url, keys)
        assert isinstance(useless, KeysUnusable)
        assert type(useless.error) is ConfigError


async def test_a_file_that_vanishes_is_waited_for(signed: Nats, operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "user.creds"
    file.write_text(operator.credentials(seconds=HOUR_SECONDS))
    async with connected(signed.url, KeyFiles(creds=file)) as connection:
        file.rename(tmp_path / "elsewhere")
        await restart(signed)
        assert f"creds: cannot read {file}: No such file" in await connection.refusals.lasting(0.1)
        (tmp_path / "elsewhere").rename(file)
        await wait_until(lambda: connection.connected)
        assert not connection.refusals


# -- TLS


@pytest.fixture(scope="session")
def ours(authority: Authority) -> Certificate:
    return authority.sign("nats-server")


@pytest.fixture
def encrypted(make_nats: Callable[[], Nats], ours: Certificate) -> Nats:
    """A server that insists on TLS."""
    nats = make_nats()
    nats.restart_with(tls=ours.of_a_server)
    return nats


async def test_an_authority_that_is_named_is_trusted_and_no_other(
    encrypted: Nats, authority: Authority, ours: Certificate, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    der = tmp_path / "authority.der"
    der.write_bytes(ssl.PEM_cert_to_DER_cert(authority.file.read_text()))
    windows = tmp_path / "windows.pem"
    windows.write_bytes(("# größer\n" + authority.file.read_text()).replace("\n", "\r\n").encode("utf-8-sig"))
    for scheme in ("nats", "tls"):
        url = encrypted.url.replace("nats://", f"{scheme}://")
        for keys in (KeyFiles(), KeyFiles(tls_ca=stranger.file)):
            error = await refusal(url, keys)
            assert isinstance(error, Untrusted)
            assert "unable to get local issuer certificate" in str(error)
        for file in (authority.file, der, windows, ours.file):
            await assert_enters(url, KeyFiles(tls_ca=file))


async def test_a_certificate_of_another_host_is_not_trusted(
    make_nats: Callable[[], Nats], authority: Authority
) -> None:
    nats = make_nats()
    await restart(nats, tls=authority.sign("elsewhere", names="DNS:elsewhere").of_a_server)
    error = await refusal(nats.url, KeyFiles(tls_ca=authority.file))
    assert isinstance(error, Untrusted)
    assert "mismatch" in str(error)


async def test_who_names_an_authority_is_never_served_in_the_clear(nats: Nats, authority: Authority) -> None:
    assert "it offers no TLS, and tls_ca asks for it" in str(await refusal(nats.url, KeyFiles(tls_ca=authority.file)))


async def test_a_server_may_ask_for_our_certificate(
    make_nats: Callable[[], Nats], authority: Authority, ours: Certificate, tmp_path: Path
) -> None:
    nats = make_nats()
    await restart(nats, tls={**ours.of_a_server, "ca_file": str(authority.file), "verify": True})
    client, stranger = authority.sign("client"), Authority(tmp_path, "stranger").sign("unknown")

    def showing(certificate: Path | None, key: Path | None) -> KeyFiles:
        return KeyFiles(tls_ca=authority.file, tls_cert=certificate, tls_key=key)

    await assert_enters(nats.url, showing(client.file, client.key))
    both = tmp_path / "both.pem"
    both.write_bytes(client.key.read_bytes() + client.file.read_bytes())
    await assert_enters(nats.url, showing(both, None))
    none = await refusal(nats.url, showing(None, None))
    assert isinstance(none, Refused)
    assert "asks for a certificate of ours, and tls_cert (AIKI_TLS_CERT) gives none" in str(none)
    unknown = await refusal(nats.url, showing(stranger.file, stranger.key))
    assert isinstance(unknown, Refused)
    assert "does it trust who signed that?" in str(unknown)
    mismatch = await refusal(nats.url, showing(client.file, stranger.key))
    assert isinstance(mismatch, KeysUnusable)
    assert "are no certificate with its key (KEY_VALUES_MISMATCH)" in str(mismatch)


async def test_the_end_of_an_encrypted_connection_is_no_noise(
    encrypted: Nats, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyFiles(tls_ca=authority.file)
    await assert_enters(encrypted.url, keys)
    await refusal(encrypted.url)
    for end in (encrypted.stop, encrypted.kill9):
        async with connected(encrypted.url, keys) as connection:
            await anyio.to_thread.run_sync(end)
            await wait_until(partial(is_lost, connection))
        await anyio.to_thread.run_sync(encrypted.start)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING] == []
