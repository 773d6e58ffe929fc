"""How a database is reached: what its URL may say, and what it cannot change."""

import pytest

from aiki.core.errors import ConfigError
from aikid.store.address import parameters


def test_a_url_means_what_libpq_takes_it_for() -> None:
    given = parameters("postgresql://me:top%40secret@one:5433,two/orders?sslmode=require&keepalives_idle=60")
    assert {name: given[name] for name in ("host", "port", "user", "password", "dbname", "sslmode")} == {
        "host": "one,two",
        "port": "5433,",
        "user": "me",
        "password": "top@secret",
        "dbname": "orders",
        "sslmode": "require",
    }
    assert given["keepalives_idle"] == "60"


def test_of_several_hosts_the_one_that_takes_writes_is_meant_unless_the_url_says_otherwise() -> None:
    assert parameters("postgresql://one,two/db")["target_session_attrs"] == "read-write"
    assert parameters("postgresql://one/db?target_session_attrs=any")["target_session_attrs"] == "any"


def test_what_statements_rely_on_wins_over_the_url() -> None:
    url = "postgresql://db/aiki?connect_timeout=60&client_encoding=LATIN1&options=-csearch_path%3Dmine%20-cjit%3Don"
    given = parameters(url, options="-c jit=off")
    assert (given["connect_timeout"], given["client_encoding"]) == (2, "UTF8")
    assert given["options"].startswith("-csearch_path=mine -cjit=on ")
    assert given["options"].endswith(" -c jit=off")


@pytest.mark.parametrize("url", ["mysql://db/aiki", "host=db", "postgresql://db/aiki?unknown=1", "postgresql://[db/x"])
def test_a_url_of_nothing_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        parameters(url)


def test_a_refusal_does_not_tell_the_password() -> None:
    with pytest.raises(ConfigError) as refused:
        parameters("postgresql://me:geheim%zz@db/aiki")
    assert "geheim" not in f"{refused.value} {refused.value.hint}"
