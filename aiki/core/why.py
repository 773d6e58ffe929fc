"""Own the sentences that say why a run does not move, and what would move it: the one place that makes them. Pure.

Each says what a run does, to follow its id: "waits for event 'approved' for 3h 5m". A hint is a line to type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from aiki.core.moments import SECOND, to_datetime
from aiki.core.reasons import Kind, Reason
from aiki.core.states import State

DIVERGED: Final = "nondeterminism"
"""What the reason of a run begins with that is blocked since its code asks for what its journal does not hold."""
_REPLAY: Final = "aiki replay {run} -m MODULE"
_RESUME: Final = "aiki run resume {run}"
_START: Final = "aiki worker start -m MODULE"
_HINTS: Final[dict[str, str]] = {
    Kind.UNSERVED: _START,
    Kind.BEHIND: _START,
    Kind.EVENT: "aiki event send {run} {name}",
    Kind.BLOCKED: _RESUME,
    Kind.PAUSED: _RESUME,
    Kind.RETRYING: _RESUME,
    Kind.AGAIN: _RESUME,
    Kind.BACKING_OFF: _RESUME,
    Kind.SCHEDULED: "aiki run wake {run}",
    Kind.SLEEPING: "aiki run wake {run}",
    Kind.ENDED: "aiki run retry {run}",
    Kind.IMPORTED: _REPLAY,
    Kind.TASK: "aiki status {run} --watch",
    Kind.RUNNING: "aiki status {run} --watch",
    Kind.FROZEN: "aiki worker list",
    Kind.KEY: "aiki why {other}",
    Kind.SCHEDULE_PAUSED: "aiki schedule resume {name}",
}
_WANTED: Final = frozenset({Kind.CANCEL, Kind.PAUSE_WANTED})
_SHOWN: Final = 5
"""Names in one sentence."""

Words = Callable[[Reason, int], str]


def words(reason: Reason, now: int) -> str:
    """Return what the run does for this reason, to follow its id."""
    said = _WORDS.get(reason.kind)
    return f"waits ({reason.kind}; this aiki is older than its server)" if said is None else said(reason, now)


def sentence(reasons: Sequence[Reason], now: int) -> str:
    """Return the main reason in words, which is the first, with what is wanted of the run; "" if there is none."""
    said = [words(one, now) for one in reasons[:1]]
    said += [f"it {words(one, now)}" for one in reasons[1:] if one.kind in _WANTED]
    return "; ".join(said)


def whole(reasons: Sequence[Reason], leaf: Sequence[Reason], now: int, *, leaf_run: str) -> str:
    """Return that sentence, and behind it that of the run in which it ends, if that is another one."""
    return joined(reasons, sentence(leaf, now), now, leaf_run=leaf_run) if leaf else sentence(reasons, now)


def joined(reasons: Sequence[Reason], last: str, now: int, *, leaf_run: str) -> str:
    """Return the main reason in words, and behind it what is said of the run in which it ends."""
    said = sentence(reasons, now)
    is_next = reasons[0].run == leaf_run and said == words(reasons[0], now)
    return f"{said}, which {last}" if is_next else f"{said}; in the end, run {leaf_run} {last}"


def unserved(workflow: str, version: str) -> str:
    """Return that nobody can take up the runs of a route."""
    return f"no live worker serves {workflow} {version}"


def hint(reason: Reason, run_id: str) -> str | None:
    """Return the command that moves the run, or shows what to do; None if it goes on by itself."""
    template = _HINTS.get(reason.kind)
    match reason.kind:
        case Kind.BLOCKED if reason.error == DIVERGED:
            template = _REPLAY
        case Kind.RETRYING if reason.worker is not None:  # it has not left its worker's memory: nothing to resume
            template = None
        case Kind.CANCEL if reason.worker is None:
            template = "aiki run cancel {run} --force"
        case Kind.KEY if reason.run is None or reason.worker is not None:
            template = None
        case Kind.ENDED if reason.state not in (State.FAILED, State.CANCELLED):
            template = None
    return template and template.format(run=run_id, other=reason.run, name=reason.names[0] if reason.names else "NAME")


# -- times


def span(microseconds: int) -> str:
    """Return a length of time as people say it: `40 s`, `5m 10s`, `2h 3m`, `4d 1h`."""
    if microseconds < SECOND:
        return f"{max(0, microseconds) // 1_000} ms"
    seconds = microseconds // SECOND
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m {seconds}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes}m" if hours < 24 else f"{hours // 24}d {hours % 24}h"


def date(at: int) -> str:
    """Return a moment in UTC, to the second."""
    return f"{to_datetime(at):%Y-%m-%d %H:%M:%S} UTC"


def _since(reason: Reason, now: int) -> str:
    """Return for how long it has been so; nothing of what has only just begun."""
    if reason.since is None or now - reason.since < SECOND:
        return ""
    return f" for {span(now - reason.since)} (since {date(reason.since)})"


def _until(at: int | None, now: int, *, word: str = "until") -> str:
    if at is None:
        return ""
    return f" {word} {date(at)} ({f'in {span(at - now)}' if at > now else 'now'})"


# -- what a run waits for


def _ended(reason: Reason, now: int) -> str:
    said = f"has ended: {reason.state}{'' if reason.since is None else f' at {date(reason.since)}'}"
    if reason.run is not None:
        return f"{said}; run {reason.run} goes on in its place"
    return said + (_error(reason, before=": ") or (f": {reason.message}" if reason.message else ""))


def _imported(reason: Reason, now: int) -> str:
    by = f" by {reason.actor}" if reason.actor else ""
    there = f" from namespace {reason.names[0]}, where it was {reason.state}" if reason.names else ""
    said = f"was imported{by}{there}, and is never run here"
    return f"{said}; there it was said of it: {reason.message}" if reason.message else said


def _blocked(reason: Reason, now: int) -> str:
    by = f", last by worker {reason.worker}" if reason.worker is not None else ""
    return f"is blocked{_since(reason, now)}{by}: {reason.message or 'no reason was recorded'}"


def _paused(reason: Reason, now: int) -> str:
    note = f": {reason.note}" if reason.note else ""
    return f"is paused by {reason.actor or 'somebody'}{_since(reason, now)}{note}"


def _scheduled(reason: Reason, now: int) -> str:
    return f"begins{_until(reason.until, now, word='at')}"


def _unserved(reason: Reason, now: int) -> str:
    said = f"waits for a worker{_since(reason, now)}: {unserved(reason.workflow or '', reason.version or '')}"
    if reason.versions:
        said += f"; live ones serve version {_listed(reason.versions)} of it"
    if reason.until is not None:  # when the last one that did has ended
        return f"{said}; the last that did has ended at {date(reason.until)} ({span(now - reason.until)} ago)"
    return f"{said}; none has in the last hour" if reason.state == "known" else f"{said}; none ever has"


def _behind(reason: Reason, now: int) -> str:
    number = f"{reason.ahead:,}{'+' if reason.capped else ''}"
    said = f"is queued{_since(reason, now)} behind {number} {_plural('run', reason.ahead)}"
    if reason.higher and reason.higher == reason.ahead:
        said += " of higher priority"
    elif reason.higher:
        said += f" ({reason.higher:,} of higher priority, {reason.ahead - reason.higher:,} earlier)"
    else:
        said += f" that {'are' if reason.ahead != 1 else 'is'} earlier"
    if reason.estimate is not None:
        least = "at least " if reason.capped else "about "
        said += f", {least}{span(reason.estimate)} at the rate of the last minutes"
    return f"{said}; {_serving(reason)}"


def _next(reason: Reason, now: int) -> str:
    return f"is queued{_since(reason, now)}, and is the next of its route to be claimed; {_serving(reason)}"


def _alone(reason: Reason, now: int) -> str:
    lost = f"it has cost {reason.count} leases without progress, and a worker takes one such run at a time"
    return f"is queued{_since(reason, now)}: {lost}; {_serving(reason)}"


def _sleeping(reason: Reason, now: int) -> str:
    return f"sleeps{_until(reason.until, now)}{_in_memory(reason)}"


def _retrying(reason: Reason, now: int) -> str:
    of = f" of {reason.of}" if reason.of else ""
    failed = f"task {reason.task} failed at attempt {reason.attempt}{of}: {_error(reason)}"
    return f"waits to try again{_until(reason.until, now, word='at')}{_in_memory(reason)}: {failed}"


def _again(reason: Reason, now: int) -> str:
    of = f" of {reason.of}" if reason.of else ""
    return f"begins attempt {reason.attempt}{of}{_until(reason.until, now, word='at')}: {reason.message or 'it failed'}"


def _backing_off(reason: Reason, now: int) -> str:
    by = f", last worker {reason.worker}" if reason.worker is not None else ""
    lost = f"its worker lost its lease {reason.count} times without progress{by}"
    return f"is taken up again{_until(reason.until, now, word='at')}: {lost}"


def _event(reason: Reason, now: int) -> str:
    named = " or ".join(f"{name!r}" for name in reason.names[:_SHOWN])
    more = f" or {len(reason.names) - _SHOWN} others" if len(reason.names) > _SHOWN else ""
    most = _until(reason.until, now) and f", at the latest{_until(reason.until, now)}"
    return f"waits for event {named}{more}{_since(reason, now)}{most}{_in_memory(reason)}"


def _child(reason: Reason, now: int) -> str:
    most = _until(reason.until, now) and f", at the latest{_until(reason.until, now)}"
    if reason.run is None:
        what = "for word of a child that has ended" if reason.total else "for a child"
        return f"waits {what}{_since(reason, now)}{most}"
    child = f"{reason.run} of {reason.workflow} ({reason.state})"
    if reason.total <= 1:
        return f"waits for child {child}{_since(reason, now)}{most}{_in_memory(reason)}"
    number = f"{'at least ' if reason.capped else ''}{reason.count:,} of {reason.total:,} children still run"
    if reason.count == 1 and not reason.capped:
        return f"waits{_since(reason, now)}{most}: one of its {reason.total:,} children still runs, {child}"
    return f"waits{_since(reason, now)}{most}{_in_memory(reason)}: {number}; the oldest is {child}"


def _key(reason: Reason, now: int) -> str:
    said = f"waits{_since(reason, now)} for key {reason.key!r} of task {reason.task}"
    if reason.worker is not None:
        whose = "of its own" if reason.run is None else f"of run {reason.run}"
        return f"{said}: a try {whose} that could not be stopped still runs on worker {reason.worker}, until that ends"
    return said if reason.run is None else f"{said}, which run {reason.run} has"


def _outcome(reason: Reason, now: int) -> str:
    return f"waits{_since(reason, now)} to hear what became of what it has sent or started"


def _task(reason: Reason, now: int) -> str:
    more = f" (attempt {reason.attempt})" if reason.attempt and reason.attempt > 1 else ""
    said = f"is in task {reason.task}{more} on worker {reason.worker}{_since(reason, now)}"
    if reason.beat is not None:
        said += f", heartbeat {span(now - reason.beat)} ago"
    if reason.fraction is not None:
        said += f", {reason.fraction:.0%}" + (f" ({reason.message})" if reason.message else "")
    if reason.count > 1:
        said += f"; {reason.count - 1:,} other {_plural('task', reason.count - 1)} of it run{_s(reason.count - 1)}"
    return said


def _running(reason: Reason, now: int) -> str:
    lease = "" if reason.renewed is None else f"; its lease was renewed {span(now - reason.renewed)} ago"
    held = f"; it does not go on at once: {reason.note}" if reason.note else ""
    return f"is run by worker {reason.worker}{_since(reason, now)}{held}{lease}"


def _lingering(reason: Reason, now: int) -> str:
    at = f" at {_listed(reason.names)}" if reason.names else ""
    return f"waits in the memory of worker {reason.worker}{at}{_since(reason, now)}{_until(reason.until, now)}"


def _frozen(reason: Reason, now: int) -> str:
    if reason.renewed is None:
        return f"was held by worker {reason.worker}, whose session has ended: it is about to be queued again"
    renewed = f" has not renewed its lease for {span(now - reason.renewed)}"
    left = reason.until is not None and reason.until > now
    then = f"in {span((reason.until or now) - now)}, if it stays silent," if left else "at the next sweep"
    return (
        f"is held by worker {reason.worker}, which{renewed}: it is frozen, dead or cut off; {then} another worker takes"
        " the run up"
    )


# -- what is to be known beside that


def _deadline(reason: Reason, now: int) -> str:
    return f"must have ended{_until(reason.until, now, word='by')}"


def _cancel(reason: Reason, now: int) -> str:
    wants = reason.message or "somebody wants it cancelled"
    ago = "" if reason.since is None else f", {span(now - reason.since)} ago"
    by = f"; worker {reason.worker} lets its tasks end, and its body clean up" if reason.worker is not None else ""
    idle = "; it ends when a worker takes it up, or at once by force" if reason.worker is None else ""
    return f"was told to end{ago}: {wants}{by}{idle}"


def _pause_wanted(reason: Reason, now: int) -> str:
    note = f": {reason.note}" if reason.note else ""
    return f"is to be paused, as {reason.actor or 'somebody'} wants, once its tasks have ended{note}"


def _schedule_paused(reason: Reason, now: int) -> str:
    note = f": {reason.note}" if reason.note else ""
    return f"is of schedule {_listed(reason.names)}, which is paused and fires nothing more{note}"


def _slots_behind(reason: Reason, now: int) -> str:
    many = f"{reason.count:,} {_plural('slot', reason.count)} of schedule {_listed(reason.names)} wait"
    return f"holds others up: {many}{_s(reason.count)} until it has ended"


def _unread(reason: Reason, now: int) -> str:
    return f"has {reason.count:,} unread {_plural('event', reason.count)} that it does not wait for: " + _listed(
        reason.names
    )


def _unknown(reason: Reason, now: int) -> str:
    return f"may wait for anything in memory: worker {reason.worker} did not say within 300 ms"


# -- pieces


def _in_memory(reason: Reason) -> str:
    return "" if reason.worker is None else f", in the memory of worker {reason.worker}"


def _error(reason: Reason, *, before: str = "") -> str:
    if reason.error is None:
        return ""
    return before + (f"{reason.error}: {reason.message}" if reason.message else reason.error)


def _serving(reason: Reason) -> str:
    if reason.workers == 1:
        return f"the one live worker that serves it holds {reason.held:,} {_plural('run', reason.held)}"
    return f"the {reason.workers:,} live workers that serve it hold {reason.held:,} {_plural('run', reason.held)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _s(number: int) -> str:
    return "s" if number == 1 else ""


_WORDS: Final[dict[str, Words]] = {
    Kind.ENDED: _ended,
    Kind.IMPORTED: _imported,
    Kind.BLOCKED: _blocked,
    Kind.PAUSED: _paused,
    Kind.SCHEDULED: _scheduled,
    Kind.UNSERVED: _unserved,
    Kind.BEHIND: _behind,
    Kind.NEXT: _next,
    Kind.ALONE: _alone,
    Kind.SLEEPING: _sleeping,
    Kind.RETRYING: _retrying,
    Kind.AGAIN: _again,
    Kind.BACKING_OFF: _backing_off,
    Kind.EVENT: _event,
    Kind.CHILD: _child,
    Kind.KEY: _key,
    Kind.OUTCOME: _outcome,
    Kind.TASK: _task,
    Kind.RUNNING: _running,
    Kind.LINGERING: _lingering,
    Kind.FROZEN: _frozen,
    Kind.DEADLINE: _deadline,
    Kind.CANCEL: _cancel,
    Kind.PAUSE_WANTED: _pause_wanted,
    Kind.SCHEDULE_PAUSED: _schedule_paused,
    Kind.SLOTS_BEHIND: _slots_behind,
    Kind.UNREAD: _unread,
    Kind.UNKNOWN: _unknown,
}
