"""Own how a body goes on from where a retry cuts: time goes on from the retry, and the call that stood there is new.

What is pending at the cut keeps the time that it had left: else a retry a day later would end at once in a timeout of a
minute. The call at the cut begins anew, with its whole timeout. A wait for a date keeps its date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiki.core.keys import is_task
from aiki.wire.codec import decoder
from aiki.wire.messages import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiki.execution.kind import DurableCall
    from aiki.execution.loop import RunLoop
    from aiki.rules.histories import History
    from aiki.wire.messages import Entry, Retried


def go_on(retry: Retried, loop: RunLoop, calls: Iterable[DurableCall[Any]]) -> None:
    """Have time go on from a retry; `calls` are those that are open at the rest where it cuts."""
    loop.now_us = max(loop.now_us, retry.at)
    anew = loop.timers.pending(retry.key)
    for call in calls:
        call.since = retry.at if call.key == retry.key else call.since + retry.idle
        if call.key == retry.key and call.timer is not None:
            anew = call.timer
    loop.timers.move(retry.idle)
    if anew is not None:
        loop.timers.restart(anew, retry.at)


def given_up(journal: Sequence[Entry], history: History) -> dict[str, int]:
    """Return how often tasks had been tried that failed behind a cut, by their keys: these tries are counted no more.

    `journal` has all entries, `history` is what it says.
    """
    if history.first is None:
        return {}
    counted = set(history.seqs)
    failed = [one for seq, one in enumerate(journal, 1) if not (one.ok or seq in counted) and is_task(one.key)]
    return {entry.key: decoder(Failure).decode(entry.value).attempts for entry in failed}
