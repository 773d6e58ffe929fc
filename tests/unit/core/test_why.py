"""The sentences that say why a run does not move, and what to type."""

from __future__ import annotations

import pytest

from aiki.core.moments import SECOND
from aiki.core.reasons import Kind, Reason
from aiki.core.why import hint, sentence, span, whole, words

NOW = 1_767_225_600_000_000
"""2026-01-01 00:00:00 UTC."""
AGO, SOON = NOW - 40 * SECOND, NOW + 40 * SECOND
SINCE = "for 40 s (since 2025-12-31 23:59:20 UTC)"
THEN = "2026-01-01 00:00:40 UTC (in 40 s)"
RUN, OTHER = "0190b0a0-0000-7000-8000-000000000001", "0190b0a0-0000-7000-8000-000000000002"


def made(kind: Kind, **facts) -> Reason:
    return Reason(kind=kind, **facts)


SAID = [
    (
        made(Kind.ENDED, since=AGO, state="failed", error="OSError", message="no route"),
        "has ended: failed at 2025-12-31 23:59:20 UTC: OSError: no route",
        f"aiki run retry {RUN}",
    ),
    (made(Kind.ENDED, since=AGO, state="completed"), "has ended: completed at 2025-12-31 23:59:20 UTC", None),
    (
        made(Kind.ENDED, since=AGO, state="failed", run=OTHER),
        f"has ended: failed at 2025-12-31 23:59:20 UTC; run {OTHER} goes on in its place",
        f"aiki run retry {RUN}",
    ),
    (
        made(Kind.IMPORTED, names=["prod"], state="blocked", actor="alice", message="a diff"),
        "was imported by alice from namespace prod, where it was blocked, and is never run here; there it was said of"
        " it: a diff",
        f"aiki replay {RUN} -m MODULE",
    ),
    (
        made(Kind.BLOCKED, since=AGO, error="nondeterminism", message="nondeterminism: a diff"),
        f"is blocked {SINCE}: nondeterminism: a diff",
        f"aiki replay {RUN} -m MODULE",
    ),
    (
        made(Kind.BLOCKED, since=AGO, error="crash_loop", message="crash_loop: five times", worker="w-1"),
        f"is blocked {SINCE}, last by worker w-1: crash_loop: five times",
        f"aiki run resume {RUN}",
    ),
    (
        made(Kind.PAUSED, since=AGO, actor="alice", note="until the bank is back"),
        f"is paused by alice {SINCE}: until the bank is back",
        f"aiki run resume {RUN}",
    ),
    (made(Kind.SCHEDULED, until=SOON), f"begins at {THEN}", f"aiki run wake {RUN}"),
    (
        made(Kind.UNSERVED, since=AGO, workflow="order", version="2", versions=["1", "3"], until=AGO),
        f"waits for a worker {SINCE}: no live worker serves order 2; live ones serve version 1, 3 of it; the last that"
        " did has ended at 2025-12-31 23:59:20 UTC (40 s ago)",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.UNSERVED, since=AGO, workflow="order", version="2"),
        f"waits for a worker {SINCE}: no live worker serves order 2; none ever has",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.UNSERVED, since=AGO, workflow="order", version="2", state="known"),
        f"waits for a worker {SINCE}: no live worker serves order 2; none has in the last hour",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.BEHIND, since=AGO, ahead=1_000, higher=400, estimate=90 * SECOND, workers=2, held=200),
        f"is queued {SINCE} behind 1,000 runs (400 of higher priority, 600 earlier), about 1m 30s at the rate of the"
        " last minutes; the 2 live workers that serve it hold 200 runs",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.BEHIND, since=AGO, ahead=10_000, capped=True, estimate=90 * SECOND, workers=1, held=1),
        f"is queued {SINCE} behind 10,000+ runs that are earlier, at least 1m 30s at the rate of the last minutes; the"
        " one live worker that serves it holds 1 run",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.BEHIND, since=AGO, ahead=1, higher=1, workers=1),
        f"is queued {SINCE} behind 1 run of higher priority; the one live worker that serves it holds 0 runs",
        "aiki worker start -m MODULE",
    ),
    (
        made(Kind.NEXT, since=AGO, workers=1, held=100),
        f"is queued {SINCE}, and is the next of its route to be claimed; the one live worker that serves it holds 100"
        " runs",
        None,
    ),
    (
        made(Kind.ALONE, since=AGO, count=3, workers=1, held=1),
        f"is queued {SINCE}: it has cost 3 leases without progress, and a worker takes one such run at a time; the one"
        " live worker that serves it holds 1 run",
        None,
    ),
    (
        made(Kind.EVENT, names=["approved"], worker="w-1"),
        "waits for event 'approved', in the memory of worker w-1",
        f"aiki event send {RUN} approved",
    ),
    (
        made(Kind.RUNNING, worker="w-1", note="all slots of its worker are taken", renewed=AGO),
        "is run by worker w-1; it does not go on at once: all slots of its worker are taken; its lease was renewed 40 s"
        " ago",
        f"aiki status {RUN} --watch",
    ),
    (made(Kind.SLEEPING, until=SOON), f"sleeps until {THEN}", f"aiki run wake {RUN}"),
    (
        made(Kind.RETRYING, until=SOON, task="charge", attempt=2, of=5, error="OSError", message="no route"),
        f"waits to try again at {THEN}: task charge failed at attempt 2 of 5: OSError: no route",
        f"aiki run resume {RUN}",
    ),
    (
        made(Kind.RETRYING, until=SOON, task="charge", attempt=2, error="OSError", worker="w-1"),
        f"waits to try again at {THEN}, in the memory of worker w-1: task charge failed at attempt 2: OSError",
        None,
    ),
    (
        made(Kind.AGAIN, until=SOON, attempt=2, of=3, message="attempt 1 failed: OSError: no route"),
        f"begins attempt 2 of 3 at {THEN}: attempt 1 failed: OSError: no route",
        f"aiki run resume {RUN}",
    ),
    (
        made(Kind.BACKING_OFF, until=SOON, count=2, worker="w-1"),
        f"is taken up again at {THEN}: its worker lost its lease 2 times without progress, last worker w-1",
        f"aiki run resume {RUN}",
    ),
    (
        made(Kind.EVENT, since=AGO, until=SOON, names=["approved", "rejected"]),
        f"waits for event 'approved' or 'rejected' {SINCE}, at the latest until {THEN}",
        f"aiki event send {RUN} approved",
    ),
    (
        made(Kind.CHILD, since=AGO, run=OTHER, workflow="order", state="waiting", count=1, total=1),
        f"waits for child {OTHER} of order (waiting) {SINCE}",
        None,
    ),
    (
        made(Kind.CHILD, since=AGO, run=OTHER, workflow="order", state="running", count=3, total=50),
        f"waits {SINCE}: 3 of 50 children still run; the oldest is {OTHER} of order (running)",
        None,
    ),
    (
        made(Kind.CHILD, since=AGO, run=OTHER, workflow="order", state="running", count=3, total=5_000, capped=True),
        f"waits {SINCE}: at least 3 of 5,000 children still run; the oldest is {OTHER} of order (running)",
        None,
    ),
    (made(Kind.CHILD, since=AGO, total=2), f"waits for word of a child that has ended {SINCE}", None),
    (
        made(Kind.KEY, since=AGO, task="charge", key="order-1", run=OTHER),
        f"waits {SINCE} for key 'order-1' of task charge, which run {OTHER} has",
        f"aiki why {OTHER}",
    ),
    (
        made(Kind.KEY, since=AGO, task="charge", key="a", worker="w-1"),
        f"waits {SINCE} for key 'a' of task charge: a try of its own that could not be stopped still runs on worker"
        " w-1, until that ends",
        None,
    ),
    (made(Kind.KEY, since=AGO, task="charge", key="a"), f"waits {SINCE} for key 'a' of task charge", None),
    (made(Kind.OUTCOME, since=AGO), f"waits {SINCE} to hear what became of what it has sent or started", None),
    (
        made(
            Kind.TASK, since=AGO, worker="w-1", task="copy", attempt=2, beat=AGO, fraction=0.4, message="May", count=3
        ),
        f"is in task copy (attempt 2) on worker w-1 {SINCE}, heartbeat 40 s ago, 40% (May); 2 other tasks of it run",
        f"aiki status {RUN} --watch",
    ),
    (
        made(Kind.RUNNING, since=AGO, worker="w-1", renewed=AGO),
        f"is run by worker w-1 {SINCE}; its lease was renewed 40 s ago",
        f"aiki status {RUN} --watch",
    ),
    (
        made(Kind.LINGERING, since=AGO, worker="w-1", names=["event approved"]),
        f"waits in the memory of worker w-1 at event approved {SINCE}",
        None,
    ),
    (
        made(Kind.FROZEN, since=AGO, worker="w-1", renewed=AGO, until=SOON),
        "is held by worker w-1, which has not renewed its lease for 40 s: it is frozen, dead or cut off; in 40 s, if it"
        " stays silent, another worker takes the run up",
        "aiki worker list",
    ),
    (
        made(Kind.FROZEN, since=AGO, worker="w-1"),
        "was held by worker w-1, whose session has ended: it is about to be queued again",
        "aiki worker list",
    ),
    (
        made(Kind.ENDED, since=AGO, state="cancelled", message="dave wants it cancelled"),
        "has ended: cancelled at 2025-12-31 23:59:20 UTC: dave wants it cancelled",
        f"aiki run retry {RUN}",
    ),
    (made(Kind.DEADLINE, until=SOON), f"must have ended by {THEN}", None),
    (
        made(Kind.CANCEL, since=AGO, message="dave wants it cancelled: late", worker="w-1"),
        "was told to end, 40 s ago: dave wants it cancelled: late; worker w-1 lets its tasks end, and its body clean"
        " up",
        None,
    ),
    (
        made(Kind.CANCEL, since=AGO, message="dave wants it cancelled"),
        "was told to end, 40 s ago: dave wants it cancelled; it ends when a worker takes it up, or at once by force",
        f"aiki run cancel {RUN} --force",
    ),
    (
        made(Kind.PAUSE_WANTED, actor="alice"),
        "is to be paused, as alice wants, once its tasks have ended",
        None,
    ),
    (
        made(Kind.SCHEDULE_PAUSED, names=["nightly"], note="a bad day"),
        "is of schedule nightly, which is paused and fires nothing more: a bad day",
        "aiki schedule resume nightly",
    ),
    (
        made(Kind.SLOTS_BEHIND, names=["nightly"], count=1),
        "holds others up: 1 slot of schedule nightly waits until it has ended",
        None,
    ),
    (
        made(Kind.UNREAD, names=["aproved"], count=2),
        "has 2 unread events that it does not wait for: aproved",
        None,
    ),
    (
        made(Kind.UNKNOWN, worker="w-1"),
        "may wait for anything in memory: worker w-1 did not say within 300 ms",
        None,
    ),
]


