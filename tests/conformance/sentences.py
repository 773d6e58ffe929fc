"""Own the sentences by which runs live, each with the name that scenarios show it by.

What a scenario cannot show, since no client sees it or since it takes a race, is named with the test that does.
"""

from __future__ import annotations

from typing import Final

SHOWN: Final = {
    # What reaches a run
    "arrivals.one-way": "Events, ends of children, cancels, outcomes of sends and wakes come in by one way.",
    "arrivals.wakes": "What a resting run waits for queues it, and nothing else does.",
    "arrivals.order": "Each comes later than the one before; waits are served in the order asked, and one whose count"
    " is not reached holds back nobody.",
    "arrivals.once": "A repeated send is taken once, also after it was consumed; another value is refused.",
    "arrivals.fold": "What one unit sends is there with it, to itself too.",
    # Timers
    "timers.asked": "A timer that a run waits beside an event with fires at its date if nothing came before it.",
    "timers.early": "What came up to its date comes first, what came later does not, whenever somebody serves.",
    # Families
    "families.start": "A child's start and its parent's unit are both there, or neither is; no replay starts it again.",
    "families.fold": "Ends of many children are one entry of whoever waits for all.",
    "families.priority": "A child's priority is its parent's unless given.",
    "families.attach": "A start meets the run that has its key: its end is seen, it is not cancelled with who met it.",
    "families.close": "With its parent's end a child is cancelled, goes on, or has been waited for.",
    "families.pause": "A pause does not run down a family.",
    # Cancel
    "cancel.at-once": "Who was never claimed, or is blocked, is cancelled at once; any other is told and queued.",
    "cancel.two-entries": "A cancel is two entries, the word and the interruption.",
    "cancel.children": "With the word all owned children are told, and they are waited for before the interruption.",
    "cancel.tries": "The interruption comes when no try runs any more, or their grace is over.",
    "cancel.repeats-no-task": "A claim that finds a cancel repeats no task.",
    "cancel.once": "A try that may begin but once and was cut off has an unknown outcome.",
    "cancel.compensation": "The body may run tasks and sleep in its handlers, without limit.",
    "cancel.timeout": "With a cancel timeout it has so long, and ends without its code then.",
    "cancel.force": "By force it ends at once.",
    "cancel.ends-so": "Once interrupted it ends cancelled, though its body returns.",
    "cancel.answer": "A cancel is answered by what is asked of the run; the end says whether it was too late.",
    "cancel.second": "A second cancel, or a deadline behind one, interrupts no compensation.",
    "cancel.shield": "A shield shields.",
    # Deadline
    "deadline.two-entries": "A deadline is the same two entries, with its own reason, and ends the run as failed.",
    "deadline.never-claimed": "Who was never claimed is ended at its deadline.",
    "deadline.no-worker": "Without a worker it is ended hard when its cancel timeout is over, too.",
    "deadline.default-grace": "That is five minutes, if nothing is said.",
    "deadline.paused": "A paused run stays paused: word and hard end wait for the resume.",
    # Retry
    "retry.cut": "A retry goes on from what failed the body, of a group from the first in the journal.",
    "retry.from-task": "Or from the first entry of a task that is named.",
    "retry.cancelled": "Of one that was cancelled or timed out, from just before that word.",
    "retry.copied": "Before the cut the journal is copied.",
    "retry.known": "Results behind the cut of what was asked before it are known; what failed runs again.",
    "retry.children": "A child that failed or was cancelled is retried with its parent, never made anew.",
    "retry.events": "Events that were consumed behind the cut are unread again, in their order.",
    "retry.sends": "Sends and look-ups by key reach the newest retry.",
    "retry.times": "What is pending moves by the time between failure and retry; a timeout is whole again.",
    "retry.compensation": "What was completed behind the cut refuses the retry, unless it is kept or forced.",
    "retry.from-start": "From the start is a new generation, with other idempotency keys.",
    "retry.input": "Another input copies nothing, but priority and labels.",
    "retry.again": "A task that may begin but once begins again only where it is named.",
    "retry.own": "A workflow's own retry stays in its run and generation.",
    "retry.own-start": "From the start it raises the generation.",
    "retry.fatal": "A fatal error ends it.",
    # Pause, wake, generations
    "pause.rests": "A pause starts nothing more, lets tries end, and outlives the claim that it came in.",
    "pause.wake": "A wake ends a sleep early, or the wait for the first start, never a timeout.",
    "onward.swap": "A run that goes on as new keeps its id, key, labels, priority and deadline.",
    "onward.arrivals": "Unread arrivals stay.",
    "onward.cancel": "A cancel reaches the generation that goes on; behind its delivery none begins.",
    "onward.children": "Children of earlier generations wake nobody.",
    "onward.version": "Another version goes on from there.",
    # Keys, claims, crashes
    "keys.conflict": "What holds a key is met, retried, restarted or a conflict, by its input, its end and the policy.",
    "keys.send": "A first event is there with the run, or refused with it.",
    # Keys of tasks across runs
    "shared.once": "A task with a key that several runs share is tried once, and its result is that of all.",
    "shared.next": "Who has the key and fails, gives it up, dies, is cancelled or held hands it on.",
    "shared.key": "Whoever has it, the task sees one key for its own services.",
    "shared.input": "Another input is a conflict, which names the run that has the key.",
    "shared.scope": "The key is one in its workflow, or in its namespace.",
    "shared.expires": "A result stands for its time.",
    "shared.no-circle": "Nobody has a key and waits with it for another one.",
    # Claims, crashes
    "claims.order": "Claims go by priority, within one by who has begun, then by age.",
    "crash.not-again": "A committed result's task starts no more; one whose worker died inside it starts again.",
    "crash.key": "Under its first idempotency key.",
    "crash.back-off": "From the second crash without progress on a run waits before it goes on.",
    "crash.blocked": "A body that goes another way than its journal is blocked, and goes on when it is resumed.",
    "crash.drain": "What a worker gives back counts as no crash.",
    # Schedules
    "schedules.slot": "Each slot is one run, which knows it.",
    "schedules.cron": "Crons go by the clocks of their zone.",
    "schedules.overlap": "A slot that meets an open run is skipped, waits, cancels it, or starts beside it.",
    "schedules.open": "Paused, blocked, retried and continued runs are open, and those whose children go on.",
    "schedules.kinds": "Triggers and backfills have slots of their own kind.",
    "schedules.catch-up": "Of late slots none, the latest or all are fired, within a window.",
    "schedules.pause": "Resuming never back-fires by itself.",
    "schedules.jitter": "Jitter moves runs, not slots.",
}
ELSEWHERE: Final = {
    "Whoever holds a run is told of what has come, also if the push is lost.": "integration/worker/test_news.py",
    "One statement locks all that a batch changes, and folds that.": "integration/daemon/test_arrivals.py",
    "Sets in other tables are older than the lock.": "integration/daemon/test_family_meetings.py",
    "At most 10,000 events are unread; consumed ones stay for a day.": "integration/daemon/test_pruner.py",
    "A claim brings counts, and at most a hundred heads.": "integration/daemon/test_families.py",
    "At most a thousand are told in a commit.": "integration/daemon/test_errands.py",
    "A timer's answer raises the time of what comes next.": "integration/daemon/test_asked_timers.py",
    "Between the two entries of a cancel only outcomes are recorded.": "unit/execution/test_cancels.py",
    "A run that kills its worker five times is blocked.": "integration/daemon/test_rules.py",
    "Zone data may change between two firings.": "unit/rules/test_scheduling.py",
}
