"""How keys are made, and what they say."""

from __future__ import annotations

import pytest

from aiki.core import keys


@pytest.mark.parametrize(
    ("key", "task", "timer"),
    [
        ("task:charge:5f3a09c1:2", "charge", None),
        ("task:charge@order:1@x", "charge", None),
        ("timer:600", None, ("for", 600_000_000)),
        ("timer:0.25", None, ("for", 250_000)),
        ("until:1700000000000000", None, ("until", 1_700_000_000_000_000)),
        ("patch:new-tax", None, None),
        ("timer:\x1b[2J", None, None),
        ("", None, None),
    ],
)
def test_a_key_names_its_task_or_its_timer(key, task, timer):
    assert (keys.task_of(key), keys.timer_of(key)) == (task, timer)
    assert keys.is_task(key) is (task is not None)


@pytest.mark.parametrize(
    ("key", "kind", "said"),
    [
        (keys.numbered(keys.of_input(keys.TASK, "charge", "5f3a09c1"), 2), "task", "charge:5f3a09c1:2"),
        (keys.shared(keys.TASK, "charge", "order:1@x"), "task", "charge@order:1@x"),
        (keys.timer(250_000), "timer", "0.25"),
        (keys.timer(600_000_000), "timer", "600"),
        (keys.timer(0), "timer", "0"),
        (keys.until(-5), "until", "-5"),
        (keys.named(keys.PATCH, "a:b@c"), "patch", "a:b@c"),
        (keys.numbered(keys.of_input(keys.EVENT, keys.of_any(["a", "b"]), "5f"), 1), "event", "a|b:5f:1"),
        (keys.numbered(keys.of_input(keys.SEND, "a", "5f"), 1), "send", "a:5f:1"),
        ("task", "", ""),
    ],
)
def test_a_key_is_read_as_it_was_made(key, kind, said):
    assert (keys.kind_of(key), keys.said_in(key)) == (kind, said)
    assert all(key.startswith(keys.beginning(one)) == (kind == one) for one in ("task", "timer", "until", "patch"))


@pytest.mark.parametrize("microseconds", [1, 999_999, 1_000_000, 1_500_000, 3_600_000_000, 99_999_999_999_999])
def test_timers_keep_their_microsecond(microseconds):
    assert keys.timer_of(keys.timer(microseconds)) == ("for", microseconds)
    assert keys.timer_of(keys.until(microseconds)) == ("until", microseconds)


def test_a_wait_for_any_of_many_events_is_named_by_the_first_and_how_many_others():
    names = [f"event-{number:03}" for number in range(100)]
    assert keys.of_any(names[:2]) == "event-000|event-001"
    assert keys.of_any(names) == "event-000|+99"
    assert keys.name_of(keys.of_input(keys.EVENT, keys.of_any(names), "5f")) == "event-000|+99"
