"""Own histories that are made up: what is ordered of a few runs, step by step, while time passes and workers crash.

Many histories are played at once on one stage, and know nothing of each other: time and the worker are what they share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st

from aiki import Handle, Retry
from aiki.core.duration import Duration
from tests.conformance.answers import answer
from tests.conformance.ids import who
from tests.conformance.programs import EVENTS, PROGRAMS, Step, story
from tests.conformance.stage import Stage

Order = list[Any]


@dataclass(frozen=True)
class History:
    """What is ordered at each moment: the first is an enqueue."""

    number: int
    orders: Sequence[Order]


@dataclass(frozen=True)
class Batch:
    """Histories, and what happens to all of them behind each order."""

    passing: Sequence[str]
    """How much time passes, or what befalls the worker."""
    histories: Sequence[History]


CRASH: Final = "crash"
AWAY: Final = "away"
"""Nobody serves while the next order is given."""
MOMENTS: Final = 6
_RUNS: Final = st.integers(0, 1)
_OPTIONS: Final = st.fixed_dictionaries(
    {},
    optional={
        "key": st.sampled_from(["k", "l"]),
        "on_conflict": st.sampled_from(["error", "existing", "retry_failed", "restart"]),
        "delay": st.sampled_from(["5s", "70s"]),
        "timeout": st.sampled_from(["20s", "90s"]),
        "cancel_timeout": st.just("10s"),
        "send": st.sampled_from(sorted(EVENTS)),
        "again": st.sampled_from(["failure", "start"]),
    },
)


def _of(kind: str, *rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Order]:
    return st.tuples(st.just(kind), *rest).map(list)


_ENQUEUE: Final = _of("enqueue", PROGRAMS, _OPTIONS)
_ORDERS: Final = st.one_of(
    _of("send", _RUNS, st.sampled_from(sorted(EVENTS)), st.sampled_from(["x", "y"]), st.sampled_from([None, "k"])),
    _of("cancel", _RUNS, st.booleans()),
    _of("pause", _RUNS),
    _of("resume", _RUNS),
    _of("wake", _RUNS),
    _of("retry", _RUNS, st.sampled_from([{}, {"from_start": True}, {"force": True}, {"from_task": "act"}])),
    _of("nothing"),
    _ENQUEUE,
)
_PASSING: Final = st.sampled_from(["0s", "0s", "1s", "10s", "1m", "1h", CRASH, AWAY])


def batches(size: int) -> st.SearchStrategy[Batch]:
    """Return so many histories, of MOMENTS orders each."""
    orders = st.tuples(_ENQUEUE, *[_ORDERS] * (MOMENTS - 1)).map(list)
    histories = st.lists(orders, min_size=size, max_size=size)
    numbered = histories.map(lambda many: [History(number, one) for number, one in enumerate(many)])
    return st.builds(Batch, st.lists(_PASSING, min_size=MOMENTS, max_size=MOMENTS), numbered)


async def play(batch: Batch, stage: Stage) -> list[str]:
    """Return what each history was answered, order by order."""
    players = [_Player(history, stage) for history in batch.histories]
    for moment, passes in enumerate(batch.passing):
        if moment and batch.passing[moment - 1] == AWAY:
            await asyncio.gather(*(player.order(moment) for player in players))
            await stage.start_worker()
        else:
            await asyncio.gather(*(player.order(moment) for player in players))
        await stage.settle()
        await _pass(passes, stage)
        await stage.settle()
    await stage.start_worker() if batch.passing[-1] == AWAY else None
    await stage.advance("1h")
    return [f"{player.number} {answer}" for player in players for answer in player.answers]


async def _pass(passes: Duration, stage: Stage) -> None:
    if passes == CRASH:
        await stage.crash_worker()
    elif passes == AWAY:
        await stage.stop_worker()
    else:
        await stage.advance(passes)


class _Player:
    """One history as it is played."""

    def __init__(self, history: History, stage: Stage) -> None:
        self.number = history.number
        self.answers: list[str] = []
        self._orders = history.orders
        self._pauses = any(kind == "pause" for kind, *_ in history.orders)
        self._client = stage.client
        self._runs: list[Handle[Any]] = []

    async def order(self, moment: int) -> None:
        who.set(f"history {self.number}")  # of the task that gathers it
        kind, *rest = self._orders[moment]
        found = await answer(getattr(self, f"_{kind}")(*rest))
        self.answers.append(f"{kind}: {found}")

    async def _nothing(self) -> str:
        return ""

    async def _enqueue(self, program: list[Step], options: dict[str, str]) -> str:
        # A deadline that has passed during a pause meets, at the resume, whoever claims the run: either may be first.
        given = {name: value for name, value in options.items() if name != "timeout" or not self._pauses}
        handle = await self._client.enqueue(_with(given, self.number).bind(program))
        self._runs.append(handle)
        return f"{handle.run_id} {'new' if handle.created else 'old'}"

    async def _send(self, run: int, name: str, value: str, key: str | None) -> None:
        await self._run(run).send(EVENTS[name], value, idempotency_key=key)

    async def _cancel(self, run: int, force: bool) -> str:
        await self._run(run).cancel(force=force)
        return "done"

    async def _pause(self, run: int) -> str:
        await self._run(run).pause()
        return "done"

    async def _resume(self, run: int) -> str:
        await self._run(run).resume()
        return "done"

    async def _wake(self, run: int) -> str:
        await self._run(run).wake()
        return "done"

    async def _retry(self, run: int, how: dict[str, Any]) -> str:
        handle = await self._run(run).retry(**how)
        self._runs.append(handle)
        return f"{handle.run_id} {'new' if handle.created else 'old'}"

    def _run(self, number: int) -> Handle[Any]:
        return self._runs[-1 - number % len(self._runs)]


def _with(options: dict[str, str], number: int) -> Any:
    given: dict[str, Any] = dict(options)
    if "key" in given:
        given["idempotency_key"] = f"{given.pop('key')}-{number}"
    if "send" in given:
        given["send"] = EVENTS[given["send"]].bind("first")
    if "again" in given:
        given |= {"retry": Retry.fixed(2, "5s"), "retry_from": given.pop("again")}
    return story.options(labels={"history": str(number)}, **given)
