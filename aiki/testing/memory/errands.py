"""Own what is told of a run's end or cancel, when that is committed: to who waits for it, and to its children."""

from __future__ import annotations

from typing import Final

from msgspec import Raw

from aiki.rules import arriving, families
from aiki.testing.memory import cancels
from aiki.testing.memory.run import Link, Run
from aiki.testing.memory.store import Closing, Store, Telling
from aiki.wire.codec import encode
from aiki.wire.messages import CancelNote, ChildEnd

_BY_PARENT: Final = CancelNote(reason="parent")


def do(store: Store) -> None:
    """Do all errands, and those that they leave. Children first: one that ends at once leaves an errand itself."""
    while store.closing or store.telling:
        if store.closing:
            close(store, store.closing.popleft())
        else:
            tell(store, store.telling.popleft())


def tell(store: Store, telling: Telling) -> None:
    """Let a run hear that another one has ended; who has ended itself hears nothing, nor does another generation."""
    hearer, child = telling.hearer, telling.child
    if not families.hears(hearer.state, hearer.generation, asked_in=telling.generation):
        return
    value = ChildEnd(child.id, child.state, child.output, child.error)
    hearer.inbox.add("child", telling.start_id, Raw(encode(value)), clock=store.now())
    store.reach(hearer, [arriving.CHILD])


def close(store: Store, closing: Closing) -> None:
    """Cancel the children that shall not outlive what their parent has come to."""
    closing.run.closing -= 1
    for link in closing.links:
        if _closes(closing.run, link):
            cancels.cancel(store, link.child, _BY_PARENT)


def _closes(run: Run, link: Link) -> bool:
    """Tell whether a child shall not outlive what its parent has come to."""
    child, is_told = link.child, run.cancel_seq is not None
    is_child_told = child.cancel_seq is not None
    return families.closes(run.state, link.parent_close, child.state, is_told=is_told, is_child_told=is_child_told)
