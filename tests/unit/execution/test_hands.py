"""The tasks of asyncio's in which coroutines are tried: shared in time, and nobody can tell."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.task import Task, task
from aiki.definitions.workflow import workflow
from aiki.execution.tasks.hands import Hand, Hands
from aiki.inside.workflow_run import WorkflowRun
from tests.worlds.virtual_loop import simulate
from tests.worlds.world import World


def current() -> asyncio.Task[Any]:
    found = asyncio.current_task()
    assert found is not None
    return found


def tried(*bodies: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run each body as a task of its own, one after the other in one worker; return what they return."""
    results: list[Any] = []

    def named(body: Callable[[], Awaitable[Any]]) -> Task[[], None]:
        @task(name=body.__name__, retry=Retry.none())
        async def chosen() -> None:
            results.append(await body())

        return chosen

    @workflow(name="one-by-one", version="1")
    async def one_by_one(run: WorkflowRun) -> None:
        for body in bodies:
            await named(body).run(run)

    async def main() -> None:
        end = await World(one_by_one).finish()
        assert end.move is Move.COMPLETE, bytes(end.error)

    simulate(main())
    return results


async def ask() -> int:
    return id(current())


async def ask_twice() -> tuple[int, int]:
    first = id(current())
    await asyncio.sleep(1)
    return first, id(current())


def test_tries_that_end_in_their_first_step_share_a_task() -> None:
    assert len(set(tried(ask, ask, ask))) == 1


def test_one_that_waits_keeps_its_task_and_the_next_has_another() -> None:
    kept: list[asyncio.Task[Any]] = []

    async def keep_and_wait() -> int:
        kept.append(current())
        return (await ask_twice())[1]

    first, second, (third, still_third) = tried(keep_and_wait, ask, ask_twice)
    assert first != second
    assert third == still_third


def test_a_task_that_somebody_holds_is_given_to_no_other_try() -> None:
    held: list[asyncio.Task[Any]] = []

    async def hold() -> None:
        held.append(current())

    tried(hold, hold, hold)
    assert len(set(map(id, held))) == 3
    assert [one.done() for one in held] == [True, True, True]


def test_what_is_kept_by_the_current_task_is_not_found_by_the_next_try() -> None:
    """As sessions of SQLAlchemy's and anyio's scopes are."""
    kept: weakref.WeakKeyDictionary[asyncio.Task[Any], str] = weakref.WeakKeyDictionary()

    async def finds() -> bool:
        found = current() in kept
        kept[current()] = "mine"
        return found

    assert tried(finds, finds, finds) == [False, False, False]


def test_what_was_set_on_the_current_task_is_not_found_by_the_next_try() -> None:
    async def finds() -> bool:
        mine: Any = current()
        found = hasattr(mine, "kept")
        mine.kept = True
        return found

    assert tried(finds, finds, finds) == [False, False, False]


def test_a_try_that_cancels_itself_and_returns_cancels_no_other() -> None:
    async def cancel_myself() -> None:
        current().cancel()

    async def wait() -> str:
        await asyncio.sleep(1)
        return "waited"

    assert tried(cancel_myself, wait, cancel_myself, ask)[1] == "waited"


def test_a_try_that_takes_its_cancellation_back_cancels_no_other() -> None:
    async def cancel_and_uncancel() -> None:
        current().cancel()
        current().uncancel()

    async def wait() -> str:
        await asyncio.sleep(1)
        return "waited"

    assert tried(cancel_and_uncancel, wait)[1] == "waited"


def test_what_was_to_be_called_at_the_end_of_the_task_is_called_at_the_end_of_its_try() -> None:
    called: list[str] = []

    async def call_back() -> None:
        current().add_done_callback(lambda done: called.append("called"))

    async def wait() -> list[str]:
        await asyncio.sleep(1)
        return list(called)

    assert tried(call_back, wait)[1] == ["called"]


def test_each_try_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")

    async def set_it() -> str:
        before = variable.get()
        variable.set("first step")
        return before

    async def set_it_and_wait() -> tuple[str, str, str]:
        before = await set_it()
        await asyncio.sleep(1)
        between = variable.get()
        variable.set("second step")
        await asyncio.sleep(1)
        return before, between, variable.get()

    waited = ("", "first step", "second step")
    assert tried(set_it, set_it, set_it_and_wait, set_it_and_wait, set_it) == ["", "", waited, waited, ""]


def test_a_task_has_the_name_of_its_try() -> None:
    async def name() -> str:
        return current().get_name()

    names = tried(name, name)
    assert all(one.startswith("task:") for one in names)
    assert len(set(names)) == 2


# -- what asks for the current task, in its first step and later


async def timeout_that_comes() -> str:
    try:
        async with asyncio.timeout(1):
            await asyncio.sleep(5)
    except TimeoutError:
        return f"late, {current().cancelling()}"
    return "in time"


async def timeout_that_does_not_come() -> str:
    async with asyncio.timeout(1):  # noqa: ASYNC100 - it asks for the current task all the same
        return "in time"


async def timeout_that_has_come() -> str:
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(5)
    except TimeoutError:
        return "late"
    return "in time"


async def group_that_fails() -> str:
    async def fail() -> None:
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(5)
    except* ValueError:
        pass
    return f"failed, {current().cancelling()}"


async def scope_that_ends() -> str:
    with anyio.move_on_after(1) as scope:
        await anyio.sleep(5)
    return f"{scope.cancelled_caught}, {current().cancelling()}"


