"""Each pair of state and event: legal as the table says, refused otherwise."""

import itertools

import pytest

from aiki.core.states import HELD, TERMINAL, TRANSITIONS, IllegalTransition, Move, State, apply, sources, target


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Move)))
def test_an_event_moves_a_run_as_the_table_says_or_not_at_all(state: State, event: Move) -> None:
    if (state, event) in TRANSITIONS:
        assert apply(state, event) is TRANSITIONS[state, event]
        assert state in sources(event)
    else:
        assert state not in sources(event)
        with pytest.raises(IllegalTransition, match=f"{state} cannot {event}"):
            apply(state, event)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_terminal_run_never_comes_back(state: State) -> None:
    assert not [pair for pair in TRANSITIONS if pair[0] is state]


@pytest.mark.parametrize("event", Move)
def test_each_event_has_one_target(event: Move) -> None:
    assert target(event) in State


def test_only_a_person_or_its_deadline_ends_a_held_state() -> None:
    assert {event for state, event in TRANSITIONS if state in HELD} == {Move.RESUME, Move.TIME_OUT, Move.CANCEL}


def test_every_live_state_leads_to_an_end() -> None:
    ends = set(TERMINAL)
    for _ in State:
        ends |= {state for (state, _), after in TRANSITIONS.items() if after in ends}
    reachable = {State.SCHEDULED, State.QUEUED} | set(TRANSITIONS.values())
    assert reachable <= ends


def test_what_arrives_wakes_a_run_where_it_may_wait_for_it() -> None:
    assert sources(Move.ARRIVE) == {State.WAITING, State.SLEEPING}


def test_a_wait_may_have_a_date() -> None:
    assert target(Move.WAIT) in sources(Move.DUE)
