"""Own how the manifest says that a workflow is tried again: the strategies of `Retry`, by their names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from aiki.core.errors import UsageError
from aiki.core.retry import Retry
from aiki.manifest import fields
from aiki.manifest.document import Node
from aiki.manifest.fields import Fields

_MAKERS: Final[dict[str, tuple[Callable[..., Retry], tuple[str, ...]]]] = {
    "fixed": (Retry.fixed, ("max_attempts", "delay")),
    "exponential": (Retry.exponential, ("max_attempts", "base_delay")),
    "jittered": (Retry.jittered, ("max_attempts", "base_delay")),
    "linear": (Retry.linear, ("max_attempts", "base_delay")),
    "from_delays": (Retry.from_delays, ("delays",)),
    "none": (Retry.none, ()),
}
"""What makes each strategy, and the keys that it needs."""
_MAY_HAVE: Final = {
    **dict.fromkeys(("exponential", "jittered", "linear"), ("max_delay", "max_elapsed")),
    **dict.fromkeys(("fixed", "from_delays"), ("max_elapsed",)),
    "none": (),
}


def retry(node: Node) -> Retry:
    """Return the strategy. Raises ConfigError at a mistake."""
    needs = {kind: keys for kind, (_, keys) in _MAKERS.items()}
    every = dict.fromkeys(key for keys in (*needs.values(), *_MAY_HAVE.values()) for key in keys)
    kind = Fields(node, "type", *every, what="`retry`").required("type", fields.choice(*needs))
    given = Fields(node, "type", *needs[kind], *_MAY_HAVE[kind], what=f"`retry` of type {kind}")
    values: dict[str, Any] = {key: given.required(key, _check(key)) for key in needs[kind]}
    values |= {key: given.required(key, _check(key)) for key in _MAY_HAVE[kind] if key in given}
    try:
        return _MAKERS[kind][0](**values)
    except UsageError as error:
        node.place.refuse(f"a `retry` that makes no sense: {error.message}")


def _check(key: str) -> fields.Check[Any]:
    if key == "max_attempts":
        return fields.integer(least=1)
    return fields.items(_span, of="durations") if key == "delays" else _span


def _span(node: Node) -> timedelta:
    return timedelta(seconds=fields.duration(node))
