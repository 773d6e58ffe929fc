"""What the suite is worth: a rule that is changed for the engine in memory alone is found, each by the scenario named.

The daemon stands by its statements, and by the rules as they are: they are changed only while the other engine plays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from aiki.core.states import State
from aiki.rules import arriving, controlling, crashing, deadlines, families, moving, retrying
from aiki.rules.moving import Lot
from aiki.testing.memory import enqueue, queues, slots
from tests.conformance.ids import made_by
from tests.conformance.memory import memory_stage
from tests.conformance.servers import House
from tests.conformance.stage import SCENARIOS
from tests.conformance.story import difference
from tests.conformance.test_scenarios import played

pytestmark = pytest.mark.anyio

Change = Callable[[Callable[..., Any]], Callable[..., Any]]


def wakes_nobody(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda standing, words: rule(replace(standing, waits=frozenset()), words)


def stands_still(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda clock, _last: clock


def ignores_priority(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda run: (0, *rule(run)[1:])


def ends_at_once(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda standing: standing.state is not State.RUNNING or rule(standing)


def forgets_a_pause(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda standing: (rule(standing)[0], standing)


def ends_what_is_paused(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda standing, deadline: rule(replace(standing, state=State.WAITING), deadline)


def cuts_too_early(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda past, order: max(0, (rule(past, order) or 0) - 1)


def frees_no_key(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_: False


def closes_all(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _parent, _close, child, **_told: child not in (State.COMPLETED, State.FAILED, State.CANCELLED)


def never_backs_off(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda standing, **rest: rule(replace(standing, crash_count=0), **rest)


def loses_events(rule: Callable[..., Any]) -> Callable[..., Any]:
    return lambda came: Lot.SETTLED if came.taken is None else rule(came)


def finds_all_ended(_: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _: False


PLANTED: Final[list[tuple[Any, str, Change, str]]] = [
    (arriving, "reached", wakes_nobody, "events_wake_who_waits_for_them_and_are_taken_in_their_order"),
    (arriving, "comes_at", stands_still, "events_that_come_before_the_first_claim_wait_for_it"),
    (queues, "order", ignores_priority, "runs_are_claimed_by_priority_and_then_in_the_order_of_their_enqueue"),
    (controlling, "ends_at_once", ends_at_once, "a_cancelled_body_takes_back_what_it_has_done"),
    (controlling, "pause", forgets_a_pause, "a_pause_lets_a_running_task_end_and_starts_no_other"),
    (
        *(deadlines, "step", ends_what_is_paused),
        "a_paused_run_stays_paused_over_its_deadline_and_hears_of_it_when_it_is_resumed",
    ),
    (retrying, "cut", cuts_too_early, "a_retry_goes_on_at_what_failed_and_repeats_nothing_before"),
    (enqueue, "frees", frees_no_key, "who_holds_a_key_and_has_completed_is_met_or_restarted"),
    (families, "closes", closes_all, "a_parent_that_ends_cancels_its_children_unless_their_start_says_otherwise"),
    (crashing, "lose", never_backs_off, "a_run_that_goes_on_killing_workers_waits_before_it_goes_on"),
    (moving, "onward", loses_events, "unread_events_go_on_with_it"),
    (slots, "is_open", finds_all_ended, "a_run_whose_child_goes_on_is_open"),
]


@pytest.mark.parametrize(
    ("module", "rule", "change", "by"), PLANTED, ids=[change.__name__ for *_, change, _ in PLANTED]
)
async def test_a_changed_rule_is_found(
    module: Any, rule: str, change: Change, by: str, servers: House, namespace: str
) -> None:
    (one,) = [scenario for scenario in SCENARIOS if scenario.name == by]
    with made_by(one.name):
        async with servers.stage(namespace, one.workflows) as stage:
            real = await played(one, stage)
    with pytest.MonkeyPatch.context() as patch, made_by(one.name):
        patch.setattr(module, rule, change(getattr(module, rule)))
        try:
            async with memory_stage(one.workflows) as memory:
                told = await played(one, memory)
        except Exception:  # noqa: BLE001 - however it fails
            return  # the scenario itself has found it
    assert difference(real, told, names=("aikid", "in memory")), f"{change.__name__} is not found"
