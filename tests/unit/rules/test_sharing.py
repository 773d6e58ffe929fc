"""Who has a task's key that other runs may use: each row of the rule, and that nobody waits in a circle."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from msgspec import Raw

from aiki.core.errors import PayloadError
from aiki.core.states import Move, State
from aiki.rules.sharing import (
    ASKING,
    HOLDING,
    Asker,
    KeyRow,
    Owner,
    check,
    in_foreign_scope,
    judge,
    stand,
    to_tell,
)
from aiki.wire.limits import KEY_SECONDS
from aiki.wire.messages import End, Entry, Fence, KeyAsk, Unit

NOW = 1_000
ROW = KeyRow("a", 0, 1, "task:charge@k", "d" * 32, 800)
DONE = replace(ROW, done_at=900, expires_at=NOW + 1)
LEFT = replace(ROW, session_id="s1")
ITS_OWNER = Owner(0, 1, State.RUNNING)
ITSELF = Asker("a", 0, 1, "s1")
OTHER = Asker("b", 0, 7, "s2")


def ask(want: str = "own", **fields: object) -> KeyAsk:
    given = {"call": ROW.call, "scope": "", "task": "charge", "key": "k", "digest": ROW.digest, "want": want} | fields
    return KeyAsk(**given)  # type: ignore[arg-type]


def owned_by(asker: Asker) -> KeyRow:
    return KeyRow(asker.run_id, asker.generation, asker.epoch, ROW.call, ROW.digest, NOW)


# -- who has it


@pytest.mark.parametrize("state", State)
def test_an_owner_holds_its_key_in_those_states_in_which_it_goes_on_by_itself(state: State) -> None:
    expected = "held" if state.value in ("running", "sleeping", "waiting", "retrying") else "free"
    assert stand(ROW, Owner(0, 1, state), left_lives=False, now=NOW) == expected


@pytest.mark.parametrize("owner", [None, Owner(1, 1, State.RUNNING), Owner(0, 2, State.RUNNING)])
def test_no_other_generation_or_claim_of_its_run_holds_a_key_nor_one_that_is_gone(owner: Owner | None) -> None:
    assert stand(ROW, owner, left_lives=False, now=NOW) == "free"


@pytest.mark.parametrize("state", [State.RUNNING, State.RETRYING])
def test_a_run_that_was_taken_from_its_worker_holds_no_key(state: State) -> None:
    assert stand(ROW, Owner(0, None, state), left_lives=False, now=NOW) == "free"


@pytest.mark.parametrize("owner", [None, ITS_OWNER, Owner(0, 1, State.COMPLETED), Owner(3, 9, State.QUEUED)])
@pytest.mark.parametrize("lives", [True, False])
def test_what_was_left_in_a_session_is_held_as_long_as_that_lives_whatever_its_owner_is(
    owner: Owner | None, lives: bool
) -> None:
    assert stand(LEFT, owner, left_lives=lives, now=NOW) == ("held" if lives else "free")


@pytest.mark.parametrize("owner", [None, ITS_OWNER, Owner(4, None, State.FAILED)])
def test_what_is_done_stands_until_it_expires_whatever_its_owner_is(owner: Owner | None) -> None:
    assert stand(DONE, owner, left_lives=True, now=NOW) == "done"
    assert stand(DONE, owner, left_lives=True, now=NOW + 1) == "free"
    assert stand(None, owner, left_lives=True, now=NOW) == "free"


def test_whoever_is_told_of_a_key_can_ask_for_it() -> None:
    assert HOLDING | {State.QUEUED, State.SCHEDULED} == ASKING


# -- asking


def test_what_nobody_has_is_won() -> None:
    for row, owner in ((None, None), (ROW, None), (ROW, Owner(0, 1, State.QUEUED)), (LEFT, ITS_OWNER)):
        verdict = judge(row, owner, ask(), OTHER, left_lives=False, now=NOW)
        assert (verdict.result, verdict.row, verdict.holder) == ("won", owned_by(OTHER), None)


def test_what_has_expired_is_won_with_any_input() -> None:
    verdict = judge(DONE, ITS_OWNER, ask(digest="e" * 32), OTHER, left_lives=False, now=NOW + 1)
    assert verdict.result == "won"
    assert verdict.row == replace(owned_by(OTHER), digest="e" * 32, at=NOW + 1)


def test_what_another_has_is_waited_for_and_what_is_done_is_shared() -> None:
    waits = judge(ROW, ITS_OWNER, ask(), OTHER, left_lives=False, now=NOW)
    settled = judge(DONE, None, ask(), OTHER, left_lives=False, now=NOW)
    assert (waits.result, waits.row, waits.holder) == ("waits", ROW, "a")
    assert (settled.result, settled.row, settled.holder) == ("settled", DONE, "a")


def test_another_input_is_a_conflict_with_what_is_held_or_done() -> None:
    for row in (ROW, LEFT, DONE):
        verdict = judge(row, ITS_OWNER, ask(digest="e" * 32), OTHER, left_lives=True, now=NOW)
        assert (verdict.result, verdict.row, verdict.holder) == ("conflict", row, "a")


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("owner", [ITS_OWNER, Owner(0, 2, State.RUNNING)])
def test_an_owner_that_asks_again_has_won_in_whatever_claim_it_is_now(epoch: int, owner: Owner) -> None:
    asker = replace(ITSELF, epoch=epoch)
    verdict = judge(ROW, owner, ask(), asker, left_lives=False, now=NOW)
    assert (verdict.result, verdict.row) == ("won", replace(ROW, epoch=epoch))


def test_an_owner_waits_for_what_an_earlier_claim_of_it_has_left_and_that_claim_knows_when_it_has_ended() -> None:
    assert judge(LEFT, ITS_OWNER, ask(), ITSELF, left_lives=True, now=NOW).row == ROW
    verdict = judge(LEFT, ITS_OWNER, ask(), replace(ITSELF, epoch=2, session_id="s2"), left_lives=True, now=NOW)
    assert (verdict.result, verdict.row, verdict.holder) == ("waits", LEFT, "a")


def test_the_next_generation_of_a_run_is_another_owner() -> None:
    next_one = Asker("a", 1, 2, "s1")
    assert judge(ROW, Owner(1, 2, State.RUNNING), ask(), next_one, left_lives=False, now=NOW).result == "won"
    assert judge(DONE, Owner(1, 2, State.RUNNING), ask(), next_one, left_lives=False, now=NOW).result == "settled"


# -- giving


def test_a_result_ends_the_key_of_its_owner_for_as_long_as_it_says() -> None:
    verdict = judge(ROW, ITS_OWNER, ask("done", keep=50), ITSELF, left_lives=False, now=NOW)
    assert (verdict.result, verdict.row) == ("taken", replace(ROW, done_at=NOW, expires_at=NOW + 50))


def test_a_key_that_is_given_back_is_nobodys() -> None:
    for row in (ROW, LEFT):
        verdict = judge(row, ITS_OWNER, ask("free"), ITSELF, left_lives=True, now=NOW)
        assert (verdict.result, verdict.row) == ("taken", None)


def test_who_gives_back_what_it_does_not_have_changes_nothing() -> None:
    for row, asker in ((None, OTHER), (ROW, OTHER), (DONE, ITSELF), (DONE, OTHER)):
        verdict = judge(row, ITS_OWNER, ask("free"), asker, left_lives=False, now=NOW)
        assert (verdict.result, verdict.row) == ("taken", row)


def test_a_later_claim_cannot_give_back_what_still_runs_in_an_earlier_ones_session() -> None:
    later = replace(ITSELF, epoch=2, session_id="s2")
    verdict = judge(LEFT, Owner(0, 2, State.RUNNING), ask("free"), later, left_lives=True, now=NOW)
    assert (verdict.result, verdict.row) == ("taken", LEFT)


def test_a_try_that_goes_on_is_left_in_the_session_of_its_claim() -> None:
    verdict = judge(ROW, ITS_OWNER, ask("left"), ITSELF, left_lives=False, now=NOW)
    assert (verdict.result, verdict.row) == ("taken", LEFT)


@pytest.mark.parametrize("want", ["done", "left"])
@pytest.mark.parametrize(
    ("row", "asker"),
    [
        (None, ITSELF),
        (ROW, OTHER),
        (ROW, replace(ITSELF, generation=1)),
        (ROW, replace(ITSELF, epoch=2)),
        (DONE, ITSELF),
        (LEFT, ITSELF),
    ],
)
def test_nobody_ends_or_leaves_what_it_has_not_asked_for_in_its_claim(
    want: str, row: KeyRow | None, asker: Asker
) -> None:
    verdict = judge(row, ITS_OWNER, ask(want), asker, left_lives=True, now=NOW)
    assert (verdict.result, verdict.row) == ("foreign", row)


@pytest.mark.parametrize("other", [{"digest": "e" * 32}, {"call": "task:other@k"}])
def test_a_result_is_that_of_the_call_that_has_the_key(other: dict[str, str]) -> None:
    verdict = judge(ROW, ITS_OWNER, ask("done", **other), ITSELF, left_lives=False, now=NOW)
    assert (verdict.result, verdict.row) == ("foreign", ROW)


# -- telling


def test_all_are_told_of_a_result_and_one_at_a_time_of_a_key_that_is_free() -> None:
    for told_at in (None, NOW, 0):
        assert to_tell("done", told_at=told_at, now=NOW) == 100
        assert to_tell("held", told_at=told_at, now=NOW) == 0
    assert to_tell("free", told_at=None, now=NOW) == 1
    assert to_tell("free", told_at=NOW, now=NOW + 4_999_999) == 0
    assert to_tell("free", told_at=NOW, now=NOW + 5_000_000) == 1


# -- no circles


def test_programs_that_want_keys_in_any_order_all_end_and_each_key_is_tried_once() -> None:
    """An owner's try needs nobody else: so some owner can always go on, whoever waits for what beside it."""
    for seed in range(300):
        draw = random.Random(seed)
        keys = "klmn"[: draw.randint(1, 4)]
        programs = {
            run: [draw.sample(keys, draw.randint(1, len(keys))) for _ in range(draw.randint(1, 4))]
            for run in "abcdefg"[: draw.randint(2, 7)]
        }
        _carry_out(programs, draw)


