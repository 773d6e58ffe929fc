"""Own the SDK's side of the wire: calls to the daemon, pushes from it, and pulls of hints."""

from aiki.transport.handoffs import HandoffInbox
from aiki.transport.hints import PULL_SECONDS, Hint, HintPulls
from aiki.transport.reaching import reach
from aiki.transport.transport import DEFAULT_URL, Transport

__all__ = ["DEFAULT_URL", "PULL_SECONDS", "HandoffInbox", "Hint", "HintPulls", "Transport", "reach"]
