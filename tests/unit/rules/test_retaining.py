"""Which runs hold others, and which may go: each case of both."""

from __future__ import annotations

import itertools

import pytest

from aiki.core.states import TERMINAL, State
from aiki.rules.retaining import Holder, Why, holds, stays


@pytest.mark.parametrize("state", sorted(State))
def test_a_run_holds_what_it_may_still_ask_for(state: State) -> None:
    assert holds(Holder(state, 2, 2)) is (state is not State.COMPLETED)
    assert not holds(Holder(state, 2, 1)), "an earlier generation has asked for it"
    assert not holds(Holder(state, 2, 2, is_retried=True)), "its retry has what it had"


@pytest.mark.parametrize("state", sorted(State))
def test_a_run_goes_when_it_has_ended_and_nothing_keeps_it(state: State) -> None:
    for is_busy, is_held in itertools.product((False, True), repeat=2):
        why = stays(state, is_busy=is_busy, is_held=is_held)
        if state not in TERMINAL:
            assert why is Why.LIVE
        else:
            assert why is (Why.BUSY if is_busy else Why.HELD if is_held else None)
