"""Own what is asked of runs that an index has found for another reason: a condition for each word of a list.

Of runs that are looked at it is asked by their rows, and by what stands beside them by primary key.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from aiki.core.states import Move
from aiki.rules.filtering import ERROR_BEGINS, error_pattern
from aiki.wire.codec import encode
from aiki.wire.messages import ListRuns

# Primary key of `keys`: of a run that was retried, or that has given its key up, another holds it.
_HOLDS: Final = """
EXISTS (SELECT FROM aiki.keys k WHERE k.namespace = r.namespace AND k.workflow = r.workflow AND k.key = r.key
  AND k.run_id = r.id)
""".strip()
_CONDITIONS: Final = {
    "states": "r.state = ANY(CAST(:states AS text[]))",
    "workflow": "r.workflow = :workflow",
    "version": "r.version = :version",
    "not_version": "r.version <> :not_version",
    "labels": "coalesce(r.labels @> CAST(:labels AS jsonb), false)",
    "roots": "r.parent_id IS NULL",
    "since": "r.created_at >= CAST(:since AS timestamptz)",
    "before": "r.created_at < CAST(:until AS timestamptz)",
    "key": f"coalesce(r.key = :key, false) AND {_HOLDS}",
    "key_prefix": f"coalesce(starts_with(r.key, :prefix), false) AND {_HOLDS}",
    "priority": "r.priority = :priority",
    "retried": "(r.retried_by IS NOT NULL) = :retried",
    # As errors are written: what has failed is said first, whatever else is.
    "error": f"coalesce(encode(substr(r.error, 1, {ERROR_BEGINS}), 'escape') ~ :error, false)",
    # Primary key of `run_history`, from the left.
    "worker": f"EXISTS (SELECT FROM aiki.run_history h WHERE h.run_id = r.id AND h.move = '{Move.CLAIM}'"
    " AND h.actor = :worker)",
}
"""By the names of the words; none is null of a run that is there."""


_NOTHING_BY_EMPTINESS: Final = ("states", "labels", "roots")
"""Words that ask for nothing when they are empty; the others when they are null."""


def conditions(request: ListRuns, *, led_by: Collection[str]) -> list[str]:
    """Return what is still to be asked of runs that were found by some of the words."""
    return [condition for word, condition in _CONDITIONS.items() if word not in led_by and _is_asked(request, word)]


def _is_asked(request: ListRuns, word: str) -> bool:
    value = getattr(request, word)
    return bool(value) if word in _NOTHING_BY_EMPTINESS else value is not None


def values(request: ListRuns) -> dict[str, Any]:
    """Return what the conditions read, beside times."""
    return {
        "workflow": request.workflow,
        "version": request.version,
        "not_version": request.not_version,
        "states": [state.value for state in request.states],
        "labels": encode(request.labels).decode(),
        "key": request.key,
        "prefix": request.key_prefix,
        "priority": request.priority,
        "retried": request.retried,
        "error": None if request.error is None else error_pattern(request.error),
        "worker": request.worker,
    }
