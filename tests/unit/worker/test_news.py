"""News of inboxes: what is pushed and what renewals say reaches the runs, also those that come later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import Raw

from aiki.wire import codec
from aiki.wire.messages import Arrival, Claimed, Fence, Told
from aiki.worker.news import EARLY_RUNS, News


class Wire:
    """As much of a transport as news knows."""

    def __init__(self) -> None:
        self.sessions: list[str] = []

    def told(self, session: str, on_told: Callable[[bytes], None]) -> Callable[[], None]:
        self.sessions.append(session)
        self.on_told = on_told
        return lambda: self.sessions.remove(session)

    def push(self, *runs: tuple[str, int]) -> None:
        self.on_told(codec.encode(Told(list(runs))))


class Run:
    """As much of a run that is executed."""

    def __init__(self, run_id: str, *, news: int = 0) -> None:
        self.fence = Fence(run_id, 1, "claim")
        self.claimed = Claimed(self.fence, run_id, "flow", "1", Raw(b"{}"), 1, 0, news=news)
        self.heard: list[int] = []
        self.came: list[Arrival] = []

    def on_news(self, number: int, came: Sequence[Arrival] = ()) -> None:
        self.heard.append(number)
        self.came += came


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def runs() -> dict[str, Any]:
    return {"a": Run("a"), "b": Run("b")}


@pytest.fixture
def news(wire: Wire, runs: dict[str, Any]) -> News:
    transport: Any = wire
    made = News(transport, runs)
    made.listen("session-1")
    return made


def test_what_is_pushed_reaches_the_runs_that_are_here(wire: Wire, news: News, runs: dict[str, Any]) -> None:
    wire.push(("a", 1), ("gone", 5), ("b", 7))
    news.take([("a", 2)])
    assert (runs["a"].heard, runs["b"].heard) == ([1, 2], [7])


def test_what_comes_along_with_a_push_goes_to_its_run(wire: Wire, runs: dict[str, Any], news: News) -> None:
    came = [Arrival(1, 5, "event", "approved")]
    wire.on_told(codec.encode(Told([("a", 1), ("b", 2)], {"a": came, "gone": came})))
    assert (runs["a"].came, runs["b"].came) == (came, [])
    assert runs["b"].heard == [2]


def test_what_overtakes_a_claims_reply_is_kept_for_its_run(wire: Wire, news: News, runs: dict[str, Any]) -> None:
    wire.push(("late", 3))
    wire.push(("late", 2), ("known", 4))
    late: Any = Run("late")
    known: Any = Run("known", news=4)
    news.began(late)
    news.began(known)
    news.began(late)
    assert late.heard == [3]
    assert known.heard == [], "its claim's reply had it already"


def test_of_runs_that_never_come_little_is_kept(wire: Wire, news: News) -> None:
    wire.push(*((f"run-{n}", 1) for n in range(EARLY_RUNS)))
    wire.push(("run-0", 2), ("last", 1))
    kept: dict[str, Any] = {run_id: Run(run_id) for run_id in ("run-0", "run-1", "last")}
    for run in kept.values():
        news.began(run)
    assert [run.heard for run in kept.values()] == [[2], [], [1]]


def test_a_new_session_hears_on_a_subject_of_its_own(wire: Wire, news: News) -> None:
    news.listen("session-2")
    assert wire.sessions == ["session-2"]
    news.close()
    assert wire.sessions == []


def test_what_strangers_write_is_left(wire: Wire, runs: dict[str, Any], news: News) -> None:
    for data in (b"", b"[]", b'{"runs":[["a"]]}', b'{"runs":[["a","1"]]}', b"\xff"):
        wire.on_told(data)
    assert runs["a"].heard == []
