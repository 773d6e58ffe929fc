"""What a run knows of its inbox: what is unread, up to where it was read, and when it is to be read again."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec import Raw

from aiki.execution.arrivals import Arrivals
from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import Arrival, Claimed, Fence, InboxReply


def event(number: int, name: str = "a") -> Arrival:
    return Arrival(number, number * 10, "event", name)


def arrivals(*came: Arrival, news: int = 0, unread: int | None = None) -> Arrivals:
    count = len(came) if unread is None else unread
    fence = Fence("run", 1, "claim")
    claimed = Claimed(fence, "run", "flow", "1", Raw(b"{}"), 1, 0, arrivals=list(came), news=news, unread=count)
    return Arrivals(claimed, lambda: MESSAGE_BYTES)


def numbers(found: list[Arrival]) -> list[int]:
    return [arrival.number for arrival in found]


def test_events_are_found_by_name_oldest_first_and_over_several_names_by_number() -> None:
    inbox = arrivals(event(1), event(2, "b"), event(3), event(5, "b"), news=5)
    assert numbers(inbox.events(["a"], 2)) == [1, 3]
    assert numbers(inbox.events(["b", "a"], 3)) == [1, 2, 3]
    assert inbox.events(["a"], 3) == []
    assert inbox.events(["c"], 1) == []


def test_what_is_taken_is_found_no_more() -> None:
    inbox = arrivals(event(1), event(2, "b"), news=2)
    inbox.consume(inbox.events(["a", "b"], 1))
    assert numbers(inbox.events(["a", "b"], 1)) == [2]
    assert inbox.count == 1


def test_a_claim_that_brings_all_leaves_nothing_to_read() -> None:
    inbox = arrivals(event(4), news=7)
    assert (inbox.seen, inbox.behind) == (7, False)


def test_a_claim_that_brings_a_part_is_behind_until_the_last_page() -> None:
    inbox = arrivals(event(1), event(2), news=2, unread=4)
    assert inbox.behind
    assert inbox.next_read() == 2
    inbox.read(InboxReply([event(3)], 3, more=True))
    assert inbox.behind
    assert inbox.next_read() == 3
    inbox.read(InboxReply([event(4)], 6))
    assert (inbox.seen, inbox.behind) == (6, False)
    assert numbers(inbox.events(["a"], 4)) == [1, 2, 3, 4]


def test_what_is_read_twice_is_there_once() -> None:
    inbox = arrivals(event(1), news=1)
    inbox.hear(2)
    inbox.next_read()
    inbox.read(InboxReply([event(1), event(2)], 2))
    assert numbers(inbox.events(["a"], 2)) == [1, 2]
    assert inbox.count == 2


def test_what_is_heard_while_a_read_is_under_way_leads_to_one_more() -> None:
    inbox = arrivals()
    inbox.hear(1)
    assert inbox.next_read() == 0
    inbox.hear(3)
    assert inbox.next_read() is None
    inbox.read(InboxReply([event(1)], 1))
    assert inbox.behind
    assert inbox.next_read() == 1
    inbox.read(InboxReply([event(3)], 3))
    assert not inbox.behind
    assert inbox.next_read() == 3, "something may be wanted, which has no number"


def test_a_number_that_nobody_reaches_leads_to_one_read() -> None:
    inbox = arrivals()
    inbox.hear(1 << 62)
    inbox.next_read()
    inbox.read(InboxReply([], 0))
    assert (inbox.seen, inbox.behind) == (0, False)


def test_outcomes_of_ops_are_found_by_their_ids_and_a_cancel_by_nobody() -> None:
    outcome, cancel = Arrival(1, 10, "op", "id"), Arrival(2, 20, "cancel")
    inbox = arrivals(outcome, cancel, news=2)
    assert inbox.outcome("id") is outcome
    assert inbox.count == 1
    inbox.consume([outcome])
    assert inbox.outcome("id") is None


def test_what_is_told_is_taken_where_it_follows_what_was_read_and_once() -> None:
    inbox = arrivals(event(1), news=1)
    inbox.hear(3)
    assert inbox.follow([event(1), event(2), event(3)])
    assert (inbox.seen, inbox.behind) == (3, False)
    assert numbers(inbox.events(["a"], 3)) == [1, 2, 3]
    assert not inbox.follow([event(3)])
    inbox.hear(5)
    assert not inbox.follow([event(5)]), "there is a gap"
    assert inbox.behind


def test_a_read_that_was_under_way_brings_nothing_twice_that_was_told_meanwhile() -> None:
    inbox = arrivals()
    inbox.hear(1)
    assert inbox.next_read() == 0
    inbox.hear(2)
    assert inbox.follow([event(1), event(2)])
    inbox.read(InboxReply([event(1)], 1))
    assert (inbox.count, inbox.seen, inbox.behind) == (2, 2, False)


@pytest.mark.parametrize("kind", ["cancel", "op", "wake"])
def test_nothing_but_an_event_is_believed_to_whoever_tells_of_it(kind: Literal["cancel", "op", "wake"]) -> None:
    inbox = arrivals(event(1), news=1)
    inbox.hear(2)
    assert not inbox.follow([Arrival(2, 20, kind)])
    assert inbox.behind, "it is read"
