"""How a database is reached: what its address may say, and what it cannot change."""

from pathlib import Path

import pytest

from aiki.core.errors import ConfigError
from aikid.store.address import CONNECT_SECONDS, parameters, read


@pytest.fixture(autouse=True)
def _no_variables_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGOPTIONS", "PGCONNECT_TIMEOUT", "PGSERVICE", "PGTARGETSESSIONATTRS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("postgresql://", {}),
        ("postgresql:///orders", {"dbname": "orders"}),
        ("postgres://me@db/orders", {"user": "me", "host": "db", "dbname": "orders"}),
        ("postgresql+psycopg2://me@db", {"user": "me", "host": "db"}),
        ("postgresql://me:@db", {"user": "me", "host": "db"}),
        ("postgresql://%6de:top%40%20s%C3%A4%25@db", {"user": "me", "password": "top@ sä%", "host": "db"}),
        ("postgresql://db/two%20words-and%2Fmore", {"host": "db", "dbname": "two words-and/more"}),
        ("postgresql://[::1]:5433/orders", {"host": "::1", "port": "5433", "dbname": "orders"}),
        ("postgresql://%2Frun%2Fpg:5433/orders", {"host": "/run/pg", "port": "5433", "dbname": "orders"}),
        ("postgresql:///orders?host=%2Frun%2Fpg", {"host": "/run/pg", "dbname": "orders"}),
        ("postgresql://one:5433,two/x", {"host": "one,two", "port": "5433,", "dbname": "x"}),
        ("postgresql:///?host=one,two&port=1,2", {"host": "one,two", "port": "1,2"}),
        ("postgresql://db?ssl=true&keepalives_idle=60", {"host": "db", "sslmode": "require", "keepalives_idle": "60"}),
        ("postgresql://db/?user=me@example.com", {"host": "db", "user": "me@example.com"}),
        (r"host = db password='a \'b\' @?#' user=me", {"host": "db", "password": "a 'b' @?#", "user": "me"}),
        ("service=orders", {"service": "orders"}),
    ],
)
def test_an_address_means_what_libpq_takes_it_for(address: str, meant: dict[str, str]) -> None:
    assert read(address) == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connect_timeout", "60"),
        ("keepalives_idle", "60"),
        ("application_name", "orders"),
        ("target_session_attrs", "any"),
        ("sslmode", "require"),
    ],
)
def test_the_address_wins_over_what_we_would_choose(name: str, value: str) -> None:
    assert parameters(f"postgresql://db/aiki?{name}={value}")[name] == value


def test_of_several_hosts_one_that_is_away_leaves_the_others_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameters("postgresql://one,two?connect_timeout=60")["connect_timeout"] == CONNECT_SECONDS
    monkeypatch.setenv("PGHOST", "one,two")
    assert parameters("postgresql://?connect_timeout=60")["connect_timeout"] == CONNECT_SECONDS
    assert parameters("postgresql://one?connect_timeout=60")["connect_timeout"] == "60"


def test_of_several_hosts_the_one_that_takes_writes_is_meant_unless_the_address_says_otherwise() -> None:
    assert parameters("postgresql://one,two/db")["target_session_attrs"] == "read-write"


def test_what_statements_rely_on_stands_behind_the_options_of_the_address() -> None:
    given = parameters(
        "postgresql://db/aiki?client_encoding=LATIN1&options=-csearch_path%3Dmine%20-cjit%3Don", options="-c jit=off"
    )
    assert given["client_encoding"] == "UTF8"
    assert given["options"].startswith("-csearch_path=mine -cjit=on ")
    assert given["options"].endswith(" -c jit=off")


def test_what_the_environment_says_counts_as_it_does_for_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    given = parameters("postgresql://db/aiki", options="-c jit=off")
    assert given["options"] == "-c work_mem=8MB -c jit=off"
    assert given["connect_timeout"] == "7"
    assert parameters("postgresql://db/aiki?connect_timeout=9")["connect_timeout"] == "9"


def test_what_a_service_says_counts_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    services = tmp_path / "services.conf"
    services.write_text("[orders]\nhost=db\ntarget_session_attrs=primary\nconnect_timeout=7\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGSERVICE", "orders")
    given = parameters("postgresql://me@/aiki")
    assert (given["target_session_attrs"], given["connect_timeout"]) == ("primary", "7")
    assert "host" not in given


@pytest.mark.parametrize(
    "address", ["", "aiki", "mysql://db/aiki", "host=db secret", "postgresql://db/aiki?unknown=1", "postgresql://[db/x"]
)
def test_an_address_of_nothing_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        parameters(address)


def test_a_variable_of_libpq_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="connect_timeout"):
        parameters("postgresql://db/aiki")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:geheim%zz@db/aiki",
        "postgresql://me:top@geheim@db/aiki",
        "postgresql://me:a?geheim=1@db/aiki",
        "postgresql://me:a?geheim@db/aiki",
        "postgresql://me:a&geheim#@db/aiki",
        "postgresql://me:geheim/x@db/aiki",
        "postgresql://me:1?geheim=1@db/aiki",
        "postgresql://me:geheim",
        "host=db password=a geheim",
        "host=db password='geheim",
    ],
)
def test_a_refusal_does_not_tell_the_password(address: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parameters(address)
    assert "geheim" not in f"{refused.value} {refused.value.hint}"
