"""Own whether a run is tried again whose body has failed, and when: by what is said of it, else as its workflow has it.

Errors are looked at by their classes alone: no code of the user's runs. Of a group it counts what is in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from aiki.core.duration import to_seconds
from aiki.core.errors import Fatal, RetryAfter, UsageError
from aiki.core.keys import RETRY, named
from aiki.core.moments import SECOND
from aiki.core.retry import Retry
from aiki.core.states import Move
from aiki.definitions.own_retry import RetryFrom, name_of, of_rule
from aiki.execution.cuts import Cut, cut_of, members, said_by
from aiki.execution.ends import of_body
from aiki.wire.codec import decoder, encode
from aiki.wire.limits import WHY_CHARS
from aiki.wire.messages import End, Entry, Failure, Retried
from aiki.wire.messages.own_retry import OwnRetry

if TYPE_CHECKING:
    from aiki.definitions.workflow import Workflow
    from aiki.execution.body import Body
    from aiki.execution.outbox import Outbox
    from aiki.wire.messages import Claimed

_mro_of: Final[Any] = vars(type)["__mro__"].__get__
_NOTHING_FAILED: Final = "not tried again: no call has failed the body, which would fail once more"


class _Rule(NamedTuple):
    """How a run is tried again; of errors that only have names, these."""

    retry: Retry
    since: RetryFrom
    only_on: Sequence[str] = ()
    never_on: Sequence[str] = ()


def end_of(body: Body, workflow: Workflow[Any, Any], outbox: Outbox, now: int, *, room: int) -> End:
    """Return how the claim ends of a body that has ended: as `ends.of_body` says, or by being tried again.

    The entry of a retry from the failure goes to the `outbox`. One that is to end is not tried again.
    """
    end, error = of_body(body, workflow, room=room), body.error
    if error is None or end.move is not Move.FAIL or body.interrupted_by is not None or body.is_cancelled:
        return end
    claimed, rule = body.claimed, _rule(body.claimed, workflow)
    try:
        delay = _delay(rule, error, body, now)
    except UsageError as unusable:
        return replace(end, why=_joined(f"not tried again: {unusable.message}", end.why))
    if delay is None:
        return end
    cut, due_at = cut_of(error), now + round(delay * SECOND)
    if rule.since == "failure":
        if cut is None:
            return replace(end, why=_joined(_NOTHING_FAILED, end.why))
        outbox.add(_entry(claimed, cut, due_at))
    failure: Failure = decoder(Failure).decode(end.error)
    anew = rule.since == "start"
    how = "failed, the next begins anew" if anew else "failed"
    why = f"attempt {claimed.attempt} {how}: {failure.type}: {failure.message}"
    return replace(end, move=Move.AGAIN, due_at=due_at, why=_joined(why, end.why), anew=anew)


def _rule(claimed: Claimed, workflow: Workflow[Any, Any]) -> _Rule:
    if not claimed.retry:
        return _Rule(workflow.retry, workflow.retry_from)
    said: OwnRetry = decoder(OwnRetry).decode(claimed.retry)
    since = said.since or workflow.retry_from
    if said.rule is None:
        return _Rule(workflow.retry, since)
    return _Rule(of_rule(said.rule), since, said.rule.only_on, said.rule.never_on)


def _delay(rule: _Rule, error: BaseException, body: Body, now: int) -> float | None:
    """Return the seconds until the next attempt; None if there is none. Raises UsageError if the body says nonsense."""
    if rule.retry.max_attempts == 1 or not _may_help(rule, error):
        return None
    before, since = _counted_from(body)
    elapsed = (now - since) / SECOND
    delay = rule.retry.next_delay(body.claimed.attempt - before, elapsed=elapsed, random=random.random)
    if delay is not None and RetryAfter in _mro_of(type(error)):
        delay = to_seconds(said_by(error, "delay"))
    return delay


def _counted_from(body: Body) -> tuple[int, int]:
    """Return how many attempts came before those that count, and since when these do.

    What a person has ordered begins to count anew; so does a generation that the body went on in by itself.
    """
    claimed, history = body.claimed, body.history
    if (ordered := history.ordered) is not None:
        return ordered.attempt - 1, ordered.at
    is_first = claimed.first_at is None or history.attempt_at(0, claimed.attempt) == 1
    return 0, claimed.started_at if is_first else claimed.first_at or claimed.started_at


def _may_help(rule: _Rule, error: BaseException) -> bool:
    """Tell whether another attempt could help: Fatal, `only_on` and `never_on` decide, as for tasks."""
    kinds = [_mro_of(type(one)) for one in members(error)]
    never: list[type[BaseException]] = [Fatal, *rule.retry.never_on]
    if any(_is_one(kind, never, rule.never_on) for kind in kinds):
        return False
    if not (rule.retry.only_on or rule.only_on):
        return True
    wanted: list[type[BaseException]] = [RetryAfter, *rule.retry.only_on]
    whole = _is_one(_mro_of(type(error)), wanted, rule.only_on)
    return whole or all(_is_one(kind, wanted, rule.only_on) for kind in kinds)


def _is_one(kinds: Sequence[type[BaseException]], classes: Sequence[type[BaseException]], names: Sequence[str]) -> bool:
    return any(kind in classes for kind in kinds) or (bool(names) and any(name in names for name in _names(kinds)))


def _names(kinds: Sequence[type[BaseException]]) -> Iterator[str]:
    for kind in kinds:
        name = name_of(kind)
        yield name
        yield name.rpartition(".")[2]


def _entry(claimed: Claimed, cut: Cut, due_at: int) -> Entry:
    run_id, attempt = claimed.fence.run_id, claimed.attempt + 1
    value = Retried(cut.place - 1, attempt, due_at, max(0, due_at - cut.at), cut.key, run_id, run_id)
    return Entry(named(RETRY, str(attempt)), True, Raw(encode(value)), due_at)


def _joined(why: str, other: str | None) -> str:
    whole = why if other is None else f"{why}; {other}"
    whole = whole.replace("\0", "\\0")
    return whole if len(whole) <= WHY_CHARS else f"{whole[: WHY_CHARS - 1]}…"
