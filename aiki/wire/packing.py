"""Own how many items fit one message: one loop for requests, replies and pages. Pure.

A message has at most `room` bytes: MESSAGE_BYTES, or what the NATS server takes (`max_payload`), if that is less. The
server says it at each connect, so it may be another one after a reconnect: whoever packs asks its connection again.

Beside the largest payload a message has ENVELOPE_BYTES left, for all that a run carries with it (key, labels, ids): so
whatever was let in can be claimed, recorded and read later. What things weigh is said in `weights`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from aiki.core.errors import PayloadError
from aiki.wire.limits import MESSAGE_BYTES, PAYLOAD_BYTES

Item = TypeVar("Item")

MAX_PAYLOAD_LEAST: Final = 64 * 1024
"""With a server that takes less, nothing of any use fits: aikid does not start."""
ENVELOPE_BYTES: Final = 36 * 1024
"""A run without its payload, at most: with all its labels, and these and its key of nothing but escapes."""


def room_of(max_payload: int) -> int:
    """Return the bytes of a message on a server that takes `max_payload`."""
    return min(MESSAGE_BYTES, max_payload)


def payload_bytes(room: int) -> int:
    """Return how large an input or a result may be, so that whatever has to carry it fits `room`."""
    return min(PAYLOAD_BYTES, room - ENVELOPE_BYTES)


def check_payload(size: int, what: str, *, room: int) -> None:
    """Raise PayloadError, with the limit's name, if a payload of `size` bytes does not fit a message."""
    if size > PAYLOAD_BYTES:
        raise PayloadError(
            f"{what} has {size:,} bytes, more than {PAYLOAD_BYTES:,}",
            hint="keep large data elsewhere and pass its address",
        )
    if size > payload_bytes(room):
        raise too_large(what, size, room=room)


def too_large(what: str, size: int, *, room: int) -> PayloadError:
    """Return the error of what cannot be sent since the server takes no more than `room` bytes."""
    return PayloadError(
        f"{what} has {size:,} bytes: too many for the NATS server, whose max_payload is {room:,}",
        hint=f"raise max_payload in its configuration (up to {MESSAGE_BYTES:,} is used), or store large data elsewhere",
    )


def fitting(weights: Iterable[int], room: int, most: int = sys.maxsize) -> int:
    """Return how many of the items that weigh so much fit `room` together, from the first on, and `most` at most.

    One always does, if there is one: whoever cannot split it further must see for himself whether it fits.
    """
    count = 0
    for weight in weights:
        room -= weight
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
