"""How runs are drawn while they are watched: whatever they hold and however small the screen, it is never broken."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from aiki import State
from aiki.definitions.view import CallState, RunView
from aiki_cli.view import live_run, live_runs
from aiki_cli.view.clock import countdown, elapsed, ticking
from aiki_cli.view.drawing import painted
from aiki_cli.view.text import one_line
from tests.unit.cli.views import NOW, RUN_ID, after, before, call, fan_out, run

WHY = (
    "waits to try again at 2026-01-02 03:04:09 UTC (in 8 s): task charge failed at attempt 2 of 5: TimeoutError: no"
    " answer"
)
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e\n\r\x9b31m永" * 20


def drawn(view: RunView, *, width: int = 79, height: int = 23) -> list[str]:
    return [line.plain for line in live_run.frame(view, NOW, width=width, height=height)]


def test_a_run_says_its_state_why_it_waits_and_how_its_calls_stand():
    retrying = call(CallState.RETRYING, "charge", attempt=2, next_at=after(4), error="TimeoutError: no answer")
    status = run(why=WHY, is_explained=True)
    shown = drawn(RunView(status=status, calls=[call(CallState.DONE), retrying], done=1), width=99)
    assert shown == [
        "● running  fan-out 1.0.0  13 s  0123456789ab",
        "  It waits to try again at 2026-01-02 03:04:09 UTC (in 4 s): task charge failed at attempt 2 of 5:",
        "  TimeoutError: no answer",
        "  calls    1 done, 1 retrying",
        "",
        "  ✓ done     resize    1.0 s",
        "  ↻ retrying charge      5 s  attempt 2  again in 4 s  TimeoutError: no answer",
    ]


def test_what_ticks_is_of_the_moment_at_which_it_is_drawn():
    view = RunView(status=run(why=WHY, is_explained=True))
    later = [line.plain for line in live_run.frame(view, NOW + timedelta(seconds=3), width=99, height=9)]
    assert "16 s" in later[0]
    assert "(in 1 s)" in later[1]


def test_of_fifty_calls_those_that_run_are_shown_and_the_others_counted():
    shown = drawn(fan_out(done=38, running=12))
    assert len(shown) == 23
    assert Counter(line.split()[1] for line in shown[4:]) == {"running": 12, "done": 7}
    assert shown[3] == "  … 31 done"


def test_what_is_tried_again_is_shown_whatever_else_runs():
    view = fan_out(done=0, running=50)
    calls = [call(CallState.RETRYING, "charge", attempt=2, next_at=after(4)), *view.calls]
    shown = drawn(RunView(status=view.status, calls=calls))
    assert [line for line in shown if "charge" in line]
    assert shown[3] == "  … 32 running"


def test_calls_that_are_not_told_of_any_more_are_counted_too():
    view = fan_out(done=200, running=0, failed=0)
    shown = drawn(RunView(status=view.status, calls=view.calls, done=9_900))
    assert shown[1] == "  calls    9,900 done"
    assert shown[3] == "  … 9,881 done"


def test_a_wide_screen_has_a_chart_of_when_each_call_ran():
    first = call(CallState.DONE, "first", started_at=before(13), ended_at=before(6.5))
    second = call(CallState.RUNNING, "second", started_at=before(6.5))
    *_, one, two = drawn(RunView(status=run(), calls=[first, second], done=1), width=119)
    assert one.index("━") < two.index("━") == one.rindex("━")


def test_a_task_says_how_far_it_is():
    shown = drawn(RunView(status=run(), calls=[call(CallState.RUNNING, fraction=0.5, message="rows of May")]))
    assert shown[-1] == "  ● running  resize      5 s   50% ━━━━━━┄┄┄┄┄┄ rows of May"


def test_children_are_counted_by_state_and_the_newest_stand_among_the_calls():
    child = call(CallState.WAITING, "leaf", kind="start", run_id="0199-2")
    shown = drawn(RunView(status=run(), calls=[child], children={State.RUNNING: 3, State.COMPLETED: 12}))
    assert "  children 3 running, 12 completed" in shown
    assert shown[-1] == "  … waiting  child leaf      5 s  0199-2"


def test_what_stays_of_an_ended_run_is_short():
    ended = run(State.COMPLETED, finished_at=before(1))
    rest = live_run.rest(RunView(status=ended, done=50, failed=2), NOW, width=79)
    assert [line.plain for line in rest] == [
        "✓ completed  fan-out 1.0.0  12.0 s  0123456789ab",
        "  calls    48 done, 2 failed",
    ]


@pytest.mark.parametrize(("width", "height"), [(59, 23), (79, 23), (20, 5), (8, 2), (1, 1), (300, 90)])
def test_hostile_and_wide_text_neither_steers_nor_breaks_a_screen(width, height):
    calls = [
        call(state, HOSTILE, attempt=3, number=number, error=HOSTILE, message=HOSTILE, fraction=7.0, run_id=HOSTILE)
        for number in range(9)
        for state in CallState
    ]
    status = run(
        run_id=HOSTILE,
        retry_of=HOSTILE,
        workflow=HOSTILE,
        version=HOSTILE,
        why=HOSTILE,
        is_explained=True,
        details={HOSTILE: HOSTILE},
    )
    assert fits(RunView(status=status, calls=calls, done=9), width=width, height=height)


@settings(max_examples=60, deadline=None)
@given(
    words=st.text(max_size=300),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    states=st.lists(st.sampled_from(CallState), max_size=80),
    state=st.sampled_from(State),
    seconds=st.integers(-(10**7), 10**7),
)
def test_whatever_a_run_holds_it_fits(words, width, height, states, state, seconds):
    calls = [
        call(one, words, number=number, error=words, next_at=after(seconds), started_at=after(-seconds))
        for number, one in enumerate(states)
    ]
    view = RunView(status=run(state, workflow=words, why=words, is_explained=True), calls=calls, done=3)
    assert fits(view, width=width, height=height)


def fits(view: RunView, *, width: int, height: int) -> bool:
    several = [view.status, run(run_id="2")]
    for lines in (
        live_run.frame(view, NOW, width=width, height=height),
        live_runs.frame(several, NOW, asked=1_000, width=width, height=height),
    ):
        assert len(lines) <= height
        for line in painted(lines, width=width):
            assert cell_len(line) <= width
            assert line == one_line(line)
    return True


def test_a_thousand_runs_are_a_total_and_as_many_lines_as_fit():
    states = [State.RUNNING] * 12 + [State.FAILED] + [State.COMPLETED] * 700
    runs = [run(state, run_id=f"r-{number:03}") for number, state in enumerate(states)]
    shown = [line.plain for line in live_runs.frame(runs, NOW, asked=1_000, width=79, height=10)]
    assert len(shown) == 10
    assert shown[0] == "1,000 runs  13 s  ✗ 1 failed  ● 12 running  ✓ 700 completed  287 not heard of"
    assert shown[1].startswith("  ✗ failed     012")
    assert shown[-1] == "  … 705 more: 5 running, 700 completed"


def test_what_lasts_ticks_in_whole_seconds_and_what_is_over_does_not():
    assert elapsed(before(3.7), None, NOW) == "3 s"
    assert elapsed(before(3.7), NOW, NOW) == "3.7 s"
    assert [countdown(after(seconds), NOW) for seconds in (-1, 0, 0.5, 4, 70)] == ["now"] * 3 + ["in 4 s", "in 1m 10s"]


def test_a_sentence_of_any_words_ticks_only_where_it_tells_of_time():
    since = "waits for event 'a' for 3h 5m (since 2026-01-01 23:59:05 UTC)"
    said = f"{since}, at the latest at 2026-01-02 03:05:05 UTC (in 9d 1h)"
    assert ticking(said, NOW) == said.replace("in 9d 1h", "in 1m 0s")
    for odd in ("(in 4 s)", "2026-99-99 99:99:99 UTC (in 4 s)", "for 3 s (since tomorrow)"):
        assert cell_len(ticking(odd, NOW))


def test_ids_are_whole_where_there_is_room():
    assert RUN_ID in drawn(fan_out(done=1, running=1), width=119)[0]
