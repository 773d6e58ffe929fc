"""Own how many items fit one message: one loop for requests, replies and pages. Pure.

A message has at most `room` bytes: MESSAGE_BYTES, or what the NATS server takes (`max_payload`), if that is less. The
server says it at each connect, so it may be another one after a reconnect: whoever packs asks its connection again.

Beside the largest payload a message has ENVELOPE_BYTES left, for all that a run carries with it (key, labels, ids): so
whatever was let in can be claimed, recorded and read later. What things weigh is said in `weights`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from msgspec.structs import replace

from aiki.core.errors import ConfigError, PayloadError
from aiki.core.states import Move
from aiki.wire import weights
from aiki.wire.limits import MESSAGE_BYTES, PAYLOAD_BYTES, UNIT_ITEMS
from aiki.wire.messages import NONE, NULL, Entry, KeyAsk, OpenSession, Route, Unit
from aiki.wire.schema import OBJECTS

Item = TypeVar("Item")

MAX_PAYLOAD_LEAST: Final = 64 * 1024
"""With a server that takes less, nothing of any use fits: aikid does not start."""
ENVELOPE_BYTES: Final = 36 * 1024
"""A run without its payload, at most: with all its labels, and these and its key of nothing but escapes."""
_REMEDY: Final = f"raise max_payload in the server's configuration (up to {MESSAGE_BYTES} is used), or send less"


def room_of(max_payload: int) -> int:
    """Return the bytes of a message on a server that takes `max_payload`."""
    return min(MESSAGE_BYTES, max_payload)


def payload_bytes(room: int) -> int:
    """Return how large an input or a result may be, so that whatever has to carry it fits `room`."""
    return max(0, min(PAYLOAD_BYTES, room - ENVELOPE_BYTES))


PAYLOAD_BYTES_LEAST: Final = payload_bytes(MAX_PAYLOAD_LEAST)
"""A payload of no more bytes fits whatever the server: none that a daemon works with takes less."""


def check_payload(size: int, what: str, *, room: int) -> None:
    """Raise PayloadError, with the limit's name, if a payload of `size` bytes is too large."""
    if error := payload_misfit(size, what, room=room):
        raise error


def payload_misfit(size: int, what: str, *, room: int) -> PayloadError | None:
    """Return the error of a payload of `size` bytes that is too large, None if it fits."""
    limit = payload_bytes(room)
    if size <= limit:
        return None
    if limit == PAYLOAD_BYTES:
        return PayloadError(
            f"{what} has {size:,} bytes, more than {limit:,}", hint="keep large data elsewhere and pass its address"
        )
    return PayloadError(
        f"{what} has {size:,} bytes, more than the {limit:,} that the NATS server's max_payload of {room:,} leaves it",
        hint=_REMEDY,
    )


def fits_beside(size: int, beside: int, *, room: int) -> bool:
    """Tell whether `size` bytes that are for people alone fit a message with an outcome of `beside` bytes."""
    return size <= payload_bytes(room) and size + beside <= room - ENVELOPE_BYTES


def check_server(max_payload: int) -> None:
    """Raise ConfigError if a daemon cannot work with a server that takes so little."""
    if max_payload < MAX_PAYLOAD_LEAST:
        raise ConfigError(
            f"the NATS server's max_payload is {max_payload:,} bytes, and aikid needs {MAX_PAYLOAD_LEAST:,}",
            hint=f"raise max_payload in the server's configuration; {MESSAGE_BYTES} is as good as more",
        )


def too_large(what: str, size: int, *, room: int) -> PayloadError:
    """Return the error of what does not fit a message."""
    if room == MESSAGE_BYTES:
        return PayloadError(f"{what} has {size:,} bytes, more than a message's {room:,}", hint="send less at a time")
    return PayloadError(f"{what} has {size:,} bytes, more than the NATS server's max_payload of {room:,}", hint=_REMEDY)


def fitting(sizes: Iterable[int], room: int, most: int = sys.maxsize) -> int:
    """Return how many items of these sizes fit `room` together, from the first on, and `most` at most.

    One always does, if there is one, so that whoever takes what fits gets on, even where it is too large alone.
    """
    count = 0
    for size in sizes:
        room -= size
        if count and (room < 0 or count == most):
            break
        count += 1
    return count


def parts(
    items: Sequence[Item], weigh: Callable[[Item], int], room: int, most: int = sys.maxsize
) -> Iterator[Sequence[Item]]:
    """Yield the items in order, as many at a time as fit `room` together."""
    start = 0
    while start < len(items):
        count = fitting((weigh(items[place]) for place in range(start, len(items))), room, most)
        yield items[start : start + count]
        start += count


def request_room(room: int) -> int:
    """Return the bytes that the items of a request may have together."""
    return room - weights.REQUEST_BYTES


def reply_room(room: int) -> int:
    """Return the bytes that the items of a reply may have together."""
    return room - weights.REPLY_BYTES


