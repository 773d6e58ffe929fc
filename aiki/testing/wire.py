"""Own the way of a test's client to the engine: what it is answered, and when.

What is asked for changes at once all that it can: a call returns when nothing is to run soon. Whoever reads or gives an
order finds runs that only wait at rest, as they would be found after a while in production. Whoever waits for an end
has it, or hears at once that nothing moves: nobody else will let the clock go on.
"""

from __future__ import annotations

import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from aiki.core.errors import AikiError, UsageError
from aiki.core.states import SETTLED
from aiki.wire import codec
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import (
    ApplySchedules,
    Cancel,
    Enqueue,
    Export,
    Find,
    Follow,
    FollowNamespace,
    FollowReply,
    History,
    Inbox,
    Input,
    ListRuns,
    ListSchedules,
    NewRun,
    NewSchedule,
    NextSlots,
    Page,
    Pause,
    PutSchedule,
    Request,
    Resume,
    Retry,
    RunStatus,
    ShowSchedule,
    Status,
    StatusReply,
    Summary,
    Wake,
    Watch,
    Why,
    Workers,
    Workflows,
)

if TYPE_CHECKING:
    from aiki.testing.stage import Stage

R = TypeVar("R")
_READS: Final = (
    *(Export, Find, History, Inbox, Input, ListRuns, ListSchedules, NextSlots, Page, ShowSchedule, Status, Summary),
    *(FollowNamespace, Why, Workers, Workflows),
)
_ORDERS: Final = (Cancel, Pause, Resume, Retry, Wake)
_INBOX: Final = "inbox"


class MemoryWire:
    """Implements `aiki.client.wire.Wire` without a connection."""

    namespace = "default"
    room = MESSAGE_BYTES

    def __init__(self, stage: Stage, *, new_id: Callable[[], str] | None = None) -> None:
        """`new_id` gives the ids of new runs and schedules; without it they have those that the client makes."""
        self.on_return: list[Callable[[], None]] = []
        self._stage = stage
        self._new_id = new_id
        self._is_open = True
        self._pushes: dict[str, Callable[[bytes], None]] = {}
        self._watched: dict[str, tuple[int, float]] = {}
        """Of runs whose changes are watched: how much had moved by when, in real time."""
        self.seen: set[str] = set()
        """Runs whose end somebody has asked for."""
        stage.engine.on_news = self._on_news

    def close(self) -> None:
        """Answer nothing any more."""
        self._is_open = False

    def check_loop(self) -> None:
        """Raise UsageError outside of the test's block, and on another loop than its own."""
        if not self._is_open:
            raise UsageError(
                "this TestEnv has left its `async with` block, and its runs are gone", hint="do it inside the block"
            )
        if _get_running_loop() is not self._stage.running:
            raise UsageError(
                "this TestEnv was entered on another event loop",
                hint="enter it in the test itself, or in a fixture of the same loop: async with TestEnv() as env: ...",
            )

    async def call(self, request: Request[R], *, seconds: float = 0.0) -> R:
        """Return the engine's answer. Raises the error that it answers with, and StillWaiting."""
        self.check_loop()
        if isinstance(request, Watch):
            return await self._watch(request)  # type: ignore[return-value]  # the reply of a Watch
        if isinstance(request, Follow):
            return await self._follow(request)  # type: ignore[return-value]  # the reply of a Follow
        with self._stage.asked():
            return await self._answer(request)

    def unserved(self, error: AikiError) -> None:
        """Do nothing: an engine in memory is always there."""

    async def inbox(self, on_message: Callable[[bytes], None]) -> str:
        """Let `on_message` have what is told to the inbox that is returned."""
        inbox = f"{_INBOX}-{len(self._pushes)}" if self._pushes else _INBOX
        self._pushes[inbox] = on_message
        return inbox

    # -- private

    async def _answer(self, request: Request[R]) -> R:
        stage = self._stage
        self._meet(request)
        if type(request) in _READS:
            await stage.rest()
            self.seen.update(request.ids if isinstance(request, Status) else ())
            return stage.engine.answer(request)
        if type(request) in _ORDERS:
            await stage.rest()
        reply = stage.engine.answer(request)
        if type(request) is Enqueue and self._new_id is None:
            self._forget_births()
        await stage.stillness.calm()
        return reply

    def _meet(self, request: Request[Any]) -> None:
        """Serve the workflows that a request names. Raises UsageError for one that is not found."""
        match request:
            case Enqueue():
                self._name(request.runs)
                routes = {(run.workflow, run.version) for run in request.runs}
            case PutSchedule():
                self._name([request.schedule])
                routes = {(request.schedule.workflow, request.schedule.version)}
            case ApplySchedules():
                self._name(request.schedules)
                routes = {(one.workflow, one.version) for one in request.schedules}
            case Workflows(workflow=str(name)):
                routes = {(one.name, one.version) for one in self._stage.served.find_all(name)}
            case _:
                return
        for route in routes:
            self._stage.serve(*route)

    def _name(self, new: Iterable[NewRun | NewSchedule]) -> None:
        if self._new_id is not None:
            for one in new:
                one.id = self._new_id()

    def _forget_births(self) -> None:
        """Have the client ask about a run when it waits for it, and not trust that its end will be pushed.

        It does so by itself about a run that has another id than it made.
        """
        for call_back in self.on_return:
            call_back()

    async def _watch(self, request: Watch) -> StatusReply:
        """Return the first of the runs; the others are asked for again, so that an error is of one run alone."""
        run_id, rest = request.ids[0], len(request.ids) - 1
        self.seen.add(run_id)
        if request.ends_only:
            run = await self._stage.end(run_id)
            return StatusReply([] if run is None else [run], rest)
        with self._stage.asked():
            await self._stage.rest()
            reply = self._stage.engine.answer(Watch([run_id], request.inbox, request.seconds, ends_only=False))
        for run in reply.runs:
            self._check_moves(run)
        return StatusReply(reply.runs, rest)

    async def _follow(self, request: Follow) -> FollowReply:
        """Return the runs as they are when nothing is to run soon."""
        self.seen.update(one.id for one in request.runs)
        with self._stage.asked():
            await self._stage.stillness.calm()
            reply = self._stage.engine.answer(request)
        for feed in reply.runs:
            self._check_moves(feed.run)
        return reply

    def _check_moves(self, run: RunStatus) -> None:
        """Raise StillWaiting if nothing has moved for long since this run was asked about: a client asks anew."""
        stage, now = self._stage, time.monotonic()
        moves = stage.loop.moves
        before, since = self._watched.get(run.id, (None, now))
        if moves != before or run.state in SETTLED or not stage.is_idle:
            self._watched[run.id] = moves, now
        elif now - since >= stage.stillness.patience:
            raise stage.waiting(run)

    def _on_news(self, inbox: str, news: Struct) -> None:
        if (push := self._pushes.get(inbox)) is not None:
            push(codec.encode(news))
