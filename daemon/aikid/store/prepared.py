"""Own the short way of the hottest statements to Postgres: prepared once per connection, parameters that are bytes.

psycopg's cursor renders the query, looks up a dumper for each parameter and keeps a cache of what is prepared; for
arrays that are joined already none of it is needed. Errors are psycopg's own, and so is the waiting.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

from psycopg import generators
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGresult

from aikid.store.arrays import Array
from aikid.store.pool import Connection

_ABLE: Final = (TransactionStatus.IDLE, TransactionStatus.INTRANS)
_BAD: Final = (ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE)


class _Prepared:
    """What one connection has prepared."""

    __slots__ = ("names", "rows")

    def __init__(self, connection: Connection) -> None:
        self.names: dict[str, bytes] = {}
        self.rows = Transformer(connection)


_connections: Final[WeakKeyDictionary[Connection, _Prepared]] = WeakKeyDictionary()


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """Have all that is done in it be one commit, or nothing.

    At a rollback psycopg has Postgres forget whatever the connection has prepared, ours too, if it has prepared
    anything itself. So that both know the same, all is forgotten then.
    """
    try:
        async with connection.transaction():
            yield
    except BaseException:
        if connection.pgconn.transaction_status in _ABLE:
            await connection.execute("DEALLOCATE ALL", prepare=False)
        _connections.pop(connection, None)
        raise


async def rows(connection: Connection, statement: str, parameters: Sequence[Array]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement whose placeholders are all `%b`. Raises psycopg.Error."""
    async with connection.lock:
        return await connection.wait(_run(connection, statement, parameters))


def _run(
    connection: Connection, statement: str, parameters: Sequence[Array]
) -> Generator[Any, Any, list[tuple[Any, ...]]]:
    pgconn = connection.pgconn
    prepared = _connections.get(connection)
    if prepared is None:
        prepared = _connections[connection] = _Prepared(connection)
    name = prepared.names.get(statement)
    if name is None:
        name, text = _named(statement)
        oids = [parameter.array_oid for parameter in parameters]
        pgconn.send_prepare(name, text, oids)
        _last((yield from generators.execute(pgconn)))
        prepared.names[statement] = name
    data = [parameter.data for parameter in parameters]
    pgconn.send_query_prepared(name, data, [Format.BINARY] * len(data), result_format=Format.BINARY)
    result = _last((yield from generators.execute(pgconn)))
    transformer = prepared.rows
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


def _last(results: Sequence[PGresult]) -> PGresult:
    for result in results:
        if result.status in _BAD:
            raise error_from_result(result)
    return results[-1]


@cache
def _named(statement: str) -> tuple[bytes, bytes]:
    """Return the name to prepare the statement by, and its text with Postgres's own placeholders.

    The name is made from the text: behind a pooler that lends one connection to many, it never means another one.
    """
    places = count(1)
    text = re.sub("%b", lambda _: f"${next(places)}", statement).replace("%%", "%").encode()
    return b"aikid_" + blake2b(text, digest_size=12).hexdigest().encode(), text
