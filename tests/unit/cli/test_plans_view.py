"""A plan says in one line what becomes of each schedule, and in one sentence what would."""

from __future__ import annotations

from aiki.client.applying import Change, Plan
from aiki_cli.view import plans

CHANGES = (
    Change("a", "create"),
    Change("b", "update", ("cron", "payload")),
    Change("c", "unchanged"),
    Change("d", "pause", reason="the manifest names it no longer"),
    Change("e", "delete"),
)


def page(*changes: Change, is_done: bool = False) -> list[object]:
    return list(plans.rows(Plan("shop", changes, is_done)).page())


def test_each_change_is_a_line_and_what_stays_is_counted():
    assert page(*CHANGES) == [
        "+ create   a",
        "~ update   b  (cron, payload)",
        "‖ pause    d  (the manifest names it no longer)",
        "- delete   e",
        "1 schedule is as declared",
    ]
    assert page(*CHANGES[:2], is_done=True) == ["+ created  a", "~ updated  b  (cron, payload)"]
    assert page() == ["nothing is declared, and there is nothing"]


def test_what_would_be_done_is_counted_in_a_sentence():
    assert plans.counted(CHANGES[:1]) == "1 schedule would be created"
    assert plans.counted([CHANGES[0], CHANGES[4]]) == "1 schedule would be created and 1 deleted"
    assert plans.counted([CHANGES[0], CHANGES[0], CHANGES[3]]) == "2 schedules would be created and 1 paused"


def test_a_refused_change_is_a_conflict_that_names_all():
    mine = Change("a", "refused", reason="schedule 'a' belongs to project 'bank'")
    other = Change("b", "refused", reason="schedule 'b' belongs to project 'bank'")
    end = plans.rows(Plan("shop", (mine, other), is_done=False)).end
    assert end.error is not None
    assert (end.error.code, end.error.message) == (
        "conflict",
        "schedule 'a' belongs to project 'bank'; nothing was applied",
    )
    assert "schedule 'b' belongs to project 'bank'" in end.error.facts
