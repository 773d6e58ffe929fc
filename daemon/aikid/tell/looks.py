"""Own the questions to workers: what stands in the memory of the one that holds a run. Nothing hangs on the answers.

A worker that is frozen, dead, cut off or busy does not answer in time, and is not asked again for a while: so whoever
asks of many of its runs waits once.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

import msgspec

from aiki.wire import codec, subjects
from aiki.wire.limits import LOOKED_ITEMS
from aiki.wire.messages import Look, Looked
from aikid.bus import Bus

LOOK_SECONDS: Final = 0.3
DEAF_SECONDS: Final = 1.0
"""For how long a worker is not asked again that has not answered."""
OPEN_LOOKS: Final = 1_000
"""At a time; of more nothing is known."""
ANSWER_BYTES: Final = 128 * 1024
"""No answer of ours is longer."""
_NOBODY: Final = "503"


class Looks:
    """The questions of this daemon that are open."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._id = secrets.token_hex(8)
        self._open: dict[str, tuple[str, asyncio.Future[Looked | None]]] = {}
        """By the last token of their reply subject, with the namespace."""
        self._deaf: dict[tuple[str, str], float] = {}
        """Until when sessions are not asked, the first to be asked again in front."""

    def listen(self) -> None:
        """Hear what workers answer."""
        self._bus.hear(
            subjects.looked("*", self._id, "*"),
            lambda message: self._on_answer(message.subject, message.data, message.status),
        )

    async def look(self, namespace: str, session: str, run_id: str, *, items: int = LOOKED_ITEMS) -> Looked | None:
        """Return what a session says of a run, within LOOK_SECONDS; None if it does not answer.

        Of its tries and calls the first `items` are asked for.
        """
        loop = asyncio.get_running_loop()
        if len(self._open) >= OPEN_LOOKS or self._is_deaf(namespace, session, loop.time()):
            return None
        token = secrets.token_hex(8)
        answer: asyncio.Future[Looked | None] = loop.create_future()
        self._open[token] = namespace, answer
        try:
            reply = subjects.looked(namespace, self._id, token)
            self._bus.push(subjects.look(namespace, session), codec.encode(Look(run_id, items)), reply=reply)
            async with asyncio.timeout(LOOK_SECONDS):
                return await answer
        except TimeoutError:
            self._deaf.pop((namespace, session), None)
            self._deaf[namespace, session] = loop.time() + DEAF_SECONDS
            return None
        finally:
            del self._open[token]

    def _is_deaf(self, namespace: str, session: str, now: float) -> bool:
        while self._deaf and (first := next(iter(self._deaf.items())))[1] <= now:
            del self._deaf[first[0]]
        return (namespace, session) in self._deaf

    def _on_answer(self, subject: str, data: bytes, status: str) -> None:
        """Take an answer in, or the server's word that nobody heard the question."""
        _, _, namespace, _, _, token = subject.split(".")
        asked = self._open.get(token)
        if asked is None or asked[0] != namespace or asked[1].done():
            return
        asked[1].set_result(None if status == _NOBODY else _read(data))


def _read(data: bytes) -> Looked | None:
    """Return an answer; None for one that cannot be read: whoever works for the namespace may send anything."""
    if len(data) > ANSWER_BYTES:
        return None
    try:
        return codec.decode(data, Looked)
    except msgspec.MsgspecError:
        return None
