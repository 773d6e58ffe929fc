"""Push runs to the workers that have leave for them, until each push has been heard of; and answer workers' parks.

Runs that were woken are claimed here for such a worker: that is a commit after the one that is told of.

A push without a receiver is known at once: the server says so on its reply subject. On the first try that is certain,
so the run is taken back at once (`loops/reclaimer.py`); on a later one an earlier may have come. A push of which
nothing is heard is repeated for a while. After that the worker's next renewal finds the run, as it does if this daemon
dies.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from aiki.core.errors import Unavailable
from aiki.core.failpoints import failpoint
from aiki.wire import codec, subjects
from aiki.wire.messages import HandOver, Park
from aikid.bus import Bus, may_reply
from aikid.engine import handing
from aikid.engine.changes import Changes, Handed
from aikid.engine.leaves import Leaves, Line
from aikid.engine.routes import RouteKey
from aikid.store.pool import Pool
from aikid.tell.alarm import Alarm

log = logging.getLogger("aikid.handoffs")

REPEAT_SECONDS: Final = 0.5
"""After the first try; it doubles."""
TRIES: Final = 5
"""In 7.5 s, less than the third of a lease after which renewals look."""
KEPT_BYTES: Final = 32 * 1024 * 1024
"""Pushes that are kept to be repeated; more are sent once."""
PARK_BYTES: Final = 64 * 1024
_NOBODY: Final = "503"


@dataclass(slots=True, eq=False)
class _Push:
    """A hand-over of which nothing has been heard yet."""

    handed: Handed
    data: bytes
    reply: str
    tries: int = 0
    due_at: float = 0.0


class Handoffs:
    """The hand-overs of this daemon."""

    def __init__(self, bus: Bus, pool: Pool) -> None:
        self.leaves = Leaves(self._answer)
        self._bus = bus
        self._pool = pool
        self._id = secrets.token_hex(8)
        self._tokens = itertools.count()
        self._pushes: dict[str, _Push] = {}
        """By the last token of their reply subject, the oldest first."""
        self._bytes = 0
        self._missed: deque[Handed] = deque()
        """Those that nobody received: to be taken back."""
        self.alarm = Alarm()
        """When there is something to repeat or to take back."""

    def listen(self) -> None:
        """Hear what workers say."""
        self._bus.hear(subjects.park("*"), lambda message: self._on_park(message.subject, message.data))
        self._bus.hear(
            subjects.took("*", self._id, "*"), lambda message: self._on_took(message.subject, message.status)
        )

    def push(self, handed: Sequence[Handed]) -> None:
        """Tell workers of runs that are theirs since a commit."""
        for one in handed:
            line, token = one.line, f"{next(self._tokens):x}"
            data = codec.encode(HandOver(line.id, one.first, line.session, one.now, one.runs))
            push = _Push(one, data, subjects.took(line.namespace, self._id, token))
            self._pushes[token] = push
            self._bytes += len(data)
            if not failpoint("handoff.before_push"):
                self._send(token, push)
            if self._bytes > KEPT_BYTES:
                self._forget(token)

    async def claim(self, woken: Mapping[RouteKey, int]) -> Changes:
        """Hand over so many queued runs of routes, as far as workers have leave; return what that changed.

        Best effort: whatever is not handed over is still queued.
        """
        try:
            changes = await handing.hand_over(self._pool, self.leaves, woken, room=self._bus.room)
        except Unavailable as error:
            self._pool.outage.goes_on(error)
            return Changes()
        self.push(changes.handed)
        return changes

    def repeat(self) -> None:
        """Push again what is due, and let go of what was pushed for long enough."""
        now = asyncio.get_running_loop().time()
        for token, push in list(self._pushes.items()):
            if push.due_at > now:
                self.alarm.due_in(push.due_at - now)
            elif push.tries < TRIES:
                if push.tries:  # it may be frozen, and what it is given waits for its lease: its next Park says more
                    self.leaves.forget(push.handed.line)
                self._send(token, push)
            else:
                self._forget(token)

    def next_missed(self) -> Handed | None:
        """Return what nobody received, once: whoever asks takes it back, or says `miss` again."""
        return self._missed.popleft() if self._missed else None

    def miss(self, handed: Handed, *, again_in: float = 0.0) -> None:
        """Take note that nobody received it, for certain: then nobody listens for that session."""
        self.leaves.forget(handed.line)
        self._missed.append(handed)
        self.alarm.due_in(again_in)

    # -- private

    def _on_park(self, subject: str, data: bytes) -> None:
        if len(data) > PARK_BYTES:
            return
        try:
            park = codec.decode(data, Park)
        except msgspec.MsgspecError as error:
            log.debug("a park cannot be read: %s", error)
            return
        namespace = subject.split(".")[2]
        if may_reply(park.inbox) and subjects.is_token(namespace):
            self.leaves.parked(namespace, park)

    def _answer(self, line: Line) -> None:
        self._bus.push(line.inbox, codec.encode(line.answer()))

    def _on_took(self, subject: str, status: str) -> None:
        _, _, namespace, _, _, token = subject.split(".")
        push = self._pushes.get(token)
        if push is None or push.handed.line.namespace != namespace:
            return
        if status != _NOBODY:
            self._forget(token)
        elif push.tries == 1:
            self._forget(token)
            self.miss(push.handed)

    def _send(self, token: str, push: _Push) -> None:
        push.tries += 1
        pause = REPEAT_SECONDS * 2 ** (push.tries - 1)
        push.due_at = asyncio.get_running_loop().time() + pause
        self.alarm.due_in(pause)
        sent = self._bus.push(push.handed.line.inbox, push.data, reply=push.reply)
        if not sent and push.tries == 1:
            self._forget(token)
            self.miss(push.handed)

    def _forget(self, token: str) -> None:
        if (push := self._pushes.pop(token, None)) is not None:
            self._bytes -= len(push.data)
            push.handed.line.settle(push.handed.first, len(push.handed.runs))
