"""Hearing: one read for all that was heard, and another for what came while it was under way."""

from __future__ import annotations

from aiki.execution.hearing import Hearing


def test_what_is_heard_while_a_read_is_under_way_leads_to_one_more() -> None:
    hearing = Hearing()
    assert hearing.hear(1)
    assert not hearing.hear(2)
    assert not hearing.hear(3)
    assert hearing.is_behind()
    assert not hearing.is_behind()
    assert hearing.hear(3), "something may be wanted, which has no number"


def test_a_number_that_nobody_reaches_leads_to_one_read() -> None:
    hearing = Hearing()
    assert hearing.hear(1 << 62)
    assert not hearing.is_behind()
