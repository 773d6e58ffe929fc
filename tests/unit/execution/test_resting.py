"""What a run does whose body has been run as far as it goes: every kind of moving, draining or not, as a table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from aiki.core.moments import SECOND
from aiki.core.states import Move
from aiki.execution.bounds import Limits
from aiki.execution.resting import Moving, Rest, Wake, decide, lingers_until

LIMITS = Limits(linger_seconds=10, inline_retry_seconds=5)

# What moves, and whether the worker drains; what the run does whatever it waits for.
MOVING = """
body            no   go_on
body            yes  release
body_and_tries  no   go_on
body_and_tries  yes  go_on
tries           no   stay
tries           yes  stay
ready           no   stay
ready           yes  release
"""
# Nothing moves: what it waits for, for how many seconds, whether something is unwritten, whether it drains.
STILL = """
sleep  10     no   no   linger
sleep  10     yes  no   stay
sleep  10.01  no   no   leave
sleep  10.01  yes  no   leave
sleep  0      no   no   stay
sleep  -1     no   no   stay
sleep  3      no   yes  leave
sleep  0      yes  yes  leave
sleep  99     no   yes  leave
retry  5      no   no   linger
retry  5      yes  no   stay
retry  5.01   no   no   leave
retry  0      no   no   stay
retry  3      no   yes  leave
none   0      no   yes  release
none   0      yes  yes  release
"""
# The same for what waits for an arrival: its date, for how long it has waited, what is unwritten, whether it drains.
AWAITED = """
never  0      no   no   linger
never  9.99   no   no   linger
never  10     no   no   leave
never  10     yes  no   stay
never  0      yes  no   stay
never  0      no   yes  leave
never  0      yes  yes  leave
99     0      no   no   linger
99     10     no   no   leave
3      10     no   no   leave
3      0      no   no   linger
0      0      no   no   stay
-1     10     no   no   stay
3      0      no   yes  leave
"""
NOW = 1_700_000_000 * SECOND


def wake_in(seconds: str, move: str) -> Wake | None:
    return None if move == "none" else Wake(NOW + round(float(seconds) * SECOND), Move(move))


def moving() -> Iterator[tuple[str, str, str]]:
    for line in MOVING.strip().splitlines():
        what, draining, rest = line.split()
        yield what, draining, rest


def still() -> Iterator[tuple[str, str, str, str, str]]:
    for line in STILL.strip().splitlines():
        move, seconds, unwritten, draining, rest = line.split()
        yield move, seconds, unwritten, draining, rest


def test_the_tables_have_every_kind() -> None:
    told = {(Moving[what.upper()], draining) for what, draining, _ in moving()}
    assert told == set(itertools.product(set(Moving) - {Moving.NOTHING}, ["yes", "no"]))


@pytest.mark.parametrize(("what", "draining", "rest"), list(moving()))
@pytest.mark.parametrize("move", ["sleep", "retry", "none"])
@pytest.mark.parametrize("seconds", ["-1", "0", "3", "3600"])
@pytest.mark.parametrize("unwritten", [True, False])
def test_what_moves_decides_alone(
    what: str, draining: str, rest: str, *, move: str, seconds: str, unwritten: bool
) -> None:
    wake = wake_in(seconds, move)
    decided = decide(
        Moving[what.upper()], wake, NOW, draining=draining == "yes", unwritten=unwritten, limits=LIMITS
    )  # fmt: skip
    assert decided is Rest[rest.upper()]


@pytest.mark.parametrize(("move", "seconds", "unwritten", "draining", "rest"), list(still()))
def test_a_run_in_which_nothing_moves(move: str, seconds: str, unwritten: str, draining: str, rest: str) -> None:
    decided = decide(
        Moving.NOTHING,
        wake_in(seconds, move),
        NOW,
        draining=draining == "yes",
        unwritten=unwritten == "yes",
        limits=LIMITS,
    )
    assert decided is Rest[rest.upper()]


def test_a_run_that_waits_for_nothing_is_not_asked_about() -> None:
    with pytest.raises(AssertionError):
        decide(Moving.NOTHING, None, NOW, draining=False, unwritten=False, limits=LIMITS)


@pytest.mark.parametrize("row", AWAITED.strip().splitlines())
def test_a_run_that_waits_for_an_arrival(row: str) -> None:
    seconds, waited, unwritten, draining, rest = row.split()
    at = None if seconds == "never" else NOW + round(float(seconds) * SECOND)
    wake = Wake(at, Move.WAIT, NOW - round(float(waited) * SECOND))
    decided = decide(
        Moving.NOTHING, wake, NOW, draining=draining == "yes", unwritten=unwritten == "yes", limits=LIMITS
    )  # fmt: skip
    assert decided is Rest[rest.upper()]


@pytest.mark.parametrize(
    ("wake", "seconds"),
    [
        (Wake(NOW + 3 * SECOND, Move.SLEEP), 3),
        (Wake(NOW + 3 * SECOND, Move.WAIT, NOW), 3),
        (Wake(NOW + 99 * SECOND, Move.WAIT, NOW), 10),
        (Wake(None, Move.WAIT, NOW - 4 * SECOND), 6),
    ],
)
def test_a_run_at_rest_is_looked_at_again_at_its_date_or_when_it_has_lingered(wake: Wake, seconds: int) -> None:
    assert lingers_until(wake, LIMITS) == NOW + seconds * SECOND
