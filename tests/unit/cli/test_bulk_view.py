"""What is said of orders to many runs: an outcome of each, and a bar that knows how far they were counted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiki import Conflict, RunStatus, State
from aiki.definitions.status import from_wire
from aiki.wire import messages
from aiki_cli.view import bulk
from aiki_cli.view.bulk import OrderName
from aiki_cli.view.drawing import bar

NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def run(state: State, run_id: str = "r-1") -> RunStatus:
    return from_wire(messages.RunStatus(run_id, "order", "1", state, NOW))


@pytest.mark.parametrize(
    ("order", "state", "word"),
    [
        ("pause", State.PAUSED, "paused"),
        ("pause", State.RUNNING, "pausing"),
        ("cancel", State.CANCELLED, "cancelled"),
        ("cancel", State.RUNNING, "cancelling"),
        ("resume", State.QUEUED, "resumed"),
        ("wake", State.QUEUED, "woken"),
        ("move", State.QUEUED, "moved"),
    ],
)
def test_an_outcome_tells_what_is_done_from_what_is_still_to_be(order: OrderName, state: State, word: str) -> None:
    one = bulk.obeyed(("r-1", run(state)), order)
    assert (one.id, one.outcome, one.state, one.code) == ("r-1", word, state.value, None)
    assert bulk.line(one).id == "r-1"


def test_a_retry_names_the_run_that_goes_on_and_a_refusal_has_no_id_of_what_obeyed() -> None:
    retried = bulk.obeyed(("r-1", run(State.QUEUED, "r-2")), "retry")
    assert (retried.id, retried.retry, bulk.line(retried).id) == ("r-1", "r-2", "r-2")
    refused = bulk.obeyed(("r-1", Conflict("too late")), "cancel")
    assert (refused.outcome, refused.why, refused.code) == ("refused", "too late", "conflict")
    assert (bulk.line(refused).id, bulk.line(refused).plain) == (None, ["r-1", "refused", "too late"])


@pytest.mark.parametrize(("is_least", "shown"), [(False, "150/10,000 runs"), (True, "150/10,000+ runs")])
def test_a_bar_says_whether_there_may_be_more_than_were_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_least: bool, shown: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar(10_000, doing="cancel", unit="runs", is_least=is_least) as advance:
        for _ in range(150):
            advance()
    assert shown.replace("150", "100") in capsys.readouterr().err
