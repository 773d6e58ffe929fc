"""Own the limits that both ends of the wire must agree on."""

from typing import Final

from aiki.core.canonical import NESTING as NESTING

MESSAGE_BYTES: Final = 512 * 1024
"""No request or reply is larger: batches are split, replies paged (NATS refuses more than 1 MiB)."""
PAYLOAD_BYTES: Final = 256 * 1024
"""A workflow's input, a workflow's result, a task's result."""
ERROR_BYTES: Final = 16 * 1024
"""An error with its traceback; longer tracebacks lose their middle."""
PAGE_BYTES: Final = 256 * 1024
"""Journal entries in one page, except that a single larger entry travels alone."""
BATCH_RUNS: Final = 1000
"""Runs in one enqueue, status or watch request."""
CLAIM_RUNS: Final = 200
"""Runs in one claim."""
ENTRIES_SOFT: Final = 5_000
ENTRIES_HARD: Final = 50_000
JOURNAL_BYTES_SOFT: Final = 10 * 1024 * 1024
JOURNAL_BYTES_HARD: Final = 50 * 1024 * 1024
LABELS: Final = 20
KEY_CHARS: Final = 256
"""An idempotency key; a label's value."""
HINTS_PER_ROUTE: Final = 1_000
WATCH_SECONDS: Final = 60.0
"""For how long a run is watched after its enqueue or a `Watch`; whoever waits longer asks again."""
