"""Own what a replay comes to: whether the code at hand fits what a run has recorded, and how it would go on.

Entries are written with how their claim ends. So a run that rests, or that a worker has, and whose body ends where its
record does would have been over, had its code been this: unless its last entry was written alone, as that of a timer
that was asked, or is the failure that ends it. Of one that is queued again its worker may have been lost in between.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from aiki.core import keys
from aiki.core.errors import AikiError, PayloadError
from aiki.core.frames import Place, users_last_place
from aiki.core.states import TERMINAL, State
from aiki.definitions.registry import Registry
from aiki.execution.cuts import cut_of
from aiki.execution.divergence import said
from aiki.execution.ends import failed
from aiki.execution.failures import failure_of
from aiki.execution.kinds import KINDS
from aiki.execution.outcome import Outcome
from aiki.execution.unwinding import waiting_places
from aiki.replay.bringing import brought
from aiki.replay.comparing import difference, end_of, has_ended_without_body, is_of_record, missing_module, told
from aiki.replay.leftovers import unasked
from aiki.replay.resting import other_rest
from aiki.replay.verdicts import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiki.definitions.workflow import Workflow
    from aiki.execution.body import Body
    from aiki.execution.frontier import Frontier
    from aiki.replay.recording import Recording
    from aiki.wire.messages import End, Entry

_ALONE: Final = (keys.TIMER, keys.UNTIL, keys.EVENT)
"""Kinds of entries that may be written before the body goes on from them."""
_RESTING: Final = (State.SLEEPING, State.WAITING)
"""States in which the body of a run stands for certain where its record ends: it is retrying after a crash, too."""


def replay(
    recordings: Iterable[Recording], workflows: Iterable[Workflow[..., Any]], *, as_version: str | None = None
) -> list[Verdict]:
    """Replay runs on these workflows, each on that of its own version, or all on `as_version`; execute nothing.

    The bodies run in this process: one that never rests, or ends the process, does so here.
    """
    registry = Registry(workflows)
    return [judge(one, registry, as_version=as_version) for one in recordings]


def judge(
    recording: Recording,
    registry: Registry,
    *,
    as_version: str | None = None,
    look: Callable[[Body, Verdict], None] | None = None,
) -> Verdict:
    """Replay one run on the workflow that the registry has for it, and tell how it fits.

    `look` is given the body, before it is unwound, with the verdict.
    """
    run = recording.exported.run
    version = as_version or run.version
    workflow = registry.get(run.workflow, version)
    if workflow is None:
        known = sorted(one.version for one in registry if one.name == run.workflow)
        has = f"the code at hand has {', '.join(known)}" if known else "the code at hand has none of that name"
        return verdict(
            recording, version, Finding.UNKNOWN, f"needs workflow {run.workflow!r} version {version!r}: {has}"
        )
    if len(recording.entries) < run.length:
        missing = f"needs its whole journal: of {run.length} entries {len(recording.entries)} are here"
        return verdict(recording, version, Finding.UNKNOWN, missing)
    with brought(recording, workflow) as body:
        judged = _Judged(recording, workflow)
        if isinstance(body, BaseException):
            return judged.of_start(body)
        found = judged.of_body(body)
        if look is not None:
            look(body, found)
        return found


def verdict(recording: Recording, version: str, finding: Finding, why: str = "", **more: Any) -> Verdict:
    """Return the verdict on a run that was, or was to be, replayed on a version."""
    exported = recording.exported
    run = exported.run
    return Verdict(
        run_id=recording.run_id,
        workflow=run.workflow,
        version=run.version,
        as_version=version,
        state=exported.state,
        entries=len(recording.entries),
        finding=finding,
        why=why,
        **more,
    )


class _Judged:
    """One run, and the workflow on which it was replayed."""

    def __init__(self, recording: Recording, workflow: Workflow[..., Any]) -> None:
        self._recording = recording
        self._workflow = workflow

    def of_start(self, error: BaseException) -> Verdict:
        """Return the verdict on a run whose body cannot take its first step."""
        run = self._recording.exported
        has_failed_so = run.state is State.FAILED and not difference(run, failed(error))
        if has_failed_so or (run.state is State.CANCELLED and not self._recording.entries):
            return self._tell(Finding.COMPATIBLE)
        if (missing := missing_module(error)) is not None:
            return self._tell(Finding.UNKNOWN, f"needs a module: {missing}")
        why = error.message if isinstance(error, AikiError) else _named(error)
        place = users_last_place(error) or _written_at(self._workflow)
        return self._tell(Finding.DIVERGES, f"its input does not fit, and the run would fail: {why}", place=place)

    def of_body(self, body: Body) -> Verdict:
        """Return the verdict on a run that was brought to where its record ends."""
        frontier = body.frontier()
        if frontier.lacks:
            return self._tell(Finding.UNKNOWN, f"needs what is gone: {frontier.lacks}")
        if left := frontier.left:
            return self._of_unasked(body, frontier, next((one for one in left if not _may_stay(one[1])), left[0]))
        end = end_of(body, self._workflow)
        if self._recording.exported.state in TERMINAL:
            return self._of_ended(body, frontier, end)
        return self._of_one_in_flight(body, frontier, end)

    def _of_unasked(self, body: Body, frontier: Frontier, first: tuple[int, Entry]) -> Verdict:
        """Return the verdict on a run of whose journal something is not asked for."""
        if (missing := missing_module(body.error)) is not None:
            return self._tell(Finding.UNKNOWN, f"needs a module: {missing}", place=_end_place(body))
        number = body.history.seqs[first[0]]
        recorded, asked = said(first[1]), _asked(frontier)
        if asked is not None:
            instead = f"; the code asks for {asked}"
        elif body.error is not None:
            instead = f"; the body has raised {_named(body.error)}"
        elif body.outcome is Outcome.DIVERGED and not waiting_places(body.loop):
            instead = "; the body has ended"
        else:
            instead = "; the code waits for something else"
        return self._tell(
            Finding.DIVERGES,
            f"entry {number}, {recorded}, is not asked for{instead}",
            entry=number,
            recorded=recorded,
            asked=asked,
            place=self._place(body, frontier),
            diff=body.diff,
        )

    def _of_ended(self, body: Body, frontier: Frontier, end: End | None) -> Verdict:
        """Return the verdict on a run that has ended, and all of whose journal was asked for."""
        run = self._recording.exported
        if end is None:
            if has_ended_without_body(run, body):
                return self._tell(Finding.COMPATIBLE)
            if asked := _asked(frontier):
                instead = f"ask for {asked}"
            else:
                instead = "wait for a timer" if frontier.sleeps else "go round without rest"
            return self._differs(body, frontier, f"it is {run.state}, and would now {instead}")
        why = difference(run, end)
        if not why:
            return self._tell(Finding.COMPATIBLE)
        return self._misfit(body) or self._differs(body, frontier, why)

    def _of_one_in_flight(self, body: Body, frontier: Frontier, end: End | None) -> Verdict:
        """Return the verdict on a run that has not ended, and all of whose journal was asked for."""
        begun, asked = unasked(self._recording, body, frontier), _asked(frontier)
        other = other_rest(self._recording, body, frontier)
        if end is None:
            if begun is not None:
                instead = "" if asked is None else f"; the code asks for {asked}"
                why = f"{begun}, and would no longer be asked for{instead}"
                return self._differs(body, frontier, why, recorded=begun)
            if other is not None:
                now = other.now or (f"asks for {asked}" if asked else "rests for nothing")
                why = f"it {other.recorded}; the code at hand {now}"
                return self._differs(body, frontier, why, recorded=other.recorded)
            return self._tell(Finding.COMPATIBLE)
        if (misfit := self._misfit(body)) is not None:
            return misfit
        left = begun if begun is not None or other is None else f"it {other.recorded}"
        if left is None and self._may_end(body):
            return self._tell(Finding.COMPATIBLE)
        also = "" if left is None else f"{left}; "
        return self._differs(body, frontier, f"{also}it has not ended, and would now end: {told(end)}", recorded=left)

    def _misfit(self, body: Body) -> Verdict | None:
        """Return the verdict on a run whose body fails by what is missing here, or by a value that no longer fits."""
        error = body.error
        if (missing := missing_module(error)) is not None:
            return self._tell(Finding.UNKNOWN, f"needs a module: {missing}", place=_end_place(body))
        if not (isinstance(error, PayloadError) and is_of_record(error)):
            return None
        why = f"a value that is recorded no longer fits, and the run would fail: {error.message}"
        return self._tell(Finding.DIVERGES, why, place=_end_place(body))

    def _may_end(self, body: Body) -> bool:
        """Tell whether the body may have ended here in the run's own code, too."""
        entries, state = self._recording.entries, self._recording.exported.state
        if not entries or body.history.first is not None or state not in (State.RUNNING, *_RESTING):
            return True
        if state is State.RUNNING and keys.kind_of(entries[-1].key) in _ALONE:
            return True
        cut = None if body.error is None else cut_of(body.error)
        return cut is not None and cut.place == len(entries)

    def _differs(self, body: Body, frontier: Frontier, why: str, *, recorded: str | None = None) -> Verdict:
        place = self._place(body, frontier)
        return self._tell(Finding.DIFFERENTLY, why, recorded=recorded, asked=_asked(frontier), place=place)

    def _place(self, body: Body, frontier: Frontier) -> Place | None:
        """Return where the body asks for what is new; else where it waits, has raised or was written."""
        futures = [future for call in frontier.asked[:1] for future in call.futures]
        found = waiting_places(body.loop, futures) if futures else []
        found = found or waiting_places(body.loop)
        return found[0] if found else _end_place(body) or _written_at(self._workflow)

    def _tell(self, finding: Finding, why: str = "", **more: Any) -> Verdict:
        return verdict(self._recording, self._workflow.version, finding, why, **more)


def _may_stay(entry: Entry) -> bool:
    """Tell whether the code may do without an entry: another one is why it does not fit."""
    kind = KINDS.get(keys.kind_of(entry.key))
    return kind is not None and kind.may_stay_unasked


def _asked(frontier: Frontier) -> str | None:
    return frontier.asked[0].kind.asked(frontier.asked[0]) if frontier.asked else None


def _end_place(body: Body) -> Place | None:
    return None if body.error is None else users_last_place(body.error)


def _written_at(workflow: Workflow[..., Any]) -> Place | None:
    code = getattr(inspect.unwrap(workflow.fn), "__code__", None)
    return None if code is None else Place(code.co_filename, code.co_firstlineno, code.co_name)


def _named(error: BaseException) -> str:
    failure = failure_of(error)
    return f"{failure.type}: {failure.message}"
