"""Own what is said of the workers of a namespace together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiki.client.workers import WorkerInfo


@dataclass(frozen=True, slots=True)
class Workers:
    """The live workers, by name."""

    workers: Sequence[WorkerInfo]
