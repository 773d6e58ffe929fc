"""What a worker says of its runs, and that it counts where it would say too much."""

from __future__ import annotations

import pytest
from msgspec import Raw

from aiki.core.states import Move
from aiki.wire.codec import encode
from aiki.wire.messages import NULL, Attempt, Claimed, End, Entry, Failure, Fence, Unit
from aiki.worker.talk import LINES, Talk
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000_000_000
FENCE = Fence("run-1", 1, "claim")
BROKEN = Raw(encode(Failure("TimeoutError", "no answer\nfor long")))


def claimed(attempt: int = 1) -> Claimed:
    return Claimed(FENCE, "run-1", "order", "1", Raw(b"{}"), attempt, NOW - 3_200_000)


def unit(*, entries: list[Entry] | None = None, attempts: list[Attempt] | None = None, end: End | None = None) -> Unit:
    return Unit(FENCE, 0, entries or [], attempts or [], end)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
async def talk(said: list[str], anyio_backend: str) -> Talk:
    return Talk(lambda: NOW, said.append)


async def test_waits_are_told_if_the_run_has_left_and_what_is_no_tasks_failure_is_not(
    talk: Talk, said: list[str]
) -> None:
    waits = unit(end=End(Move.WAIT, seen=1, waits=["event:approved", "event:rejected", "op"]))
    talk.recorded(claimed(), waits, parked=False)
    talk.recorded(claimed(), waits)
    failed = [
        Entry("send:approved:5f:1", False, Raw(b'{"result":"ended"}'), NOW),
        Entry("event:approved:5f:1", False, NULL, NOW),
    ]
    talk.recorded(claimed(), unit(entries=failed))
    assert said == ["order run-1 waits for event approved, event rejected, op"]


async def test_a_run_is_told_from_its_start_to_its_end(talk: Talk, said: list[str]) -> None:
    talk.began(claimed())
    talk.recorded(claimed(), unit(attempts=[Attempt("task:charge:5f:1", 2, BROKEN, NOW + 1_500_000)]))
    talk.recorded(claimed(), unit(end=End(Move.SLEEP, due_at=NOW + 600_000_000)))
    talk.began(claimed(2))
    talk.recorded(
        claimed(2), unit(entries=[Entry("task:ship@o-1", False, BROKEN, NOW), Entry("timer:1", True, NULL, 0)])
    )
    talk.recorded(claimed(2), unit(end=End(Move.FAIL, error=BROKEN)))
    talk.recorded(claimed(2), unit(end=End(Move.COMPLETE, output=NULL)))
    talk.recorded(claimed(2), unit(end=End(Move.DIVERGE, why="the code asks for b\nthe journal holds a")))
    assert said == [
        "order run-1 started",
        r"order run-1 task charge failed at attempt 2, again in 1.5 s: TimeoutError: no answer\nfor long",
        "order run-1 sleeps for 10m 0s",
        "order run-1 goes on",
        r"order run-1 task ship gave up: TimeoutError: no answer\nfor long",
        r"order run-1 failed: TimeoutError: no answer\nfor long",
        "order run-1 completed in 3.2 s",
        "order run-1 is blocked: the code asks for b",
    ]


async def test_what_a_cancel_cuts_off_has_not_given_up(talk: Talk, said: list[str]) -> None:
    cut = Raw(encode(Failure("CancelledError", "", task="charge", attempts=1)))
    talk.recorded(claimed(), unit(entries=[Entry("task:charge:5f:1", False, cut, NOW)]))
    talk.recorded(claimed(), unit(end=End(Move.CANCEL, why="dave wants it cancelled: wrong address")))
    assert said == [
        "order run-1 task charge was cut off by a cancel",
        "order run-1 is cancelled: dave wants it cancelled: wrong address",
    ]


async def test_what_is_no_news_has_no_line(talk: Talk, said: list[str]) -> None:
    announced, taken_back = Attempt("task:a:5f:1", 1, NULL), Attempt("task:a:5f:1", 1, BROKEN)
    talk.recorded(claimed(), unit(attempts=[announced, taken_back], end=End(Move.RELEASE)))
    talk.recorded(claimed(), unit(end=End(Move.RETRY, due_at=NOW + 1)))
    assert said == []


async def test_more_than_anybody_reads_is_one_line_a_second(talk: Talk, said: list[str]) -> None:
    for _ in range(2_000):
        talk.began(claimed())
        talk.recorded(claimed(), unit(end=End(Move.COMPLETE, output=NULL)))
    talk.recorded(claimed(), unit(end=End(Move.FAIL, error=BROKEN)))
    assert len(said) == LINES + 1
    assert said[-1] == r"order run-1 failed: TimeoutError: no answer\nfor long", "what goes wrong is not crowded out"
    await wait_until(lambda: len(said) > LINES + 1, what="the counts of the second")
    assert said[-1] == "within a second: runs started 2,000, runs completed 2,000"
    talk.began(claimed())
    assert len(said) == LINES + 2, "the next second is counted, too"
    talk.close()
    assert said[-1] == "within a second: runs started 1"