def requests(
    items: Sequence[Item], weigh: Callable[[Item], int], room: int, most: int = sys.maxsize
) -> Iterator[Sequence[Item]]:
    """Yield the items in order, as many at a time as fit one request."""
    return parts(items, weigh, request_room(room), most)


def pages(
    items: Sequence[Item], weigh: Callable[[Item], int], room: int, most: int = sys.maxsize
) -> Iterator[Sequence[Item]]:
    """Yield the items in order, as many at a time as fit one message that is sent unasked."""
    return parts(items, weigh, reply_room(room), most)


def page(items: list[Item], weigh: Callable[[Item], int], room: int, most: int = sys.maxsize) -> list[Item]:
    """Return the items that fit one reply, from the first on; that one alone where it is too large for it."""
    return items[: fitting(map(weigh, items), reply_room(room), most)]


def cut(unit: Unit, room: int) -> list[Unit]:
    """Return the unit in parts that each fit `room`, to be written one after the other: each when the last is durable.

    A crash between two of them leaves a part of what came about, as it would between two units: what it starts first,
    so that none of its entries knows of a run that there is not, then the entries in their order, each with what
    becomes of its key by it, then the tries, then what it sends and stops, its labels, and what it wants of other keys;
    its timer is asked, or the claim given up, last. The entry of a retry goes with the end that it belongs to. What was
    recorded for people alone is left out where there is no room for it.
    """
    base, count = unit.base, len(unit.entries)
    if unit.end is not None and unit.end.move is Move.AGAIN and not unit.end.anew:
        count -= 1
    room -= weights.UNIT_BYTES
    found = [
        Unit(unit.fence, base, [], [], starts=list(starts))
        for starts in parts(unit.starts, weights.of_run, room, UNIT_ITEMS)
    ]
    settled = {ask.call: ask for ask in unit.keys if ask.want == "done"}
    weigh = partial(_of_settled, settled=settled)
    kept = [entry if weigh(entry) <= room else replace(entry, arguments=NULL) for entry in unit.entries]
    for entries in parts(kept[:count], weigh, room, UNIT_ITEMS):
        keys = [settled.pop(entry.key) for entry in entries if entry.key in settled]
        found.append(Unit(unit.fence, base, list(entries), [], None, keys=keys))
        base += len(entries)
    found += (
        Unit(unit.fence, base, [], list(attempts), None)
        for attempts in parts(unit.attempts, weights.of_attempt, room, UNIT_ITEMS)
    )
    found += (
        Unit(unit.fence, base, [], [], None, list(ops)) for ops in parts(unit.ops, weights.of_sent, room, UNIT_ITEMS)
    )
    found += (
        Unit(unit.fence, base, [], [], stops=list(stops))
        for stops in parts(unit.stops, weights.of_stop, room, UNIT_ITEMS)
    )
    if unit.labels is not None:
        found.append(Unit(unit.fence, base, [], [], None, labels=unit.labels))
    others = [ask for ask in unit.keys if ask.want != "done"]
    found += (
        Unit(unit.fence, base, [], [], keys=list(keys)) for keys in parts(others, weights.of_key, room, UNIT_ITEMS)
    )
    if unit.timer is not None:
        found.append(Unit(unit.fence, base, [], [], None, [], unit.timer))
    if unit.end is not None:
        found.append(Unit(unit.fence, base, kept[count:], [], unit.end))
    return found


def _of_settled(entry: Entry, *, settled: Mapping[str, KeyAsk]) -> int:
    """Return the weight of an entry with what becomes of its key by it."""
    ask = settled.get(entry.key) if settled else None
    return weights.of_entry(entry) + (0 if ask is None else weights.of_key(ask))


def openings(request: OpenSession, room: int) -> list[OpenSession]:
    """Return the requests that open a session, mostly one. The first names all, others bring schemas and codes."""
    room -= weights.OPENING_BYTES

    def weigh(route: Route) -> int:
        # A request's schemas are bounded in their objects, too: a part of these takes the same part of the room.
        objects = bytes(route.parameters).count(b"{") + bytes(route.events).count(b"{")
        return max(weights.of_route(route), math.ceil(room * objects / OBJECTS))

    if sum(map(weigh, request.routes)) <= room:
        return [request]
    bare = replace(
        request,
        routes=[
            replace(route, parameters=NONE, task_names=[], events=NONE, fingerprint="") for route in request.routes
        ],
    )
    described = [
        route for route in request.routes if route.parameters or route.task_names or route.events or route.fingerprint
    ]
    return [bare, *(replace(request, routes=list(some)) for some in parts(described, weigh, room))]


def next_ids(ids: Iterable[str], after: str, room: int) -> tuple[list[str], str | None]:
    """Return the ids after `after` in order, as many as fit `room`, and the last one of these if there are more."""
    left = sorted(one for one in ids if one > after)
    count = fitting(map(weights.of_id, left), room)
    return left[:count], left[count - 1] if count < len(left) else None
