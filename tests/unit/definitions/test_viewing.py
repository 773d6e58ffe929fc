"""A view is whole again once what was missed was asked for, in whatever order things come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aiki.core.states import State
from aiki.definitions.viewing import Taken, Viewing
from aiki.wire.limits import FOLLOWED_CALLS
from aiki.wire.messages import CallOutcome, RunFeed, RunStatus, Seen


def feed(since: int, upto: int, *, generation: int = 0, history: int = 1) -> RunFeed:
    run = RunStatus("run", "w", "1", State.RUNNING, 1, generation=generation)
    outcomes = [CallOutcome(seq, f"task:t:{seq}:1", True, seq) for seq in range(since + 1, upto + 1)]
    return RunFeed(upto, run, since, upto, history, outcomes, done=upto)


def answer(seen: Seen, upto: int, generation: int = 0) -> RunFeed:
    return feed(seen.journal_seq if seen.generation == generation else 0, upto, generation=generation, history=upto)


def known(viewing: Viewing) -> list[str]:
    return [call.key for call in viewing.view().calls]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 3)), max_size=30))
def test_whatever_is_lost_or_late_the_view_is_whole_after_the_next_push(steps: list[tuple[bool, bool, int]]) -> None:
    viewing, told, upto, late = Viewing("run"), 0, 0, None
    for is_lost, is_late, more in [*steps, (False, False, 1)]:
        upto += more
        push = feed(told, upto, history=upto)
        told = upto
        if is_lost:
            continue
        if is_late:
            late = push
            continue
        for one in (push, late):
            if one is not None and viewing.take(one) is Taken.GAP:
                assert viewing.take(answer(viewing.seen, upto), is_answer=True) is Taken.NEW
        late = None
        assert known(viewing) == [f"task:t:{seq}:1" for seq in range(1, upto + 1)]
        assert viewing.view().done == upto


def test_what_is_older_than_what_is_known_changes_nothing() -> None:
    viewing = Viewing("run")
    assert viewing.take(feed(0, 3, history=5)) is Taken.NEW
    assert viewing.take(feed(0, 2, history=5)) is Taken.OLD
    assert viewing.take(feed(3, 3, history=4)) is Taken.OLD
    assert len(known(viewing)) == 3


def test_a_generation_begins_the_view_anew() -> None:
    viewing = Viewing("run")
    viewing.take(feed(0, 3))
    assert viewing.take(feed(1, 2, generation=1, history=9)) is Taken.GAP
    assert viewing.take(feed(0, 2, generation=1, history=9)) is Taken.NEW
    assert known(viewing) == ["task:t:1:1", "task:t:2:1"]
    assert viewing.take(feed(3, 4)) is Taken.OLD


def test_an_answer_puts_right_what_a_stranger_has_pushed() -> None:
    viewing = Viewing("run")
    viewing.take(feed(0, 3))
    assert viewing.take(replace(feed(0, 3, generation=99), journal_seq=1 << 40, now=1 << 60)) is Taken.NEW
    assert viewing.take(feed(3, 4)) is Taken.OLD
    assert viewing.take(feed(0, 4), is_answer=True) is Taken.NEW
    assert viewing.take(feed(4, 5)) is Taken.NEW
    assert len(known(viewing)) == 5


def test_the_newest_calls_are_kept() -> None:
    viewing = Viewing("run")
    for upto in range(50, 1_001, 50):
        viewing.take(feed(upto - 50, upto))
    assert known(viewing) == [f"task:t:{seq}:1" for seq in range(1_001 - FOLLOWED_CALLS, 1_001)]
