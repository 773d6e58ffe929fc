"""Values in the database that no client can read: a command shows them as they are, and never ends as a bug."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import psycopg
import pytest

from tests.acceptance.bad_input.conftest import Aiki
from tests.integration.daemon.engine import STORED_BESIDE
from tests.servers import Aikid

LATE = "'200000-01-01'::timestamptz"


@pytest.fixture(scope="module")
def stored(aikid: Aikid) -> Mapping[str, str]:
    """The environment of a namespace with such runs."""
    namespace = f"stored-{uuid.uuid4().hex[:12]}"
    columns = "id, origin_id, namespace, workflow, version, state, key, input, output, error, created_at, due_at"
    values = "%s, %s, %s, 'w', '1', %s, %s, %s, %s, %s"
    runs = [
        ("completed", b"1e999", b"7" * 5_000, None, "now()", "NULL"),
        ("failed", b'"\xff"', None, b'{"type": 7, "message": 1e999}', "now()", "NULL"),
        ("scheduled", b"{}", None, None, LATE, LATE),
    ]
    with psycopg.connect(aikid.database_url, autocommit=True) as connection:
        for state, payload, output, error, created, due in runs:
            run_id = str(uuid.uuid4())
            connection.execute(
                f"INSERT INTO aiki.runs ({columns}) VALUES ({values}, {created}, {due})",
                [run_id, run_id, namespace, state, state, payload, output, error],
            )
            connection.execute(
                "INSERT INTO aiki.journal (run_id, seq, ok, at_us, key, value) VALUES (%s, 1, true, %s, 'task:a', %s)",
                [run_id, 1 << 62, b'["\xff", 1e999]'],
            )
            connection.execute(
                f"INSERT INTO aiki.run_history (run_id, seq, move, at) VALUES (%s, 0, 'enqueued', {LATE})", [run_id]
            )
        connection.execute(STORED_BESIDE.encode())
    return {"AIKI_NAMESPACE": namespace, "TZ": "Pacific/Kiritimati"}


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (0, ["completed", "scheduled"], ["run", "list", "-o", "table"]),
        (0, ["9999-12-31T23:59:59.999999Z"], ["run", "list", "-o", "json"]),
        (0, ["w"], ["status", "-o", "table"]),
        (0, ["scheduled", "1e999"], ["status", "w@completed", "w@failed", "w@scheduled", "-o", "jsonl"]),
        (0, ["7777", "cannot be read", "1e999"], ["run", "show", "w@completed", "-o", "table"]),
        (0, ["7777", "cannot be read", "1e999"], ["run", "show", "w@completed", "-o", "json"]),
        (0, ["1e999", "cannot be read", "xff"], ["run", "show", "w@failed", "-o", "table"]),
        (0, ["scheduled"], ["run", "show", "w@scheduled", "-o", "table"]),
        (0, ["1e999", "cannot be read"], ["run", "history", "w@completed", "-o", "table"]),
        (0, ["1e999", "cannot be read"], ["run", "history", "w@completed", "-o", "json"]),
        (0, ["7777", "cannot be read"], ["wait", "w@completed"]),
    ],
)
def test_no_stored_value_ends_a_command_as_a_bug(
    aiki: Aiki, stored: Mapping[str, str], code: int, says: list[str], arguments: list[str]
) -> None:
    done = aiki(*arguments, env=stored)
    assert done.code == code, done.err
    assert all(word in done.out for word in says), done.out


def test_a_failure_that_cannot_be_read_is_still_a_failure(aiki: Aiki, stored: Mapping[str, str]) -> None:
    done = aiki("wait", "w@failed", env=stored)
    assert done.code == 1
    assert "1e999" in done.err
