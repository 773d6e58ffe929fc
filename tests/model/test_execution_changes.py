"""Code that changes under a run that crashed: what fits goes on, what does not is told before any new task runs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from aiki.core.keys import is_task
from aiki.core.states import State
from tests.worlds.cases import FIRST_SEED, RUNS, Case, seeded, watched
from tests.worlds.programs import CALM, RACY, Node, calls_in, edited, program
from tests.worlds.virtual_loop import interrupting, simulate

FRESH = 10**7
"""The id of a node that no generated program has."""
NEW_CALL = Node("call", FRESH, FRESH)


def change(kind: str, tree: Node, path: tuple[int, ...]) -> Node:
    match kind:
        case "input":
            return edited(tree, path, lambda node: Node("call", node.id + 100_000, -1))
        case "insert":
            return edited(tree, path, lambda node: Node("seq", FRESH, 0, (NEW_CALL, node)))
        case "guard":  # under the old node's own id: the order of ids is what some programs race for
            return edited(tree, path, lambda node: Node("guarded", node.id, 0, (NEW_CALL, node)))
        case "remove":
            return edited(tree, path, lambda node: Node("yield", FRESH))
        case "parallel":
            return edited(tree, path, lambda node: Node("gather", FRESH, 0, (NEW_CALL, node)))
        case "append":
            return replace(tree, parts=(*tree.parts, NEW_CALL))
        case "swap":
            return edited(tree, path[:-1], lambda node: replace(node, parts=_rotated(node.parts, path[-1])))
    raise AssertionError(kind)


def _rotated(parts: tuple[Node, ...], index: int) -> tuple[Node, ...]:
    other = (index + 1) % len(parts)
    swapped = list(parts)
    swapped[index], swapped[other] = swapped[other], swapped[index]
    return tuple(swapped)


async def crashed(case: Case) -> bool:
    """Run the case until a crash leaves it with a journal; tell whether that came about."""
    for _ in range(20):
        await case.live("crash")
        if case.world.standing.outcome is not None:  # it came to an end of its own
            return False
        if case.world.journal:
            return True
    return False


async def verdict(case: Case, changed: Node) -> tuple[str, list[str]]:
    """Claim the run with the changed program; return whether it diverged, and the tasks that were started."""
    case.tree, case.outside.started, case.known = changed, [], []
    case.outside.recorded = {entry.key for entry in case.world.journal if not entry.key.startswith("timer:")}
    for _ in range(100):
        await wait_until_due(case)
        case.world.claim()
        await case.world.settle()
        if case.world.state is State.BLOCKED:
            return "diverged", case.outside.started
        if case.world.state in (State.COMPLETED, State.FAILED):
            return "accepted", case.outside.started
    raise AssertionError("the run does not end")


async def wait_until_due(case: Case) -> None:
    due_at = case.world.standing.due_at
    if due_at is not None:
        await asyncio.sleep(max(0, (due_at - case.world.now()) / 1_000_000))


def sequence(draw: random.Random) -> Node:
    calls = [Node("call", number, draw.randint(0, 99)) for number in range(1, draw.randint(4, 10))]
    return Node("seq", 0, 0, tuple(calls))


def flat_calls(tree: Node) -> list[tuple[int, float]]:
    if tree.kind == "call":
        return [(tree.id, tree.number)]
    return [call for part in tree.parts for call in flat_calls(part)]


@watched()
def test_a_changed_sequence_is_judged_exactly() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS // 2):
        draw = random.Random(seed)
        tree = sequence(draw)
        kind = draw.choice(["input", "insert", "remove", "swap", "append"])
        changed = change(kind, tree, (draw.randrange(len(tree.parts)),))

        async def one(
            seed: int = seed, tree: Node = tree, changed: Node = changed
        ) -> tuple[str, str, list[str]] | None:
            case = Case(seed, tree, pure=True)
            if not await crashed(case):
                return None
            recorded = sum(is_task(entry.key) for entry in case.world.journal)
            fits = set(flat_calls(changed)[:recorded]) == set(flat_calls(tree)[:recorded])
            got, started = await verdict(case, changed)
            return ("accepted" if fits else "diverged"), got, started

        with seeded(seed, changed):
            judged = simulate(one(), clock=interrupting(random.Random(seed)))
            if judged is not None:
                expected, got, started = judged
                assert got == expected
                assert got == "accepted" or not started, "a task was started before the divergence was told"
                seen[kind, got] += 1
    if RUNS >= 500:
        assert all(seen[kind, "diverged"] for kind in ("input", "insert", "remove", "swap")), seen
        assert seen["append", "accepted"]


@pytest.mark.parametrize("kinds", [CALM, RACY], ids=["calm", "racy"])
@watched()
def test_a_changed_program_starts_nothing_before_it_has_diverged(kinds: list[str]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS // 5):
        draw = random.Random(seed)
        tree = program(draw, kinds, 2)
        paths = calls_in(tree)
        if not paths:
            continue
        kind = draw.choice(["input", "insert", "remove", "swap", "parallel"])
        changed = change(kind, tree, draw.choice(paths))

        async def one(seed: int = seed, tree: Node = tree, changed: Node = changed) -> tuple[str, list[str]] | None:
            case = Case(seed, tree, pure=True)
            if not await crashed(case):
                return None
            got = await verdict(case, changed)
            assert not case.outside.again, "a recorded task was started again"
            return got

        with seeded(seed, changed):
            judged = simulate(one(), clock=interrupting(random.Random(seed)))
            if judged is not None:
                got, started = judged
                assert got == "accepted" or not started, "a task was started before the divergence was told"
                seen[got] += 1
    if RUNS >= 500:
        assert seen["diverged"]
        assert seen["accepted"]


@pytest.mark.parametrize("kinds", [CALM, RACY], ids=["calm", "racy"])
@watched()
def test_a_change_under_patched_never_diverges(kinds: list[str]) -> None:
    judged = 0
    for seed in range(FIRST_SEED, FIRST_SEED + RUNS // 5):
        draw = random.Random(seed)
        tree = program(draw, kinds, 2)
        paths = calls_in(tree)
        if not paths:
            continue
        changed = change("guard", tree, draw.choice(paths))

        async def one(seed: int = seed, tree: Node = tree, changed: Node = changed) -> bool:
            case = Case(seed, tree, pure=True)
            if not await crashed(case):
                return False
            got, _ = await verdict(case, changed)
            assert got == "accepted", case.world.end and case.world.end.why
            assert not case.outside.again, "a recorded task was started again"
            return True

        with seeded(seed, changed):
            judged += simulate(one(), clock=interrupting(random.Random(seed)))
    assert judged or RUNS < 50
