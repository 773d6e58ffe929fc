"""Own the ids of runs: UUIDv7 made by the client, so that a repeated enqueue is the same run; and those derived."""

import uuid
from hashlib import blake2b
from typing import NewType

RunId = NewType("RunId", str)


def uuid7(*, milliseconds: int, random_bits: int) -> uuid.UUID:
    """Return the UUIDv7 of RFC 9562, section 5.7: 48 bits of Unix time, then 74 random bits.

    `milliseconds` is the Unix time; `random_bits` supplies the 74 bits (higher ones are ignored).
    """
    rand_a = (random_bits >> 62) & 0xFFF
    rand_b = random_bits & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    return uuid.UUID(int=value)


def parse_run_id(text: str) -> RunId:
    """Return `text` in its canonical form. Raises ValueError if it is not a UUID."""
    return RunId(str(uuid.UUID(text)))


def derived_id(origin_id: str, generation: int, attempt: int, key: str, *, milliseconds: int) -> str:
    """Return the id of what a call of a run has sent or started: the same whenever the call is replayed.

    It has the shape of a UUIDv7 of the moment when the call was asked, so that it stands where it belongs in lists.
    """
    state = blake2b(f"{origin_id}/{generation}/{attempt}/{key}".encode(), digest_size=10, person=b"aiki.derived")
    return str(uuid7(milliseconds=milliseconds, random_bits=int.from_bytes(state.digest(), "big")))
