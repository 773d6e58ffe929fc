"""What the deadline of a run does to it; Postgres does the same (tests/integration/daemon/test_deadlines.py)."""

import pytest

from aiki.core.states import TERMINAL, State
from aiki.rules.deadlines import Deadline, Step, passed, step
from aiki.rules.standing import Standing

NEW, BEGUN, TOLD = Deadline(), Standing(State.RUNNING, epoch=1, claim_id="c"), Deadline(told_seq=3, cancel_seq=3)


@pytest.mark.parametrize("state", sorted(TERMINAL))
@pytest.mark.parametrize("deadline", [NEW, TOLD])
def test_what_has_ended_stays_as_it_ended(state: State, deadline: Deadline) -> None:
    assert step(Standing(state, epoch=1), deadline) is Step.LEAVE


@pytest.mark.parametrize("deadline", [NEW, TOLD])
def test_what_is_paused_waits_for_its_resume_and_what_is_blocked_ends(deadline: Deadline) -> None:
    assert step(Standing(State.PAUSED, epoch=1), deadline) is Step.HOLD
    assert step(Standing(State.BLOCKED, epoch=1), deadline) is Step.END


@pytest.mark.parametrize("state", [State.SCHEDULED, State.QUEUED])
def test_what_nobody_took_up_ends_unless_it_has_a_past(state: State) -> None:
    assert step(Standing(state), NEW) is Step.END
    assert step(Standing(state, length=1), NEW) is Step.TELL


@pytest.mark.parametrize("state", [State.SLEEPING, State.WAITING, State.RETRYING])
def test_what_rests_is_queued_when_it_is_told(state: State) -> None:
    after = passed(Standing(state, epoch=1, news=4, waits=frozenset({"op"})), NEW)
    assert (after.state, after.news, after.waits) == (State.QUEUED, 5, frozenset())


def test_a_second_word_to_end_is_none() -> None:
    assert step(BEGUN, Deadline(cancel_seq=1)) is Step.NOTE
    assert passed(BEGUN, Deadline(cancel_seq=1)) == BEGUN


def test_who_has_not_heard_in_its_grace_ends_and_its_claim_with_it() -> None:
    after = passed(BEGUN, TOLD)
    assert (after.state, after.claim_id) == (State.FAILED, None)


@pytest.mark.parametrize(
    ("told_seq", "has_grace", "then"),
    [(3, False, Step.LEAVE), (3, True, Step.END), (0, False, Step.LEAVE), (0, True, Step.LEAVE)],
)
def test_who_has_heard_is_interrupted_by_its_own_timeout_alone(told_seq: int, has_grace: bool, then: Step) -> None:
    assert step(BEGUN, Deadline(told_seq, cancel_seq=3, is_taken=True, has_grace=has_grace)) is then
