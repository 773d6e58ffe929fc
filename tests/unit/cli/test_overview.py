"""The page of a namespace: what is amiss first, and on a small screen the rest with a count."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from aiki import State
from aiki.client.counts import NamespaceSummary, RouteCount, RouteQueue, WorkflowRate, WorkflowTrouble
from aiki.client.workers import WorkerInfo
from aiki_cli.view import overview
from aiki_cli.view.text import one_line
from tests.unit.cli.views import NOW, RUN_ID, before


def counts(workflow: str, version: str = "1", **runs: int) -> list[RouteCount]:
    return [RouteCount(workflow, version, State(state), n, capped=n >= 10_000) for state, n in runs.items()]


def trouble(workflow: str, state: State, *, runs: int = 3, error: str = "KeyError: 'id'") -> WorkflowTrouble:
    return WorkflowTrouble(
        workflow=workflow, version="1", state=state, runs=runs, run_id=RUN_ID, at=before(240), error=error
    )


def queue(workflow: str, *, queued: int, oldest: float, workers: int) -> RouteQueue:
    return RouteQueue(
        workflow=workflow, version="1", queued=queued, capped=False, oldest_at=before(oldest), workers=workers
    )


def rate(workflow: str, *, p50: timedelta | None = timedelta(seconds=1.2)) -> WorkflowRate:
    return WorkflowRate(
        workflow=workflow, minutes=5, enqueued=6_000, completed=5_000, failed=41, cancelled=0, p50=p50, p95=None
    )


def worker(name: str = "w-1", *, slots: int | None = 100, draining: bool = False) -> WorkerInfo:
    return WorkerInfo(
        worker=name,
        session_id=name,
        since=before(7_200),
        seen_at=before(1.4),
        slots=slots,
        running=8,
        draining=draining,
        routes=[("order", "1")],
        routes_total=4,
    )


BUSY = NamespaceSummary(
    [
        *counts("order", running=64, queued=340, sleeping=1_200, waiting=88, blocked=3, completed=10_000, failed=41),
        *counts("ship", queued=12),
    ],
    workers=1,
    queues=[queue("order", queued=340, oldest=3.4, workers=1), queue("ship", queued=12, oldest=724, workers=0)],
    rates=[rate("order"), rate("ship", p50=None)],
    troubles=[trouble("order", State.FAILED, runs=41), trouble("order", State.BLOCKED)],
    sessions=[worker()],
)


def page(summary: NamespaceSummary, *, width: int = 110, height: int | None = None) -> list[str]:
    return [line.plain for line in overview.lines(summary, NOW, width=width, height=height)]


def test_a_page_says_what_is_amiss_what_waits_what_came_and_who_works():
    assert page(BUSY) == [
        "64 running, 352 queued, 1,288 waiting, 3 blocked  1 worker with 100 slots, 8 runs held",
        "",
        "! order 1  3 blocked  KeyError: 'id'",
        f"    aiki why {RUN_ID}  4m 0s ago",
        "! ship 1  no worker serves it: 12 queued, the oldest for 12m 4s",
        "    aiki worker start -m MODULE",
        "✗ order 1  41 failed  KeyError: 'id'",
        f"    aiki run show {RUN_ID}  4m 0s ago",
        "",
        "WORKFLOW  RUNNING  QUEUED  OLDEST  SLEEPING  WAITING  BLOCKED  COMPLETED  FAILED",
        "order 1        64     340     3 s     1,200       88        3    10,000+      41",
        "ship 1          -      12  12m 4s         -        -        -          -       -",
        "",
        "LAST 5 MINUTES  IN/MIN  OUT/MIN  FAILED    P50  P95",
        "order            1,200    1,008      41  1.2 s",
        "ship             1,200    1,008      41",
        "",
        "WORKER  HOLDS  SLOTS  SINCE     SEEN  SERVES",
        "w-1         8    100  2h 0m  1 s ago  order 1 and 3 more",
    ]


def test_in_sixty_columns_and_twenty_four_rows_what_is_amiss_is_whole_and_the_rest_counted():
    many = [count for number in range(200) for count in counts(f"flow-{number:03}", running=number, completed=9)]
    summary = NamespaceSummary(
        [*BUSY.counts, *many],
        workers=70,
        queues=BUSY.queues,
        rates=BUSY.rates,
        troubles=BUSY.troubles,
        sessions=[worker(f"w-{number}") for number in range(50)],
    )
    shown = page(summary, width=59, height=23)
    assert len(shown) <= 23
    assert [line for line in shown if line.startswith("    aiki")] == [
        f"    aiki why {RUN_ID}",
        "    aiki worker start -m MODULE",
        f"    aiki run show {RUN_ID}",
    ]
    assert [line for line in shown if line.startswith("…")] == [
        "… 199 more workflows",
        "… 69 more workers: aiki worker list",
    ]
    assert any(line.startswith("order 1") for line in shown)


def test_a_narrow_screen_folds_what_waits_into_one_column():
    (titles,) = (line for line in page(BUSY, width=76) if line.startswith("WORKFLOW"))
    assert titles.split() == ["WORKFLOW", "RUNNING", "QUEUED", "OLDEST", "WAITING", "BLOCKED", "COMPLETED", "FAILED"]


def test_what_a_worker_does_not_say_is_not_made_up():
    old = NamespaceSummary(counts("order", running=1), workers=2, sessions=[worker(slots=None, draining=True)])
    shown = page(old)
    assert shown[0] == "1 running  2 workers"
    assert shown[-2].split()[:2] == ["w-1", "8"]
    assert "draining: order 1" in shown[-2]
    assert shown[-1] == "… 1 more workers: aiki worker list"


def test_where_nothing_is_yet_it_says_how_to_begin():
    assert page(NamespaceSummary([], workers=0)) == ["no runs yet  0 workers", "    aiki worker start -m MODULE"]


def test_no_command_is_offered_for_what_is_no_id():
    evil = WorkflowTrouble(
        workflow="order", version="1", state=State.FAILED, runs=1, run_id="$(touch x)", at=before(1), error=HOSTILE
    )
    shown = page(NamespaceSummary(counts("order", failed=1), workers=1, troubles=[evil]))
    assert not [line for line in shown if "touch" in line]
    assert [line for line in shown if line.startswith("✗ order 1  1 failed")]


HOSTILE = "\x1b[2J\n\u202e永" * 30


@settings(max_examples=40, deadline=None)
@given(
    words=st.one_of(st.text(max_size=200), st.just(HOSTILE)),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    routes=st.integers(0, 30),
    troubles=st.integers(0, 30),
)
def test_whatever_a_namespace_holds_its_page_fits(words, width, height, routes, troubles):
    summary = NamespaceSummary(
        [count for n in range(routes) for count in counts(f"{n}{words}", words, running=n * 10**n, failed=1)],
        workers=routes,
        queues=[queue(f"{n}{words}", queued=n, oldest=10.0**n % 10**8, workers=0) for n in range(troubles)],
        rates=[rate(words)] * routes,
        troubles=[trouble(words, State.FAILED, error=words)] * troubles,
        sessions=[worker(words)] * routes,
    )
    lines = overview.lines(summary, NOW, width=width, height=height)
    assert len(lines) <= height
    for line in lines:
        assert line.cell_len <= width
        assert line.plain == one_line(line.plain)


@pytest.mark.parametrize("height", range(1, 30))
def test_what_fits_is_shown_and_what_is_left_out_is_counted(height):
    shown = page(BUSY, height=height)
    assert len(shown) <= height
    assert cell_len(shown[0]) > 0
    assert height < 19 or shown == page(BUSY)
