"""Own what is said of the schemas that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutputNames:
    """What a command says as JSON, by the titles of its schemas."""

    command: str
    """As it is typed after `aiki`; `error` is what any of them says on stderr."""
    document: Sequence[str]
    """With -o json: one of these."""
    line: Sequence[str]
    """With -o jsonl: each line is one of these."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What all commands say as JSON."""

    outputs: Sequence[OutputNames]
