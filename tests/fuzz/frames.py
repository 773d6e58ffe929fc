"""Own mutated frames: what a stranger sends to a nats-server so that others read it.

They are well-formed for the server, which closes the connection of a publisher that it cannot follow; everything that
it passes on as it is may be anything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from tests.strangers.stranger import hpub, pub

_BLANKS: Final = bytes(range(33)).translate(None, b"\x00\x01\x0b\x0c\x1b\x1c")
"""What is left out of a word: the server ends it there, or may."""
_HEADERS: Final = [
    *(b"NATS/1.0\r\n\r\n", b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 100 Idle Heartbeat\r\n\r\n", b"NATS/1.0 409\r\n\r\n"),
    *(b"NATS/1.0\r\nStatus: 503\r\nDescription: x\r\n\r\n", b"NATS/1.0\r\nNats-Msg-Id: 1\r\nA:b\r\n\r\n", b"", b"\r\n"),
    *(b"NATS/1.0", b"N", b"NATS/1.0 \xff\xff\xff\r\n\r\n", b"NATS/9.9 xyz\r\n\r\n", b"\x00" * 9, b": \r\n: \r\n"),
]
_PAYLOADS: Final = [
    *(b"", b"{}", b"[]", b"null", b"[" * 3000, b'{"ids":["\xff"]}', b"+ACK", b'-NAK {"delay":1}'),
    # What daemons tell each other, and what they push.
    *(b'[["x"],true]', b'[["\\u0000","\\ud800"],false]', b"[[" + b'"x",' * 3000 + b'"x"],true]', b"[1,2]"),
    *(
        b'{"runs":[]}',
        b'{"runs":[],"changed":["x"]}',
        b'{"runs":[{"id":"x","workflow":"w","version":"1","state":"no"}]}',
    ),
    b'{"runs":[{"id":"x","workflow":"w","version":"1","state":"completed","created_at":1e999}]}',
]


class MutatedFrames:
    """An endless source of them for the given subjects, made from one seed."""

    def __init__(self, seed: int, subjects: Sequence[bytes]) -> None:
        self._rng = random.Random(seed)
        self._subjects = list(subjects)

    def next(self) -> bytes:
        """Return the bytes of a PUB or HPUB."""
        rng = self._rng
        subject = rng.choice(self._subjects)
        if rng.random() < 0.3:
            subject += rng.choice([b"", b"."]) + self._word()
        reply = rng.choice([b"", b"_INBOX." + self._word(), self._word(), rng.choice(self._subjects)])
        payload = rng.choice([*_PAYLOADS, rng.randbytes(rng.randint(0, 300))])
        if rng.random() < 0.5:
            return pub(subject, payload, reply=reply)
        return hpub(subject, self._headers(), payload, reply=reply)

    def _word(self) -> bytes:
        return self._rng.randbytes(self._rng.randint(1, 12)).translate(None, _BLANKS) or b"x"

    def _headers(self) -> bytes:
        rng = self._rng
        headers = rng.choice(_HEADERS)
        if rng.random() < 0.5:
            start = rng.randrange(len(headers) + 1)
            headers = headers[:start] + rng.randbytes(rng.randint(0, 5)) + headers[start + rng.randint(0, 5) :]
        return headers
