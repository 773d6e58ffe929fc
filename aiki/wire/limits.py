"""Own the limits that both ends of the wire must agree on.

Those of texts and lists stand in the types of the requests themselves (`wire/messages`), so that a request beyond one
is refused by its decoder, before anything is done; each is far above what a client of ours sends. What an item of a
batch may hold beyond that is checked item by item, so that one bad run does not refuse the others.
"""

from typing import Final

from aiki.core.canonical import NESTING as NESTING

MESSAGE_BYTES: Final = 512 * 1024
"""No request or reply is larger, nor than the NATS server takes: batches are split, replies paged (see `packing`)."""
PAYLOAD_BYTES: Final = 256 * 1024
"""A workflow's input, a workflow's result, a task's result, where messages of MESSAGE_BYTES pass."""
ERROR_BYTES: Final = 16 * 1024
"""An error with its traceback, as JSON; longer tracebacks lose their middle."""
DETAILS_BYTES: Final = 16 * 1024
"""What a heartbeat says for the next attempt, as JSON."""
PREVIEW_BYTES: Final = 256
"""What is recorded of the arguments of a call, unless all of them are: the beginning of their JSON."""
PROGRESS_CHARS: Final = 200
"""What a task says of its progress to people; more is cut off."""
SAID_BYTES: Final = DETAILS_BYTES + 2 * 1024
"""Both together."""
WHY_CHARS: Final = 8 * 1024
"""Why a run is blocked, with its diff; longer ones lose their middle."""
WHY_RUNS: Final = 20
"""Runs of which one request asks why they do not move."""
PAGE_BYTES: Final = 256 * 1024
"""Journal entries in one page, except that a single larger entry travels alone."""
TEXT_CHARS: Final = 1024
"""Any text in a request, if nothing longer is said of it."""
LIST_ITEMS: Final = 1000
"""Any list or object in a request, if nothing else is said of it."""
BATCH_RUNS: Final = 1000
"""Runs in one enqueue, status, watch or record request."""
RETRIED_RUNS: Final = 20
"""Runs in one retry, each with its family."""
FAMILY_RUNS: Final = 5_000
"""Runs that one of them brings along."""
FAMILY_ENTRIES: Final = 100_000
"""Entries of all their journals: what one commit can copy before whoever waits for it is answered."""
LISTED_BYTES: Final = 4 * 1024
"""A workflow's result in a list; a larger one is left out, and its size told."""
CURSOR_CHARS: Final = 2 * 1024
"""Where a list goes on: a workflow's name and a key, encoded."""
COUNTED_RUNS: Final = 10_000
"""Runs of a route that have ended alike are counted no further: one more is told as `capped`."""
FAMILY_DEPTH: Final = 100
"""Ancestors of one run."""
CLAIM_RUNS: Final = 200
"""Runs in one claim."""
UNIT_ITEMS: Final = 5_000
"""Entries, or attempts, of one unit."""
ROUTES: Final = 2_000
"""Routes that one worker serves."""
HANDED_RUNS: Final = 16
"""Runs on their way to one worker that nobody asked for."""
HANDED_BYTES: Final = 128 * 1024
"""Their inputs in one hand-over, except that a larger one travels alone."""
NAMED_WORKERS: Final = 5
"""Workers of a route that are named; all are counted."""
SLOTS_TOLD: Final = (1 << 31) - 1
"""Runs that a worker says it takes at once; one that takes more says so many."""
SUMMED_SESSIONS: Final = 50
"""Workers of a namespace that its summary shows; all are counted."""
SESSION_ROUTES: Final = 10
"""Routes of a worker that are named; all are counted."""
RATE_MINUTES: Final = 5
"""Of how many minutes a summary says what they have brought."""
LINE_CHARS: Final = 200
"""Why a run is blocked or has failed, in a line."""
FINGERPRINT_CHARS: Final = 64
"""What tells the code of one worker from another's."""
PARKED_ROUTES: Final = 100
"""Routes of which a worker takes runs unasked; those of others come by claims."""
DAEMONS: Final = 64
"""Daemons that hand over to one worker."""
LEAVE_SECONDS: Final = 2.0
"""For how long a Park holds."""
WAITED_WORDS: Final = 1_000
"""What one run can wait for at a time: names of events, and outcomes of what it sends. A park names these, and that it
sleeps."""
UNREAD_EVENTS: Final = 10_000
"""Unread events of one run."""
UNIT_TAKES: Final = 20_000
"""Arrivals that one unit consumes: more than a run can have unread, with the outcomes of all that one unit sends."""
UNREAD_WAKES: Final = 100
"""Unread wakes of one run that runs; more of them change nothing."""
CLAIMED_ARRIVALS: Final = 100
"""Arrivals that come along with a claimed run."""
TOLD_RUNS: Final = 1_000
"""Runs of which workers are told after one commit, or in one renewal's reply."""
TOLD_BYTES: Final = 32 * 1024
"""What has come, as far as it comes along with one word that it has."""
LOOKED_ITEMS: Final = 20
"""Tries, calls and branches of a run that a worker tells of which is asked what stands in its memory."""
LOOKED_MOST: Final = 200
"""Tries and calls that it tells whoever asks for more."""
LOOKED_BYTES: Final = 96 * 1024
"""What it tells then, at most."""
HELD_CLAIMS: Final = 12_000
"""Claims that one worker holds: as many as a renewal can name within MESSAGE_BYTES."""
ENTRIES_SOFT: Final = 5_000
ENTRIES_HARD: Final = 50_000
JOURNAL_BYTES_SOFT: Final = 10 * 1024 * 1024
JOURNAL_BYTES_HARD: Final = 50 * 1024 * 1024
LABELS: Final = 20
KEY_CHARS: Final = 256
"""An idempotency key; a label's value."""
KEY_SECONDS: Final = 10 * 365 * 86_400
"""For how long the result of a task's key may stand for runs to come."""
RETRY_BYTES: Final = 2_000
"""What is said of a run's own retry."""
SCHEDULES: Final = 1_000
"""Schedules that one manifest has."""
POLICIES: Final = 1_001
"""Workflows of which one manifest says how long their runs are kept, and all others."""
SLOTS: Final = 1_000
"""Slots of one backfill, and of what is shown of a schedule."""
QUEUED_SLOTS: Final = 100
"""Slots of one schedule that wait for a run of it to end."""
NOTE_CHARS: Final = 1_000
"""Why a schedule is paused."""
HINTS_PER_ROUTE: Final = 1_000
WATCH_SECONDS: Final = 60.0
"""For how long a run is watched after its enqueue or a `Watch`; whoever waits longer asks again."""
FOLLOWED_RUNS: Final = 20
"""Runs in one request of those who follow them in full."""
FOLLOWED_CALLS: Final = 200
"""Calls of a run that are told to them: those without an outcome, and of the others the newest."""
FOLLOWED_CHILDREN: Final = 1_000
"""Children of a run that are counted for them by state."""
ERROR_CHARS: Final = 200
"""Of what went wrong, the one line that they are told."""
