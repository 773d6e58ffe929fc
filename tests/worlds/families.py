"""Own the families of runs in memory, as the daemon keeps them: who has started whom, and what is still to be told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Raw

from aiki.core.ids import uuid7
from aiki.core.states import TERMINAL
from aiki.rules import arriving, enqueueing, families
from aiki.wire.codec import encode
from aiki.wire.messages import ChildEnd, End, Started, StartOp, StopOp, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiki.wire.messages.options import ParentClose
    from tests.worlds.world import World


@dataclass(eq=False)
class Link:
    """One start: the run that it has made, or the one with its key that it found."""

    parent: World
    start_id: str
    child: World
    owned: bool
    parent_close: ParentClose
    generation: int = 0
    told: bool = False
    """Whether the parent has heard of the child's end."""

    def tell(self) -> None:
        """Let the parent hear of the child's end, once; who has ended hears nothing."""
        parent, child = self.parent, self.child
        if self.told or parent.state in TERMINAL or self.generation != parent.generation:
            return
        self.told = True
        assert child.end is not None
        value = ChildEnd(child.run_id, child.state, child.end.output, child.end.error)
        parent.inbox.add("child", self.start_id, Raw(encode(value)))
        parent.reach(["child"])


class Family:
    """Whom a run has started, and who has started or found it."""

    def __init__(self, run: World) -> None:
        self.run = run
        self.children: dict[str, Link] = {}
        self.parents: list[Link] = []

    @property
    def owner(self) -> World | None:
        """The run that has started it, if one has."""
        return next((link.parent for link in self.parents if link.owned), None)

    @property
    def waiting(self) -> set[World]:
        """All that wait for the run, or for who waits, itself among them."""
        found: set[World] = set()
        left = [self.run]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += [link.parent for link in one.family.parents]
        return found

    @property
    def ancestors(self) -> list[World]:
        found: list[World] = []
        here = self.owner
        while here is not None:
            found.append(here)
            here = here.family.owner
        return found

    # -- what its units carry

    def start(self, ops: Sequence[StartOp]) -> list[str]:
        """Start children; return the words of what reaches the run by that."""
        return [word for op in ops for word in self._start(op)]

    def _start(self, op: StartOp) -> list[str]:
        if op.id in self.children:
            return []
        if op.options.key is None:
            self._make(op)
            return []
        if not self.run.inbox.has_outcome(op.id):
            self.run.inbox.add_outcome(op.id, self._meet(op, op.options.key))
            return [arriving.OP]
        return []

    def _meet(self, op: StartOp, key: str) -> Started:
        found = self._find(op.workflow, key)
        if found is None:
            return Started("started", self._make(op).run_id)
        if found.digest != op.digest and op.options.on_conflict == "error":
            return Started("conflict", found.run_id)
        if found in self.waiting:
            return Started("circle", found.run_id)
        self._link(op, found, owned=False)
        if found.state in TERMINAL:
            found.later(found.family.tell)
        return Started("existing", found.run_id)

    def _find(self, workflow: str, key: str) -> World | None:
        runs = self.run.runs.values()
        holders = (one for one in runs if (one.workflow.name, one.options.key) == (workflow, key))
        return next((one.newest for one in holders), None)

    def _make(self, op: StartOp) -> World:
        child = self.run.bear(op)
        assert child.run_id == op.id
        self._link(op, child, owned=True)
        return child

    def live_beside(self, op: StartOp) -> World:
        """Make the run of a child, and live it to its end."""
        run = self.run
        flow = next(flow for flow in run.workflows if (flow.name, flow.version) == (op.workflow, op.version))
        child = type(run)(
            flow,
            bytes(op.input),
            limits=run.limits,
            pools=run.pools,
            seed=run.random.randrange(2**32),
            run_id=op.id,
            latency=run.latency,
            page_length=run.page_length,
            runs=run.runs,
            children=run.workflows,
        )
        child.family.begin(op, run)
        run.lives.append(asyncio.create_task(child.finish()))
        return child

    def live_again(self) -> World:
        """Make the run that goes on in the place of this one, and live it to its end."""
        run = self.run
        id = str(uuid7(milliseconds=run.clock() // 1_000, random_bits=run.random.getrandbits(74)))
        new = type(run)(run.workflow, run.input, seed=run.random.randrange(2**32), run_id=id, runs=run.runs)
        run.lives.append(asyncio.create_task(new.finish()))
        return new

    def begin(self, op: StartOp, parent: World) -> None:
        """Have the run be the child that another one starts."""
        run, new = self.run, families.child(op, priority=parent.priority)
        run.options, run.digest, run.priority = new.options, new.digest, new.options.priority or 0
        run.standing = enqueueing.born(new, now=run.clock())
        if new.options.timeout is not None:
            asyncio.get_running_loop().call_later(new.options.timeout / 1_000_000, run.cancel, "timeout")

    def _link(self, op: StartOp, child: World, *, owned: bool) -> None:
        link = Link(self.run, op.id, child, owned, op.parent_close, self.run.generation)
        self.children[op.id] = link
        child.family.parents.append(link)

    def stop(self, ops: Sequence[StopOp]) -> None:
        """Cancel children of the run's own, and let it hear what became of that."""
        for op in ops:
            if self.run.inbox.has_outcome(op.id):
                continue
            link = self.children[op.run_id]
            outcome = families.stopped(link.child.state, is_owned=link.owned)
            if outcome.result == "taken":
                link.child.cancel()
            self.run.inbox.add_outcome(op.id, outcome)
            self.run.reach([arriving.OP])

    # -- what is due by a commit

    def recorded(self, unit: Unit) -> None:
        """Do what a unit of the run makes due: its children hear of its cancel, its parent of its end."""
        if any(entry.key.startswith("cancel:") for entry in unit.entries):
            self.close_later()
        if self.run.state in TERMINAL:
            assert isinstance(unit.end, End)
            is_given_up = (unit.end.why or "").startswith("not tried again")  # it is told of by an errand alone
            has_parent = self.owner is not None
            assert unit.end.parent == has_parent or is_given_up, f"{unit.end.move}: does it have a parent?"
            for link in self.parents:
                if link.owned and unit.end.parent:
                    link.tell()
            self.ended()

    def ended(self) -> None:
        """Have all hear of the run's end that have not heard of it in its commit."""
        self.run.ended_at = min(self.run.ended_at, self.run.clock())
        self.run.later(self.tell)
        self.close_later()

    def tell(self) -> None:
        """Tell of the run's end whoever has started or found it."""
        self.run.told_at = self.run.clock()
        for link in self.parents:
            link.tell()

    def close_later(self) -> None:
        """Have the children that are there be cancelled, if they shall not outlive what the run has come to."""
        # Whom it starts from here on is none of those: it may be what takes back what the others did.
        children = [link for link in self.children.values() if link.owned]
        self.run.later(lambda: self._close(children))

    def _close(self, children: Sequence[Link]) -> None:
        """Cancel the children that shall not outlive the run."""
        by_cancel = self.run.is_told
        if self.run.state in TERMINAL:
            self.run.closed_at = min(self.run.closed_at, self.run.clock())
        for link in children:
            closes = link.parent_close == "cancel" or (link.parent_close == "wait" and by_cancel)
            if closes and link.child.state not in TERMINAL:
                link.child.cancel()
