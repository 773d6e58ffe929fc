"""Own how runs in memory go on that have failed or were cancelled, with their families, as the daemon does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from aiki.core.keys import DETAILS
from aiki.core.states import TERMINAL, State
from aiki.rules import retrying
from aiki.rules.histories import read
from aiki.rules.retrying import Child, Past
from aiki.rules.standing import Standing
from aiki.wire.codec import decoder
from aiki.wire.messages import Entry, Failure, Redone, Retry
from tests.worlds.families import Link

if TYPE_CHECKING:
    from tests.worlds.world import World

FROM_FAILURE = Retry([])


def past_of(world: World, journal: Sequence[Entry] | None = None) -> Past:
    """Return what a retry needs to know of a run, whose journal is another if one is given."""
    journal = world.journal if journal is None else journal
    history = read(journal)
    seqs = {number: seq for seq, entry in enumerate(journal, 1) for number in entry.takes}
    told = [(one.kind, one.name, seqs[one.number]) for one in world.inbox.arrivals if one.number in seqs]
    ends = {name: seq for kind, name, seq in told if kind == "child"}
    asked = retrying.asked(journal, history, {name: seq for kind, name, seq in told if kind == "op"})
    links = [link for link in world.family.children.values() if link.generation == world.generation]
    children = [
        Child(
            one.start_id, one.child.run_id, one.child.state, place, one.owned, one.child.is_told, ends.get(one.start_id)
        )
        for one in links
        if (place := asked.get(one.start_id, 0)) is not None
    ]
    return Past(
        world.run_id,
        world.state,
        world.attempt,
        history,
        len(journal),
        world.began or 0,
        _failed_place(world),
        children,
        is_closing=bool(links) and world.closed_at > world.clock(),
    )


def _child(link: Link, asked: int, ends: Mapping[str, int]) -> Child:
    run = link.child
    return Child(link.start_id, run.run_id, run.state, asked, link.owned, run.is_told, ends.get(link.start_id))


def _failed_place(world: World) -> int | None:
    error = b"" if world.end is None or world.state is not State.FAILED else bytes(world.end.error)
    failure = decoder(Failure).decode(error) if error else None
    return None if failure is None else failure.cut


def refusal(world: World, order: Retry, past: Past | None = None) -> Redone | None:
    """Return why a run is not retried, or one of those that go with it; None if all are."""
    past = past or past_of(world)
    return retrying.refusal(past, order) or refusal_below(world, retrying.family(past, order).retried, order)


def refusal_below(world: World, children: Iterable[Child], order: Retry) -> Redone | None:
    down = retrying.down(order)
    found = (refusal(world.runs[child.run_id].newest, down) for child in children)
    return next((refused for refused in found if refused is not None), None)


def retry(world: World, order: Retry) -> World:
    """Have a run go on in another, with its family; it was not refused."""
    past = past_of(world)
    at = retrying.cut(past, order) or 0
    new = _succeed(world)
    if order.start:
        new.left.append((world.input, world.journal))
        new.given_back.add(world.generation)
        new.standing = Standing(State.QUEUED, generation=world.generation + 1)
        new.began = None
        stays = kept(world, past, 0)
    else:
        new.journal = [*world.journal, retrying.entry(past, order, run_id=new.run_id, now=world.clock())]
        new.standing = Standing(State.QUEUED, generation=world.generation, length=len(new.journal))
        stays = kept(world, past, at)
    new.inbox.go_on_as(world.inbox, stays, anew=order.start)
    unread = sum(one.kind == "event" for one in new.inbox.unread)
    new.standing = replace(new.standing, news=new.inbox.news, unread=unread)
    new.attempts = [one for one in world.attempts if one.key == DETAILS and not order.start]
    _adopt(world, new, past, order, at)
    return new


def _succeed(old: World) -> World:
    """Return the run that goes on in the place of another, as far as it is the same."""
    assert old.retried_by is None, "one run is retried twice"
    new = old.retried_by = old.succeed()
    new.origin_id, new.attempt = old.origin_id, old.attempt + 1
    new.input, new.options, new.digest = old.input, old.options, old.digest
    new.priority, new.labels = old.priority, old.labels
    new.began, new.left, new.given_back = old.began, list(old.left), set(old.given_back)
    return new


def kept(world: World, past: Past, at: int) -> set[int]:
    """Return the arrivals that stay consumed: by what counts before the cut, or by an earlier generation."""
    here = {number for entry in world.journal for number in entry.takes}
    return {number for entry in past.history.entries[:at] for number in entry.takes} | (set(world.inbox.taken) - here)


def _adopt(world: World, new: World, past: Past, order: Retry, at: int) -> None:
    family = retrying.family(past, order)
    retried = {child.run_id for child in family.retried}
    given = set(past.history.seqs[:at])
    for child in family.kept:
        old = world.family.children[child.start_id]
        run = retry(old.child.newest, FROM_FAILURE) if child.run_id in retried else old.child
        link = Link(new, old.start_id, run, old.owned, old.parent_close, new.generation, child.ended_seq in given)
        adopt(link, old)
    for child in family.attached:
        tell_again(new.family.children[child.start_id])


def adopt(link: Link, old: Link) -> None:
    """Have the run of `link` be a child of its parent, in the place of `old`."""
    link.parent.family.children[link.start_id] = link
    parents = link.child.family.parents
    if old in parents:
        parents.remove(old)
    parents.append(link)


def tell_again(link: Link) -> None:
    """Have a parent hear of an end that has been."""
    if link.child.state in TERMINAL:
        link.child.later(link.child.family.tell)
