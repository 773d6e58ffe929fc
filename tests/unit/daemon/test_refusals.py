"""What servers and poolers say when they let nobody in, and what we make of it."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from aiki.core.errors import AikiError, ConfigError, Denied, Unavailable
from aikid.store.refusals import of_failure

AT = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        (f'{AT}FATAL:  password authentication failed for user "aiki"', Denied, "PGPASSWORD"),
        (f'{AT}FATAL:  Peer authentication failed for user "aiki"', Denied, "PGPASSWORD"),
        (f"{AT}FATAL:  SASL authentication failed", Denied, "PGPASSWORD"),
        (f"{AT}fe_sendauth: no password supplied", Denied, "PGPASSWORD"),
        (f'{AT}FATAL:  role "aiki" does not exist', Denied, "PGPASSWORD"),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "a", user "b", database "c", no encryption', Denied, "sslmode"),
        (f'{AT}FATAL:  no pg_hba.conf entry for host "a", user "b", database "c", SSL encryption', Denied, "pg_hba"),
        (f'{AT}FATAL:  pg_hba.conf rejects connection for host "a", user "b", database "c"', Denied, "pg_hba"),
        (f"{AT}session is read-only", Denied, "primary"),
        (f"{AT}server is in hot standby mode", Denied, "primary"),
        (f"{AT}server is not in hot standby mode", ConfigError, "target_session_attrs=read-write"),
        (f'{AT}authentication method requirement "md5" failed: no', ConfigError, "require_auth"),
        (f"{AT}FATAL:  Tenant or user not found", Denied, "PGPASSWORD"),
        (f"{AT}SSL error: certificate verify failed", Denied, "sslrootcert"),
        (f'{AT}server certificate for "a" does not match host name "b"', Denied, "sslrootcert"),
        (f"{AT}server does not support SSL, but SSL was required", ConfigError, "sslmode"),
        (f'{AT}FATAL:  database "two words" does not exist', ConfigError, "'two words'"),
        (f"{AT}FATAL:  no such database: aiki", ConfigError, "createdb"),
        (f"{AT}FATAL:  unsupported startup parameter: options", ConfigError, "pooler"),
        (f"{AT}FATAL:  invalid command-line argument for server process: endpoint=x", ConfigError, "options"),
        (f'{AT}FATAL:  unrecognized configuration parameter "x"', ConfigError, "options"),
        (f'{AT}FATAL:  permission denied to set parameter "x"', ConfigError, "options"),
        (f"{AT}received invalid response to SSL negotiation: H", ConfigError, "port"),
        (f"{AT}expected authentication request from server, but received H", ConfigError, "port"),
        ('connection is bad: invalid sslmode value: "requir"', ConfigError, ""),
        ("could not match 3 port numbers to 2 hosts", ConfigError, ""),
        (f'{AT}root certificate file "/x" does not exist', ConfigError, ""),
        (f"{AT}FATAL:  sorry, too many clients already", Unavailable, "--pool-size"),
        (f"{AT}FATAL:  remaining connection slots are reserved for roles", Unavailable, "--pool-size"),
        (f"{AT}FATAL:  the database system is starting up", Unavailable, ""),
        (f"{AT}Connection refused\n\tIs the server running on that host?", Unavailable, ""),
        (f"{AT}FATAL:  Passwort-Authentifizierung für Benutzer »aiki« fehlgeschlagen", Unavailable, ""),
    ],
)
def test_each_refusal_has_its_code_and_remedy(said: str, kind: type[AikiError], remedy: str) -> None:
    found = of_failure(psycopg.OperationalError(said), closed=True)
    assert type(found) is kind
    assert said.removeprefix("connection failed: ").removeprefix("connection is bad: ").split("\n")[0] in str(found)
    assert remedy in (found.hint or "")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InsufficientPrivilege("keine Berechtigung für Schema aiki"), Denied),
        (errors.ReadOnlySqlTransaction("cannot execute CREATE TABLE"), Denied),
        (errors.DuplicateTable('relation "runs" already exists'), ConfigError),
        (errors.QueryCanceled("canceling statement due to statement timeout"), Unavailable),
        (errors.RaiseException('database "x" does not exist, says a trigger'), Unavailable),
    ],
)
def test_a_statement_goes_by_its_code_whatever_its_words(error: psycopg.Error, kind: type[AikiError]) -> None:
    assert type(of_failure(error, closed=False)) is kind


def test_a_statement_of_ours_that_is_wrong_stays_a_bug() -> None:
    with pytest.raises(errors.SyntaxError):
        of_failure(errors.SyntaxError("syntax error"), closed=False)


def test_of_several_hosts_each_is_heard() -> None:
    said = "connection failed: last\nMultiple connection attempts failed. All failures were:\n" + "\n".join(
        f"- host: '{host}', port: None, hostaddr: '10.0.0.1': connection failed: {word}" for host, word in
        (("one", "Connection refused\n\tIs it there?"), ("two", "FATAL:  database system is shut down"))
    )  # fmt: skip
    told = str(of_failure(psycopg.OperationalError(said), closed=True))
    assert told == "Postgres cannot be used: Connection refused; FATAL:  database system is shut down"
