"""Own the engine's store that worlds share, and what follows each change in it, sooner or later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from aiki.testing.memory import errands, task_keys
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Closing, Store, Telling

if TYPE_CHECKING:
    from tests.worlds.world import World

R = TypeVar("R")


class House:
    """What becomes due by a change is done later, as daemons do, but for a child's end that its parent hears with it.

    Who is told of what is each world's own business.
    """

    def __init__(self, worlds: dict[str, World], clock: Callable[[], int], *, room: int) -> None:
        self.worlds = worlds
        self.store = Store(clock, room=room)
        self._keys_at: int | None = None
        """When it is looked at next who is to be told of a task's key."""

    def do(self, change: Callable[[], R]) -> R:
        """Change something, and let that be heard of."""
        made = change()
        self.spread()
        return made

    def spread(self) -> None:
        """Let be heard of what has been changed."""
        store = self.store
        changed, store.changed = store.changed, {}
        for run in changed.values():
            self._moved(run)
        for told in store.take_told().values():
            for run_id, _ in told.runs:
                self.worlds[run_id].tell()
        while store.closing:
            self._close_later(store.closing.popleft())
        while store.telling:
            self._tell(store.telling.popleft())
        if store.task_keys:
            self._look_at_keys()

    def _look_at_keys(self) -> None:
        now = self.store.now()
        at = now if task_keys.has_to_tell(self.store) else task_keys.look_at(self.store)
        if at is not None and (self._keys_at is None or at < self._keys_at):
            self._keys_at = at
            world = next(iter(self.worlds.values()))
            world.later(self._tell_of_keys, seconds=(at - now) / 1_000_000)

    def _tell_of_keys(self) -> None:
        self._keys_at = None
        self.do(lambda: task_keys.tell(self.store))

    def _moved(self, run: Run) -> None:
        world = self.worlds.get(run.id)
        (self._born(run) if world is None else world).moved()

    def _born(self, run: Run) -> World:
        if run.parent is not None and run.id == run.origin_id:
            return self.worlds[run.parent.id].bear(run)
        old = next(one for one in self.worlds.values() if one.run.retried_by is run)
        return old.succeeded_by(run)

    def _close_later(self, closing: Closing) -> None:
        world = self.worlds[closing.run.id]
        if not world.is_reopened:
            world.later(partial(self._close, closing))

    def _close(self, closing: Closing) -> None:
        world = self.worlds[closing.run.id]
        if closing.run.is_over:
            world.closed_at = min(world.closed_at, world.clock())
        else:
            world.cancels_at = min(world.cancels_at, world.clock())
        self.do(lambda: errands.close(self.store, closing))

    def _tell(self, telling: Telling) -> None:
        child = self.worlds[telling.child.id]
        if child.is_reopened:
            return
        if telling.hearer is telling.child.parent and child.end is not None and child.end.parent:
            self._told(telling)
        else:
            child.later(partial(self._told, telling))

    def _told(self, telling: Telling) -> None:
        child = self.worlds[telling.child.id]
        child.told_at = child.clock()
        hearer = self.worlds[telling.hearer.id]
        news = hearer.inbox.news
        self.do(lambda: errands.tell(self.store, telling))
        if hearer.inbox.news > news:
            hearer.heard.add(telling.start_id)
