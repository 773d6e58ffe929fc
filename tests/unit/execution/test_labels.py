"""What a body makes of its run's labels: written once, with the entry that says so, and the same again on replay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiki.core.errors import UsageError
from aiki.core.states import Move
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.workflow_run import WorkflowRun
from aiki.wire.messages import Recorded, Unit
from aiki.wire.packing import cut
from tests.unit.execution.replays import again, double, error_of, output, run
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def labelled(world: World) -> list[dict[str, str]]:
    """Return all labels that were written, in order."""
    return [unit.labels for unit in world.units if unit.labels is not None]


def replayed(world: World, flow: Any = None) -> World:
    """Replay what `world` has recorded, with the labels that it has come to."""

    async def main() -> World:
        other = World(flow or world.workflow, world.input)
        other.journal, other.labels = list(world.journal), dict(world.labels)
        await other.finish()
        return other

    return simulate(main())


@workflow(name="stages", version="1")
async def stages(run: WorkflowRun) -> str:
    seen = [dict(run.labels)]
    run.set_labels({"stage": "one", "team": "a"})
    seen.append(dict(run.labels))
    number = await double.run(run, 1) if run.labels["team"] == "a" else 0
    run.set_labels({"stage": "two", "team": None})
    seen.append(dict(run.labels))
    return f"{number} {seen}"


ONE, TWO = {"stage": "one", "team": "a"}, {"stage": "two"}


def test_labels_are_written_with_their_entry_and_what_comes_of_them_is_the_same_on_replay() -> None:
    world = run(stages)
    assert labelled(world) == [ONE, TWO]
    assert all(unit.entries for unit in world.units if unit.labels is not None)
    assert output(world) == f'"2 {[{}, ONE, TWO]}"'
    other = replayed(world)
    assert output(other) == output(world)
    assert labelled(other) == []


@pytest.mark.parametrize("entries", range(1, 4))
def test_a_body_that_begins_again_has_the_labels_that_it_had_at_first(entries: int) -> None:
    async def main() -> tuple[World, World]:
        world = World(stages)
        world.labels = {"stage": "none"}
        await world.finish()
        other = World(stages)
        other.journal = world.journal[:entries]
        other.labels = {1: ONE, 2: ONE, 3: TWO}[entries]
        await other.finish()
        return world, other

    world, other = simulate(main())
    assert output(other) == output(world) == f'"2 {[{"stage": "none"}, ONE, TWO]}"'
    assert other.labels == TWO


def test_labels_that_were_lost_between_two_parts_of_a_unit_are_written_by_the_next_claim() -> None:
    @workflow(version="1")
    async def labels(run: WorkflowRun) -> int:
        run.set_labels({"team": "a"})
        return await double.run(run, 1)

    async def main() -> World:
        world = World(labels)
        await world.finish()
        other = World(labels)
        other.journal = world.journal[:1]
        await other.finish()
        return other

    assert labelled(simulate(main())) == [{"team": "a"}]


def test_what_changes_nothing_is_no_entry_and_what_a_unit_cannot_carry_follows_its_entries() -> None:
    @workflow(version="1")
    async def insists(run: WorkflowRun) -> int:
        for _ in range(3):
            run.set_labels({"team": "a", "gone": None})
        run.set_labels({})
        return await double.run(run, 1)

    world = run(insists)
    assert [entry.key.partition(":")[0] for entry in world.journal] == ["labels", "task"]
    unit = next(unit for unit in world.units if unit.labels is not None)
    parts = cut(unit, 600)
    assert [(len(part.entries), part.labels) for part in parts] == [(1, None), (0, {"team": "a"})]


def test_the_same_labels_may_be_set_again_and_again() -> None:
    @workflow(version="1")
    async def toggles(run: WorkflowRun) -> str:
        for value in ("on", "off", "on"):
            run.set_labels({"light": value})
            await double.run(run, 1)
        return run.labels["light"]

    world = run(toggles)
    assert [one["light"] for one in labelled(world)] == ["on", "off", "on"]
    assert output(replayed(world)) == '"on"'


def test_a_run_that_was_past_the_place_where_code_sets_labels_since_goes_on_without() -> None:
    @workflow(name="grows", version="1")
    async def before(run: WorkflowRun) -> int:
        return await double.run(run, 1)

    @workflow(name="grows", version="1")
    async def since(run: WorkflowRun) -> str:
        run.set_labels({"team": "a"})
        return f"{await double.run(run, 1)} {dict(run.labels)}"

    other = again(run(before), since)
    assert (output(other), labelled(other)) == ('"2 {}"', [])
    assert output(again(run(since), before)) == "2", "nor does it diverge without them"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"a b": "c"}, "label's name"),
        ({"a": 5}, "label's value"),
        ({"a": "x" * 257}, "label's value"),
        ({"a": "\n"}, "control characters"),
        ({f"l{n}": "x" for n in range(21)}, "at most 20 labels, not 21"),
        ({f"l{n}": "x" for n in range(20)}, "at most 20 labels, not 21"),
        (["a"], "no labels"),
    ],
)
def test_labels_that_a_run_cannot_have_are_refused_at_once(labels: Any, reason: str) -> None:
    @workflow(version="1")
    async def tries(run: WorkflowRun) -> str:
        run.set_labels({"kept": "yes"})
        with pytest.raises(UsageError, match=reason):
            run.set_labels(labels)
        return str(dict(run.labels))

    world = run(tries)
    assert output(world) == "\"{'kept': 'yes'}\""
    assert labelled(world) == [{"kept": "yes"}]


@pytest.mark.parametrize("value", ["", "Łódź 😀", 'it\'s "so"', "x" * 256])
def test_labels_hold_what_people_say(value: str) -> None:
    @workflow(version="1")
    async def says(run: WorkflowRun) -> str:
        run.set_labels({"said": value})
        await double.run(run, 1)
        return run.labels["said"]

    assert output(replayed(world := run(says))) == output(world)
    assert world.labels == {"said": value}


def test_only_the_body_itself_can_set_labels() -> None:
    held: list[WorkflowRun] = []

    @task
    async def borrows() -> None:
        held[0].set_labels({})

    @workflow(version="1")
    async def lends(run: WorkflowRun) -> None:
        held.append(run)
        await borrows.run(run)

    world = run(lends)
    assert world.end is not None
    assert "run.set_labels() was called outside" in error_of(world.end)


@pytest.mark.parametrize("seed", range(6))
def test_a_crash_at_any_moment_leaves_the_labels_of_the_last_word(seed: int) -> None:
    async def main() -> None:
        world = World(stages, seed=seed, latency=(0.5,))
        world.claim()
        await asyncio.sleep(0.1 + seed * 0.15)
        world.crash()
        assert (await world.finish()).move is Move.COMPLETE
        assert world.labels == TWO
        assert output(world) == f'"2 {[{}, ONE, TWO]}"'

    simulate(main())


def test_a_unit_that_is_refused_takes_its_labels_along() -> None:
    async def main() -> World:
        world = World(stages)

        def refuse(unit: Unit) -> Any:
            return None if unit.end is not None else Recorded("refused", "a test")

        world.before_record = refuse
        await world.finish()
        return world

    assert labelled(simulate(main())) == []
