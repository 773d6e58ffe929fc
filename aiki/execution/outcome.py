"""Own how far a body can come."""

from __future__ import annotations

from enum import Enum, auto


class Outcome(Enum):
    """How far a body has come."""

    RUNNING = auto()
    RETURNED = auto()
    RAISED = auto()
    CONTINUED = auto()
    """Its run goes on in the next generation."""
    DIVERGED = auto()
    LEFT = auto()
    """It was unwound before its end."""
