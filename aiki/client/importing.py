"""Own how exported runs come into a namespace: in parts that fit messages, so that a break is mended by a repeat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec.structs import replace

from aiki.client.control import person
from aiki.client.wire import Wire
from aiki.core.errors import AikiError, Conflict, Overloaded, Unavailable
from aiki.core.states import ENQUEUED, Move
from aiki.replay.files import run_of
from aiki.replay.recording import Recording
from aiki.wire.codec import encode
from aiki.wire.limits import UNIT_ITEMS
from aiki.wire.messages import NONE, NULL, Import, ImportedArrival, ImportedMove, ImportedTry
from aiki.wire.packing import request_room

IMPORT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of a run that was to be imported."""

    run_id: str
    result: Literal["imported", "exists", "refused"]
    """It is here now; or it was imported before, and nothing has changed; or `error` says why it is not."""
    error: AikiError | None = None


async def take(wire: Wire, recording: Recording, *, actor: str | None = None) -> ImportOutcome:
    """Import a recorded run. Raises Unavailable: then a repeat completes what was begun."""
    run_id = recording.run_id
    for part in _parts(recording, actor or person(), room=request_room(wire.room)):
        try:
            result = (await wire.call(part, seconds=IMPORT_SECONDS)).result
        except AikiError as error:
            if isinstance(error, Unavailable | Overloaded):
                raise
            return ImportOutcome(run_id, "refused", error)
        if result == "exists":
            return ImportOutcome(run_id, "exists")
        if result != "stored":
            return ImportOutcome(run_id, "refused", _refusal(run_id, result))
    return ImportOutcome(run_id, "imported")


def _refusal(run_id: str, result: str) -> Conflict:
    match result:
        case "taken":
            return Conflict(
                f"run {run_id} cannot be imported: a run with this id is on the server already, and was not imported",
                hint="import it into another database, or replay the file as it is",
                command="aiki replay --file FILE",
            )
        case "other":
            return Conflict(
                f"run {run_id} cannot be imported: another export of it was imported here in part",
                hint="complete that, or delete what is here of it",
                command=f"aiki run delete {run_id}",
            )
        case _:
            return Conflict(f"run {run_id} was not imported whole: part of it was deleted meanwhile", hint="repeat it")


def _parts(recording: Recording, actor: str, *, room: int) -> Iterator[Import]:
    """Yield the requests that bring the run, each of which fits a message."""
    run = run_of(recording)
    head = Import(recording.run_id, recording.namespace or "unknown", recording.exported_at, actor)
    payloads = {"output": run.output, "error": run.error}
    part = replace(head, run=replace(run, output=NONE, error=NONE))
    left = room - len(encode(part))
    for name, raw in payloads.items():
        if len(raw) > left:
            yield part
            part, left = _next(head), room - len(encode(head))
        setattr(part, name, raw)
        left -= len(raw) + 16
    for name, item in _items(recording):
        weight = len(encode(item)) + 1
        if weight > left or len(getattr(part, name)) == UNIT_ITEMS:
            yield part
            part = _next(head, base=part.base + len(part.entries))
            left = room - len(encode(head))
        getattr(part, name).append(item)
        left -= weight
    part.last = True
    yield part


def _next(head: Import, *, base: int = 0) -> Import:
    return replace(head, base=base, entries=[], tries=[], ends=[], unread=[], moves=[])


def _items(recording: Recording) -> Iterator[tuple[str, Any]]:
    """Yield what stands beside the run, by where it stands in a part: entries first."""
    yield from (("entries", entry) for entry in recording.entries)
    moves, tries = _story(recording)
    yield from (("tries", one) for one in tries)
    for name, arrivals in (("ends", recording.ends), ("unread", recording.unread)):
        yield from ((name, ImportedArrival(*_values(one))) for one in arrivals)
    yield from (("moves", move) for move in moves)


def _story(recording: Recording) -> tuple[list[ImportedMove], list[ImportedTry]]:
    """Return the moves of the run's generation, and its tries: of those that failed with what went wrong."""
    run = recording.exported.run
    moves: list[ImportedMove] = []
    tries: dict[tuple[str, int], ImportedTry] = {}
    length, claims = 0, 0
    for item in recording.history:
        if item.generation != run.generation or item.move in (ENQUEUED, "event"):
            continue
        if item.move == "entry":
            length += 1
        elif item.move == "attempt" and item.key is not None and item.attempt is not None:
            error = item.value or NULL
            tries[item.key, item.attempt] = ImportedTry(
                item.key, item.attempt, error, item.due_at, at=item.at, epoch=claims, length=length
            )
        else:
            claims += item.move == Move.CLAIM
            moves.append(ImportedMove(len(moves) + 1, item.at, item.move, item.reason, item.actor, length))
    for one in recording.tries:
        told = tries.get((one.key, one.attempt))
        base = told or ImportedTry(one.key, one.attempt, one.error, one.next_at, epoch=claims, length=length)
        at = base.at or one.details_at or recording.exported_at
        tries[one.key, one.attempt] = replace(base, details=one.details, details_at=one.details_at, at=at)
    return moves, list(tries.values())


def _values(one: Any) -> list[Any]:
    return [getattr(one, name) for name in one.__struct_fields__]
