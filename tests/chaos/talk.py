"""Own the talk with runs: senders that note what was accepted, and repeat under the same id what was not answered."""

from __future__ import annotations

import time
import uuid
from typing import Any

import anyio
import msgspec

from aiki import Client, Event, Handle, State, Unavailable
from aiki.wire.messages import Cancel, OrderReply, Outcome, Pause, Resume, Send, Sent
from tests.chaos.cluster import Cluster
from tests.chaos.heard import Accepted
from tests.chaos.hearers import hearing, over, regretted, relaying, said

ATTEMPT_SECONDS = 1.0
EACH = 2
"""Senders of each run: what they send at the same time may come in any order."""
PAUSE_SECONDS = 0.1
"""Between two events of a sender: runs shall keep up, or their backlog would be all that a scenario waits for."""


class Talk:
    """Speaks to `runs` runs, and to some of them by way of another run, until it is told to end."""

    def __init__(self, cluster: Cluster, client: Client) -> None:
        self._cluster = cluster
        self._client = client
        self.ending = False
        self._counts: dict[str, int] = {}
        self._listeners: dict[str, list[str]] = {}
        """By the run that is spoken to those that hear of it, itself among them."""

    @property
    def accepted(self) -> int:
        """How many events were accepted so far."""
        return sum(self._counts.values())

    @property
    def runs(self) -> list[str]:
        """Those that are spoken to."""
        return list(self._listeners)

    def end(self) -> None:
        """Let `go_on` return, once all that is under way has been accepted."""
        self.ending = True

    async def go_on(self, runs: int = 4) -> None:
        """Enqueue the runs, every fourth one with a relay before it, and speak to them."""
        async with anyio.create_task_group() as group:
            for number in range(runs):
                heard = await hearing.enqueue(self._client)
                spoken_to: Handle[Any] = heard
                if number % 4 == 3:
                    spoken_to = await relaying.enqueue(self._client, heard.run_id)
                self._listeners[spoken_to.run_id] = list({spoken_to.run_id, heard.run_id})
                group.start_soon(self._speak_to, spoken_to.run_id)

    async def _speak_to(self, run_id: str) -> None:
        self._counts[run_id] = 0
        async with anyio.create_task_group() as group:
            for sender in range(EACH):
                group.start_soon(self._send_on, run_id, f"s{sender}")
        await self._accept(run_id, over, None)
        for listener in self._listeners[run_id]:
            self._cluster.expected.results[listener] = self._counts[run_id]

    async def _send_on(self, run_id: str, sender: str) -> None:
        number = 0
        while not self.ending:
            value = f"{sender}-{number}"
            sent_at = time.monotonic()
            event = await self._accept(run_id, said, value)
            answered_at = time.monotonic()
            self._counts[run_id] += 1
            self._cluster.expected.events += [
                Accepted(listener, value, sent_at, answered_at) for listener in self._listeners[run_id]
            ]
            if number % 4 == 0:  # once more, by when it may have been taken
                assert (await self._answer(event)).result == "repeated"
            number += 1
            await anyio.sleep(PAUSE_SECONDS)

    async def _accept(self, run_id: str, event: Event[Any], value: str | None) -> Sent:
        sent = Sent(run_id, str(uuid.uuid4()), event.name, msgspec.Raw(msgspec.json.encode(value)))
        outcome = await self._answer(sent)
        assert outcome.result in ("taken", "repeated"), outcome
        return sent

    async def _answer(self, sent: Sent) -> Outcome:
        while True:
            try:
                reply = await self._client.transport.call(Send([sent]), seconds=ATTEMPT_SECONDS)
            except Unavailable:
                continue
            (outcome,) = reply.outcomes
            return outcome


class Orders:
    """Pauses and resumes the runs of a talk, and enqueues others that it cancels, or whose deadlines pass."""

    def __init__(self, cluster: Cluster, client: Client, talk: Talk) -> None:
        self._cluster = cluster
        self._client = client
        self._talk = talk

    async def go_on(self) -> None:
        """Give one order after the other until the talk ends."""
        while not self._talk.ending:
            for run_id in self._talk.runs:
                await self._order(Pause([run_id]))
                await anyio.sleep(PAUSE_SECONDS)
                await self._order(Resume([run_id]))
            await self._have_ended()

    async def _have_ended(self) -> None:
        """Enqueue a run that is cancelled, and one whose deadline passes."""
        late = await regretted.options(timeout="500ms").enqueue(self._client)
        self._cluster.expected.ends[late.run_id] = State.FAILED
        told = await regretted.enqueue(self._client)
        self._cluster.expected.ends[told.run_id] = State.CANCELLED
        await anyio.sleep(PAUSE_SECONDS)
        await self._order(Cancel([told.run_id]))

    async def _order(self, order: Pause | Resume | Cancel) -> OrderReply:
        while True:
            try:
                return await self._client.transport.call(order, seconds=ATTEMPT_SECONDS)
            except Unavailable:
                continue
