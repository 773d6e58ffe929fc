"""What of an address may be seen: never its secrets, whatever shape it has."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiki.core.addresses import hide, holds_secret, is_cut_short, shown


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nats://user:s3cret@a:4222", "nats://user:***@a:4222"),
        ("nats://s3cret@a:4222", "nats://***@a:4222"),
        ("nats://u:s3cret@a:4222,nats://s3cret@b", "nats://u:***@a:4222,nats://***@b"),
        ("postgresql://aiki:s3cret@db/aiki?sslmode=require", "postgresql://aiki:***@db/aiki?sslmode=require"),
        ("postgresql+psycopg://aiki:s3cret@db", "postgresql+psycopg://aiki:***@db"),
        ("postgresql://aiki:s3cret@a:5432,b:5433/aiki", "postgresql://aiki:***@a:5432,b:5433/aiki"),
        ("postgresql://aiki:s3cret@[::1]:5432/aiki", "postgresql://aiki:***@[::1]:5432/aiki"),
        ("postgresql://db/aiki?user=a&password=s3cret&x=1", "postgresql://db/aiki?user=a&password=***&x=1"),
        ("postgresql://db/aiki?pass%77ord=s3cret", "postgresql://db/aiki?pass%77ord=***"),
        ("postgresql://db/aiki?sslpassword=s3cret", "postgresql://db/aiki?sslpassword=***"),
        ("host=db password=s3cret user=aiki", "host=db password=*** user=aiki"),
        (r"host=db password='s3\'cr et' user=aiki", "host=db password=*** user=aiki"),
        (r"host=db password=s3\ cret&x user=aiki", "host=db password=*** user=aiki"),
        # What nobody can parse.
        ("postgresql://aiki:s3@cr/et:x?y#z@db/aiki", "postgresql://aiki:***@db/aiki"),
        ("postgresql://aiki:s3?password=a&cret@db/aiki", "postgresql://aiki:***@db/aiki"),
        (" postgresql://aiki:s3 cret@db/aiki\n", " postgresql://aiki:***@db/aiki\n"),
        ("nats://user:s3cret", "nats://user:***"),
        ("nats://user:4s3cret/rest", "nats://user:***"),
        ("user:s3cret@a:4222", "user:***@a:4222"),
        ("s3cret@a:4222", "***@a:4222"),
        ("nats:/user:s3cret@a", "nats:/user:***@a"),
        ("nats://[user:s3cret@a", "nats://[user:***@a"),
    ],
)
def test_secrets_are_hidden(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert hide(f"it is '{address}', and no more", address) == f"it is '{expected}', and no more"


@pytest.mark.parametrize(
    "address",
    [
        "nats://127.0.0.1:4222",
        "nats://a:4222,tls://b:4222",
        "nats://[::1]:4222",
        "postgresql://aiki@db/aiki",
        "postgresql://aiki@/postgres?host=%2Frun%2Fpostgresql&port=5432",
        "postgresql://db/aiki?passfile=/home/ada/.pgpass&target_session_attrs=any",
        "postgresql://aiki:@db/aiki",
        "127.0.0.1:4222",
        "",
    ],
)
def test_an_address_without_secrets_is_shown_as_it_is(address: str) -> None:
    assert shown(address) == address
    assert not holds_secret(address)
    assert hide(f"NATS at {address} cannot be reached ({address}: refused)", address) == (
        f"NATS at {address} cannot be reached ({address}: refused)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to postgresql://aiki:s3cret@db/aiki now", "to postgresql://aiki:***@db/aiki now"),
        ("nats://u:s3cret@a:4222,nats://u:s3cret@b", "nats://u:***@a:4222,nats://u:***@b"),
        ("('nats://s3cret@a:4222', 1)", "('nats://***@a:4222', 1)"),
        ("NATS at nats://u:s3@cr/et@a: refused", "NATS at nats://u:***@a: refused"),
        ("host=db password=s3cret user=aiki", "host=db password=*** user=aiki"),
        ("see https://ada:s3cret@example.com/a", "see https://ada:***@example.com/a"),
        ("see https://example.com/a@b", "see https://example.com/a@b"),
        ("postgresql://aiki@db/aiki", "postgresql://aiki@db/aiki"),
    ],
)
def test_addresses_in_a_text_lose_their_secrets(text: str, expected: str) -> None:
    assert hide(text) == expected
    assert hide(hide(text)) == expected


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("Port could not be cast to integer value as 's3cret'", "nats://u:s3cret"),
        ('could not translate host name "cr3t@db" to address', "postgresql://u:s3cret@cr3t@db/aiki"),
        ('invalid integer value "cr3t" for connection option "port"', "postgresql://u:s3/x:cr3t@db"),
        ('missing "=" after "s3cret" in connection info string', "host=db password='x s3cret'"),
        ("u:s3 cret is refused", "postgresql://u:s3%20cret@db"),
        ("cannot read postgresql:/u:s3cret@db: no such file", "postgresql://u:s3cret@db"),
    ],
)
def test_the_pieces_that_a_library_quotes_are_hidden_too(said: str, address: str) -> None:
    told = hide(said, address)
    assert "***" in told
    assert not any(secret in told for secret in ("s3cret", "s3 cret", "cr3t"))


def test_a_password_that_is_no_secret_does_not_spoil_a_text() -> None:
    assert hide("the database aiki of aiki", "postgresql://aiki:aiki@db/aiki") == "the database aiki of aiki"
    assert hide("Postgres, postgresql, post", "postgresql://me:post@db") == "Postgres, postgresql, post"
    assert hide("hidden by hide", "nats://me:hide@db") == "hidden by ***"


def test_a_port_that_is_none_is_hidden_and_is_no_secret_by_itself() -> None:
    assert shown("postgresql://db:http/aiki") == "postgresql://db:***"
    assert not holds_secret("postgresql://db:http/aiki")


@pytest.mark.parametrize("sign", "@/?#")
def test_a_password_that_a_parser_would_cut_short_is_noticed(sign: str) -> None:
    assert is_cut_short(f"postgresql://user:s3{sign}cret@db/aiki")
    assert is_cut_short(f"nats://s3{sign}cret@a:4222")
    assert not is_cut_short(f"postgresql://user:{quote(f's3{sign}cret', safe='')}@db:5432/aiki?user=me@cloud#x")


SECRETS = st.text(min_size=1).map(lambda text: f"s3{text}cret")
PLACES = (
    "nats://user:{0}@host:4222",
    "tls://a:4222,tls://user:{0}@host:4222",
    "postgresql://user:{0}@host/aiki",
    "postgresql://user:{0}@/aiki?host=%2Ftmp",
    "user:{0}@host",
)


@pytest.mark.parametrize("place", PLACES)
@given(secret=SECRETS)
@example(secret="s3 %=cret")
def test_no_secret_is_ever_shown(place: str, secret: str) -> None:
    for spelled in (secret, quote(secret, safe="")):
        address = place.format(spelled)
        for text in (shown(address), hide(f"refused: {address}", address), hide(f"refused: {address!r}", address)):
            assert spelled not in text
            assert "s3" not in text
            assert "cret" not in text
        assert holds_secret(address)


@given(token=SECRETS.filter(lambda text: ":" not in text))
def test_no_token_is_ever_shown(token: str) -> None:
    # With a colon in it NATS, too, takes what stands before for a user's name.
    assert shown(f"nats://{token}@host:4222") == "nats://***@host:4222"
    assert holds_secret(f"nats://{token}@host:4222")


@given(secret=SECRETS)
def test_no_secret_of_a_parameter_is_ever_shown(secret: str) -> None:
    quoted = secret.replace("\\", "\\\\").replace("'", "\\'")
    for address in (
        f"postgresql://host/aiki?user=a&password={quote(secret, safe='')}",
        f"host=db password='{quoted}' user=a",
    ):
        assert "s3" not in shown(address)
        assert "cret" not in shown(address)


def test_a_long_text_is_no_work() -> None:
    for hostile in ("nats://a@,", "password='", "?pass=a&", "://a:b", "nats://", "'\")"):
        assert len(hide(hostile * 30_000)) > 1_000