@pytest.mark.parametrize(("reason", "said", "typed"), SAID)
def test_each_reason_has_its_words_and_what_to_type(reason: Reason, said: str, typed: str | None) -> None:
    assert words(reason, NOW) == said
    assert hint(reason, RUN) == typed


def test_every_kind_has_words() -> None:
    assert {reason.kind for reason, *_ in SAID} == set(Kind)


def test_a_kind_of_a_newer_server_is_told_by_its_name() -> None:
    assert words(Reason(kind="yawning"), NOW) == "waits (yawning; this aiki is older than its server)"


def test_what_is_wanted_of_a_run_stands_in_its_sentence_and_all_else_beside_it() -> None:
    reasons = [made(Kind.SLEEPING, until=SOON), made(Kind.PAUSE_WANTED), made(Kind.DEADLINE, until=SOON)]
    wanted = "is to be paused, as somebody wants, once its tasks have ended"
    assert sentence(reasons, NOW) == f"sleeps until {THEN}; it {wanted}"


def test_whoever_waits_for_another_run_is_told_of_the_last_in_the_same_sentence() -> None:
    child = made(Kind.CHILD, since=AGO, run=OTHER, workflow="order", state="waiting", total=1)
    leaf = [made(Kind.EVENT, since=AGO, names=["approved"])]
    first = f"waits for child {OTHER} of order (waiting) {SINCE}"
    last = f"waits for event 'approved' {SINCE}"
    assert whole([child], leaf, NOW, leaf_run=OTHER) == f"{first}, which {last}"
    assert whole([child], leaf, NOW, leaf_run=RUN) == f"{first}; in the end, run {RUN} {last}"


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(-5, "0 ms"), (999_999, "999 ms"), (59_999_999, "59 s"), (310 * SECOND, "5m 10s"), (7_380 * SECOND, "2h 3m")],
)
def test_a_span_is_said_as_people_say_it(microseconds: int, text: str) -> None:
    assert span(microseconds) == text