def _carry_out(programs: dict[str, list[list[str]]], draw: random.Random) -> None:
    """Carry out programs, each a row of groups of keys that are wanted at once, in an order that is drawn."""
    rows: dict[str, KeyRow | None] = {}
    open_calls = {run: set(groups.pop(0)) for run, groups in programs.items()}
    tries = dict.fromkeys("klmn", 0)
    owner = Owner(0, 1, State.RUNNING)
    for _ in range(10_000):
        if not any(open_calls.values()):
            break
        run = draw.choice([run for run, calls in open_calls.items() if calls])
        key, asker = draw.choice(sorted(open_calls[run])), Asker(run, 0, 1, "s")
        verdict = judge(rows.get(key), owner, ask(key=key), asker, left_lives=False, now=NOW)
        rows[key] = verdict.row
        if verdict.result == "won" and draw.random() < 0.5:
            tries[key] += 1
            verdict = judge(rows[key], owner, ask("done", key=key, keep=1), asker, left_lives=False, now=NOW)
            assert verdict.result == "taken"
            rows[key] = verdict.row
        if verdict.result in ("taken", "settled"):
            open_calls[run].remove(key)
            if not open_calls[run] and programs[run]:
                open_calls[run] = set(programs[run].pop(0))
    assert not any(open_calls.values())
    assert max(tries.values()) <= 1


