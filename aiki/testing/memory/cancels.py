"""Own how runs are cancelled: who has not begun ends at once, by force each does; any other is told."""

from __future__ import annotations

from msgspec import Raw

from aiki.core.states import TOLD, Move, State, sources
from aiki.rules import controlling
from aiki.rules.controlling import CUT_SHORT, Obeyed
from aiki.rules.standing import Standing
from aiki.testing.memory import deadlines
from aiki.testing.memory.run import Run
from aiki.testing.memory.store import Store
from aiki.wire.codec import encode
from aiki.wire.messages import CancelNote


def cancel(store: Store, run: Run, note: CancelNote, *, force: bool = False) -> None:
    """Have a run end, whatever it waits for; only the first cancel tells it."""
    obeyed, after = controlling.cancel(run.standing, is_told=run.cancel_seq is not None, force=force)
    if run.is_over:
        return
    if obeyed is Obeyed.DONE:
        _end(store, run, after, note, force=force)
    elif run.cancel_seq is None:
        _tell(store, run, after, note)
    else:
        run.tell(store.now(), TOLD, reason=note.words(), actor=note.actor, length=run.standing.length)


def _end(store: Store, run: Run, after: Standing, note: CancelNote, *, force: bool) -> None:
    words = CUT_SHORT.format(note.words()) if force and run.standing.epoch else note.words()
    if run.session is not None:  # its worker reads its inbox, finds that the run is over, and has a slot free
        store.told[run.session, run.id] = run.inbox.news + 1
    length = run.standing.length if force else None
    store.move(run, after, Move.CANCEL, why=words, reason=words, actor=note.actor, length=length)


def _tell(store: Store, run: Run, after: Standing, note: CancelNote) -> None:
    before = run.state
    run.cancel_seq = run.inbox.add("cancel", value=Raw(encode(note)), clock=store.now()).number
    run.life.begin_early(store.now())
    store.move(run, after, _word(before, after), reason=note.words(), actor=note.actor, length=after.length)
    store.tell(run)
    deadlines.bound(store, run)
    if before is State.PAUSED:
        deadlines.resumed(store, run)


def _word(before: State, after: Standing) -> str:
    """Return what a story calls it that a run hears of its cancel."""
    if after.state is before:
        return TOLD
    return Move.ARRIVE if before in sources(Move.ARRIVE) else Move.RESUME
