"""Own what a body may ask of its run's labels: a change of some, and what all of them come to by that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiki.core.errors import UsageError
from aiki.core.keys import LABELS
from aiki.inside.durable import Ask
from aiki.wire.messages.options import check_labels


class SetLabels(Ask[Mapping[str, str]]):
    """A change of the `labels` that the run has; the answer is those that it has since."""

    kind: ClassVar[str] = LABELS
    changes: Mapping[str, str | None]
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return "run.set_labels()"


def set_labels(changes: Mapping[str, str | None], labels: Mapping[str, str]) -> SetLabels | None:
    """Return what is asked for by these changes; None if they change nothing. Raises UsageError if they cannot be."""
    if not isinstance(changes, Mapping):
        raise UsageError(
            f"set_labels() was given {changes!r:.60}, and no labels", hint='run.set_labels({"step": "printing"})'
        )
    check_labels({name: "" if value is None else value for name, value in changes.items()})
    check_labels(changed(labels, changes))
    made = {name: value for name, value in changes.items() if labels.get(name) != value}
    return SetLabels(made, labels) if made else None


def changed(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the labels after these changes; None takes one away."""
    return {name: value for name, value in {**labels, **changes}.items() if value is not None}