# -- what can be wanted

FENCE = Fence("01890a5d-ac96-774b-bcce-b30209000001", 1, "claim-1")
ENTRY = Entry(ROW.call, True, Raw(b'"paid"'), 1)


def unit(*asks: KeyAsk, entries: Sequence[Entry] = (), end: End | None = None) -> Unit:
    return Unit(FENCE, 0, list(entries), [], end, keys=list(asks))


@pytest.mark.parametrize(
    "one",
    [
        unit(ask(task="a b")),
        unit(ask(task="")),
        unit(ask(scope="a b")),
        unit(ask(scope="a.b")),
        unit(ask(key="")),
        unit(ask(key="\0")),
        unit(ask(key="x" * 257)),
        unit(ask(call="")),
        unit(ask(call="\0")),
        unit(ask(digest="")),
        unit(ask(digest="D" * 32)),
        unit(ask(digest="d" * 32 + "\n")),
        unit(ask(), end=End(Move.WAIT, seen=0)),
        unit(ask("done")),
        unit(ask("done"), entries=[Entry(ROW.call, False, Raw(b"{}"), 1)]),
        unit(ask("done", call="task:charge@other"), entries=[ENTRY]),
        unit(ask("done", keep=KEY_SECONDS * 1_000_000 + 1), entries=[ENTRY]),
        unit(ask("free", keep=1 << 70)),
        unit(ask(), ask("free")),
        unit(*(ask(key="same") for _ in range(2))),
    ],
)
def test_what_cannot_be_wanted_of_a_key_is_refused(one: Unit) -> None:
    with pytest.raises(PayloadError):
        check(one)


@pytest.mark.parametrize(
    "one",
    [
        unit(),
        unit(ask(), ask(scope="flow"), ask(task="ship"), ask(key="l")),
        unit(ask(key="Łódź 😀'\"%b"), ask(key="x" * 256)),
        unit(ask("done", keep=KEY_SECONDS * 1_000_000), entries=[ENTRY]),
        unit(ask("done"), entries=[ENTRY], end=End(Move.COMPLETE)),
        unit(ask("left"), end=End(Move.RELEASE)),
        unit(ask("free"), end=End(Move.FAIL)),
        unit(*(ask(key=str(n)) for n in range(5_000))),
    ],
)
def test_what_can_be_wanted_of_a_key_is_let_through(one: Unit) -> None:
    check(one)


def test_keys_of_another_workflow_are_refused() -> None:
    one = unit(ask(), ask(scope="flow"))
    assert in_foreign_scope(one, "flow") is None
    refused = in_foreign_scope(one, "other")
    assert refused is not None
    assert refused.result == "refused"
    assert "'flow'" in (refused.reason or "")
