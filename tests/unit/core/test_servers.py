"""What an address of NATS may look like, wherever it is given, and what is refused with the reason."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.servers import Credentials, parse


def urls(text: str) -> list[str]:
    return [server.url for server in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nats://a:4223", ["nats://a:4223"]),
        ("nats://a", ["nats://a:4222"]),
        ("nats://a:", ["nats://a:4222"]),
        ("nats://a:4222/", ["nats://a:4222"]),
        ("TLS://a", ["tls://a:4222"]),
        ("nats://[::1]:4223", ["nats://[::1]:4223"]),
        ("nats://[fe80::1%25eth0]", ["nats://[fe80::1%eth0]:4222"]),
        # As NATS's own tools take it.
        ("a:4223", ["nats://a:4223"]),
        ("localhost", ["nats://localhost:4222"]),
        ("[::1]:4223", ["nats://[::1]:4223"]),
        # Several.
        ("nats://a:4222,tls://b:4223", ["nats://a:4222", "tls://b:4223"]),
        ("tls://a, b:4223 ,", ["tls://a:4222", "tls://b:4223"]),
        ("a, nats://b", ["nats://a:4222", "nats://b:4222"]),
        # As it comes out of files and secret stores.
        ("\ufeff nats://a:4222\r\n", ["nats://a:4222"]),
        ("nats://a,\n nats://b\n", ["nats://a:4222", "nats://b:4222"]),
    ],
)
def test_an_address_is_taken_as_people_write_it(text: str, expected: list[str]) -> None:
    assert urls(text) == expected


def test_hosts_of_one_url_share_its_credentials_and_other_urls_have_their_own() -> None:
    found = parse("nats://user:a,b@one,two:4223,nats://token@three,nats://four")
    both = Credentials("user", "a,b")
    assert [server.credentials for server in found] == [both, both, Credentials(token="token"), Credentials()]
    assert [server.host for server in found] == ["one", "two", "three", "four"]


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
def test_any_user_and_password_can_be_percent_encoded(user: str, password: str) -> None:
    (server,) = parse(f"nats://{quote(user, safe='')}:{quote(password, safe='')}@a")
    assert server.credentials == Credentials(user, password)
    (server,) = parse(f"nats://{quote(user, safe='')}@a")
    assert server.credentials == Credentials(token=user)


@pytest.mark.parametrize("sign", " !$&'()*+,;=[]^_`{|}~:%-.")
def test_a_sign_that_ends_no_password_need_not_be_encoded(sign: str) -> None:
    (server,) = parse(f"nats://user:a{sign}b@a")
    assert server.credentials.password == f"a{sign}b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a URL such as nats://"),
        (" ,, ", "a URL such as nats://"),
        ("ws://a:8080", "WebSocket is not spoken here"),
        ("wss://a", "WebSocket is not spoken here"),
        ("http://a:8222", "HTTP is for watching a nats-server"),
        ("postgresql://a/aiki", "it begins with nats:// or tls://"),
        ("amqp://a", "it begins with nats:// or tls://"),
        ("user:s3cret@a:4222", "it begins with nats:// or tls://"),
        ("nats://user:s3@cret@a", "write %40 for @"),
        ("nats://user:s3/cret@a", "%2F for /"),
        ("nats://user:s3#cret@a", "%23 for #"),
        ("nats://user:s3%ffcret@a", "is not percent-encoded UTF-8"),
        ("nats://user:s3cret", "a port is a number"),
        ("nats://[user:s3cret@a", "nothing behind them"),
        ("nats://", "nothing behind them"),
        ("nats://user:s3\ncret@a", "nothing behind them"),
        ("nats://a nats://b", "it begins with nats:// or tls://"),
        ("nats://a:0", "a number from 1 to 65535"),
        ("nats://a:65536", "a number from 1 to 65535"),
        ("nats://a:http", "a port is a number"),
        ("nats://::1:4222", "an IPv6 address stands in brackets"),
        ("nats://[a]:4222", "only an IPv6 address stands in brackets"),
        ("nats://a:4222/path", "nothing behind them"),
        ("nats://a:4222?tls=true", "nothing behind them"),
        ('"nats://a:4222"', "it begins with nats:// or tls://"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason_and_no_secret(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="a URL such as nats://") as caught:
        parse(text)
    assert reason in str(caught.value)
    assert "cret" not in str(caught.value)
