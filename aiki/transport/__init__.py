"""Own the SDK's side of the wire: calls to the daemon, pushes from it, and pulls of hints."""

from aiki.transport.hints import PULL_SECONDS, Hint, HintPulls
from aiki.transport.transport import CONNECT_SECONDS, DEFAULT_URL, Transport

__all__ = ["CONNECT_SECONDS", "DEFAULT_URL", "PULL_SECONDS", "Hint", "HintPulls", "Transport"]
