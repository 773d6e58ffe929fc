"""Own the settings that our connections ask Postgres for, and whether they have arrived.

They travel as `options` when we connect, so that the defaults of a role or a database change nothing. A pooler may
drop them without a word: no statement of ours must run without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg import AsyncConnection, sql

from aiki.core.errors import ConfigError

Options = Mapping[str, str]

_EVERYWHERE: Final[Options] = {"default_transaction_isolation": "read committed"}
# The plans of hot statements are made once and must stay good while tables grow from empty to millions, which they do
# long before the first ANALYZE: always nested loops into an index, never a scan of what looks small. `lock_timeout`
# bounds a wait for a row; the statement is then repeated whole.
HOT: Final[Options] = {
    **_EVERYWHERE,
    "synchronous_commit": "on",
    "lock_timeout": "200ms",
    "statement_timeout": "4s",
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "enable_material": "off",
    "random_page_cost": "1.1",
}
# Those of cold statements are made anew each time, for what is asked; and also there never a scan of what looks small.
COLD: Final[Options] = {
    **_EVERYWHERE,
    "statement_timeout": "4s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_mergejoin": "off",
    "enable_hashjoin": "off",
    "random_page_cost": "1.1",
}
MIGRATION: Final[Options] = {
    **_EVERYWHERE,
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""A migration takes as long as its tables are large; what a role has for short statements must not end it."""
_ASK: Final = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name"


def as_words(options: Options) -> str:
    """Return the options as libpq's parameter `options` takes them."""
    words = (f"{name}={value}".replace(" ", r"\ ") for name, value in options.items())
    return " ".join(f"-c {word}" for word in words)


async def check(connection: AsyncConnection[tuple[Any, ...]], options: Options) -> None:
    """Return if the settings of a connection are those that it asked for, else raise ConfigError that names them."""
    found = dict(await (await connection.execute(_ASK, [list(options)])).fetchall())
    lost = {name: value for name, value in options.items() if found[name] != value}
    if not lost:
        return
    told = ", ".join(f"{name} is {found[name]}, not {value}" for name, value in lost.items())
    role = sql.Identifier(connection.info.user).as_string(None)
    raise ConfigError(
        f"the settings that aikid asks for when it connects do not arrive, so a pooler ignores `options`: {told}",
        hint="connect to Postgres itself, or give them to the role: "
        + "; ".join(f"ALTER ROLE {role} SET {name} = '{value}'" for name, value in lost.items()),
    )
