"""Own which events a workflow says that it takes: their names with the JSON Schemas of what they carry, as they travel.

A workflow that says nothing takes any. Like the schema of parameters it comes from whoever may register one.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from aiki.core.near import did_you_mean
from aiki.wire.limits import LIST_ITEMS
from aiki.wire.messages.base import NULL
from aiki.wire.schema import BadSchema, Schema, parse
from aiki.wire.subjects import is_token

Events: TypeAlias = dict[str, Schema] | None
"""The schemas by name; None for a workflow that takes any event."""

_SHOWN: Final = 10
_decode: Final = msgspec.json.Decoder(dict[str, Raw] | None).decode


def to_wire(events: Events) -> Raw:
    """Return what a route says of its events."""
    return NULL if events is None else Raw(msgspec.json.encode(events))


def from_wire(raw: Raw | bytes) -> Events:
    """Return the events of a route, which may come from anywhere. Raises BadSchema."""
    table = _read(raw)
    return None if table is None else {name: parse(bytes(schema)) for name, schema in table.items()}


def names(raw: Raw | bytes) -> frozenset[str] | None:
    """Return the names alone, None if any event is taken. Raises BadSchema."""
    table = _read(raw)
    return None if table is None else frozenset(table)


def unknown(workflow: str, name: str, known: frozenset[str]) -> str:
    """Return what to say of an event that a workflow does not take."""
    listed = ", ".join(sorted(known)[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    taken = f"it takes {listed}{more}" if known else "it takes none"
    return f"workflow {workflow!r} declares no event {name!r}: {did_you_mean(name, known, otherwise=taken)}"


def _read(raw: Raw | bytes) -> dict[str, Raw] | None:
    if not raw:
        return None
    try:
        table: dict[str, Raw] | None = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSchema(f"it cannot be read: {error}") from error
    if table is not None and len(table) > LIST_ITEMS:
        raise BadSchema(f"it names more than {LIST_ITEMS:,} events")
    for name in table or ():
        if not is_token(name):
            raise BadSchema(f"{name[:80]!r} is no name of an event")
    return table
