"""The life of a claim: every pair of phase and happening, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from aiki.core.states import Move
from aiki.execution.phases import MOVES, Happening, IllegalHappening, Lifecycle, Phase
from aiki.wire.messages import End

MATRIX = """
            begin  rest       wake       slot    end     news    gone
reading     live   -          -          -       ending  -       over
live        -      lingering  -          -       ending  -       over
lingering   -      -          returning  -       ending  -       over
returning   -      -          -          live    ending  -       over
ending      -      -          returning  ending  ending  live    over
over        -      -          -          -       -       -       -
"""


def cells() -> Iterator[tuple[str, str, str]]:
    header, *rows = MATRIX.strip().splitlines()
    for row in rows:
        phase, *after = row.split()
        for happening, then in zip(header.split(), after, strict=True):
            yield phase, happening, then


def life_in(phase: str) -> Lifecycle:
    life = Lifecycle()
    life.phase = Phase(phase)
    return life


def test_the_matrix_has_every_pair() -> None:
    assert {(phase, happening) for phase, happening, _ in cells()} == set(itertools.product(Phase, Happening))


@pytest.mark.parametrize(("phase", "happening", "then"), list(cells()))
def test_every_pair_of_phase_and_happening(phase: str, happening: str, then: str) -> None:
    life = life_in(phase)
    if then == "-":
        with pytest.raises(IllegalHappening, match=f"{happening} cannot happen to a claim that is {phase}"):
            life.move(Happening(happening))
        assert life.phase == phase, "what cannot happen changes nothing"
    else:
        life.move(Happening(happening))
        assert life.phase == then


def test_from_every_phase_a_claim_can_end() -> None:
    for phase in Phase:
        if phase is not Phase.OVER:
            assert MOVES[phase, Happening.GONE] is Phase.OVER


def test_how_a_claim_ends_is_decided_once_and_may_be_replaced() -> None:
    life = Lifecycle()
    assert life.is_open
    life.decide(End(Move.COMPLETE))
    assert not life.is_open
    life.decide(End(Move.FAIL))
    assert (life.phase, life.end) == (Phase.ENDING, End(Move.FAIL))


@pytest.mark.parametrize(("phase", "then"), [("live", "live"), ("lingering", "returning")])
def test_a_claim_that_may_not_leave_goes_on_with_the_slot_that_it_had(phase: str, then: str) -> None:
    life = life_in(phase)
    life.decide(End(Move.WAIT, seen=0))
    assert life.go_on() is (then == "live")
    assert (life.phase, life.end) == (then, None)


def test_a_lost_claim_is_not_open_though_nobody_decided_its_end() -> None:
    life = Lifecycle()
    life.move(Happening.GONE)
    assert not life.is_open
    with pytest.raises(IllegalHappening):
        life.decide(End(Move.RELEASE))