async def scope_that_is_left() -> str:
    with anyio.move_on_after(1) as scope:  # noqa: ASYNC100 - it asks for the current task all the same
        pass
    return f"{scope.cancelled_caught}"


async def scope_that_is_cancelled_at_once() -> str:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(5)
    return f"{scope.cancelled_caught}"


async def anyio_group() -> str:
    found: list[int] = []
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(add, found, number)
    return str(sorted(found))


async def add(found: list[int], number: int) -> None:
    await anyio.sleep(number)
    found.append(number)


PATTERNS: dict[Callable[[], Awaitable[str]], str] = {
    timeout_that_comes: "late, 0",
    timeout_that_does_not_come: "in time",
    timeout_that_has_come: "late",
    group_that_fails: "failed, 0",
    scope_that_ends: "True, 0",
    scope_that_is_left: "False",
    scope_that_is_cancelled_at_once: "True",
    anyio_group: "[0, 1, 2]",
}


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.__name__)
def test_what_asks_for_the_current_task_finds_one(pattern: Callable[[], Awaitable[str]]) -> None:
    expected = PATTERNS[pattern]
    assert tried(pattern, ask, pattern, pattern)[::2] == [expected, expected]


def test_all_patterns_after_each_other_disturb_none() -> None:
    order = [*PATTERNS, *reversed(PATTERNS)]
    assert tried(*order) == [PATTERNS[pattern] for pattern in order]


# -- hands by themselves


class Work:
    """Something to begin: it notes that it has, and goes on with `rest`."""

    def __init__(self, begun: list[str], name: str, rest: Callable[[], Awaitable[None]] | None = None) -> None:
        self.begun = begun
        self.name = name
        self.rest = rest

    def begin(self, hand: Hand) -> Awaitable[None] | None:
        self.begun.append(self.name)
        return self.rest and self.rest()


def hands() -> Hands:
    return Hands(asyncio.get_running_loop(), contextvars.copy_context())


def tasks_besides_mine() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {current()}


def test_what_is_given_in_one_turn_begins_in_the_next_though_some_of_it_waits() -> None:
    async def main() -> None:
        own, begun = hands(), list[str]()
        for _ in range(2):
            for name in ("waits", "b", "waits", "waits", "c"):
                own.give(Work(begun, name, wait if name == "waits" else None))
            await asyncio.sleep(1)
        assert begun[:2] == ["waits", "b"], "nobody knew of it"
        begun.clear()
        for name in ("waits", "b", "waits", "waits", "c"):
            own.give(Work(begun, name, wait if name == "waits" else None))
        await asyncio.sleep(0)
        assert sorted(begun) == ["b", "c", "waits", "waits", "waits"]
        await asyncio.sleep(1)
        assert len(tasks_besides_mine()) == 1, "one waits for more"
        own.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not tasks_besides_mine()

    async def wait() -> None:
        await asyncio.sleep(0.5)

    simulate(main())


def test_what_is_given_by_a_try_begins_after_others_had_a_turn() -> None:
    async def main() -> None:
        own, begun = hands(), list[str]()

        class Again(Work):
            def begin(self, hand: Hand) -> None:
                self.begun.append(self.name)
                if len(self.begun) < 5:
                    own.give(self)

        own.give(Again(begun, "again"))
        turns = 0
        while len(begun) < 5:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 5

    simulate(main())


@pytest.mark.parametrize("when", ["idle", "called", "new"])
def test_a_hand_that_somebody_cancels_is_missed_by_nobody(when: str) -> None:
    """Somebody cancels all tasks that there are, as some do at the end of theirs."""

    async def main() -> None:
        own, begun = hands(), list[str]()
        if when != "new":
            own.give(Work(begun, "first"))
            await asyncio.sleep(1)
        if when != "idle":
            own.give(Work(begun, "second"))
        for one in tasks_besides_mine():
            one.cancel()
        if when == "idle":
            await asyncio.sleep(0)
        own.give(Work(begun, "third"))
        await asyncio.sleep(1)
        expected = {"idle": ["first", "third"], "called": ["first", "second", "third"], "new": ["second", "third"]}
        assert begun == expected[when]
        assert len(tasks_besides_mine()) == 1

    simulate(main())


def test_a_bug_in_what_begins_keeps_no_other_from_it(caplog: pytest.LogCaptureFixture) -> None:
    class Buggy(Work):
        def begin(self, hand: Hand) -> None:
            raise AssertionError("a bug")

    async def main() -> None:
        own, begun = hands(), list[str]()
        own.give(Buggy(begun, "buggy"))
        own.give(Work(begun, "next"))
        await asyncio.sleep(1)
        assert begun == ["next"]

    simulate(main())
    assert "a bug" in caplog.text


def test_a_try_whose_timeout_comes_before_it_began_does_not_begin() -> None:
    begun: list[int] = []

    @task(timeout="1ms", retry=Retry.none())
    async def late() -> None:
        begun.append(1)

    @task(retry=Retry.none())
    async def blocks() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.seconds += 1

    @workflow(name="both", version="1")
    async def both(run: WorkflowRun) -> None:
        with suppress(Exception):
            await asyncio.gather(blocks.run(run), late.run(run))

    async def main() -> None:
        world = World(both)
        await world.finish()
        assert all(b"TaskTimeout" in bytes(entry.value) for entry in world.journal if not entry.ok)

    simulate(main())
