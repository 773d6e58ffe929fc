"""The kind `labels`: a change of the run's labels, decided at once and recorded with what they were before.

The run's row holds them as they are now. A body that begins again has those that it had at first: what the first entry
that changed a label says it was. What its entries come to is written again if the row says something else: so it is
when a unit was cut in two and its worker died between them, and when a retry has taken entries back.

A change that the code no longer asks for is harmless, as is one that it asks for where the run has been without it:
that one is not made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Raw

from aiki.core.canonical import digest
from aiki.core.keys import LABELS, beginning, of_any, of_input
from aiki.execution.kind import Asker
from aiki.inside.labels import SetLabels, changed
from aiki.wire.codec import decoder, encode
from aiki.wire.messages import Entry

_OURS: Final = beginning(LABELS)
_Changes: Final = dict[str, tuple[str | None, str | None]]


class Labels:
    """Changes of a run's labels."""

    at_once = True
    may_stay_unasked = True

    def ask(self, body: Asker, ask: SetLabels, /) -> Mapping[str, str]:
        """Return the labels that the run has from now on."""
        form = encode(sorted(ask.changes.items()))
        key = body.number(of_input(LABELS, of_any(sorted(ask.changes)), digest(form)))
        made = {name: (ask.labels.get(name), value) for name, value in ask.changes.items()}
        if (entry := body.decide(key, Raw(encode(made)))) is None:
            return ask.labels
        labels = changed(ask.labels, _now(entry))
        body.label(labels)
        return labels

    def recorded(self, entry: Entry, /) -> str:
        """Return which labels were changed to what."""
        told = ", ".join(f"{name}={'none' if now is None else repr(now)}" for name, now in _now(entry).items())
        return f"set_labels({told})"


def at_first(labels: Mapping[str, str], entries: Iterable[Entry]) -> Mapping[str, str]:
    """Return the labels with which a run has begun that has these now, and these entries."""
    before: dict[str, str | None] = {}
    for entry in entries:
        if entry.key.startswith(_OURS):
            before = {name: was for name, (was, _) in _changes(entry).items()} | before
    return changed(labels, before) if before else labels


def since(labels: Mapping[str, str], entries: Iterable[Entry]) -> Mapping[str, str]:
    """Return the labels that a run has after these entries, which had those at first."""
    for entry in entries:
        if entry.key.startswith(_OURS):
            labels = changed(labels, _now(entry))
    return labels


def _now(entry: Entry) -> dict[str, str | None]:
    return {name: now for name, (_, now) in _changes(entry).items()}


def _changes(entry: Entry) -> dict[str, tuple[str | None, str | None]]:
    """Return what an entry says of each label that it changes: what it was, and what it is since."""
    changes: dict[str, tuple[str | None, str | None]] = decoder(_Changes).decode(entry.value)
    return changes
