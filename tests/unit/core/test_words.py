"""What keys mean to people."""

from __future__ import annotations

import pytest

from aiki.core.words import task_of, timer_of


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
    assert (task_of(key), timer_of(key)) == (task, timer)
