"""A poll that can go on for years: it looks every so often, and says what has changed.

What it has recorded would grow with each look, and be replayed whole whenever a worker takes it up. So now and then it
goes on as new: the same run, under the same key, from its first line, with what it has to know and an empty journal.
An event that comes meanwhile is there for its next wait.

    aiki worker start -f examples/aiki.yaml -m polling
    aiki enqueue watch parcel=AB-1 every=20ms --key AB-1 --wait
    aiki run history watch@AB-1
    aiki enqueue watch parcel=lost every=1h --key lost
    aiki event send watch@lost stopped
    aiki wait watch@lost
"""

from dataclasses import dataclass

from aiki import Event, EventTimeout, WorkflowRun, task, workflow

ENOUGH = 8
"""Entries after which it goes on as new: few, to be seen here; some thousands do."""
PLACES = ["sent", "in transit", "in transit", "at the depot", "at the depot", "delivered"]

stopped = Event("stopped")


@dataclass
class Known:
    place: str = ""
    looks: int = 0


@task
def look(parcel: str, looks: int) -> str:
    """Stand for a carrier's web page."""
    return "unknown" if parcel == "lost" else PLACES[min(looks // 2, len(PLACES) - 1)]


@task
def tell(parcel: str, place: str) -> str:
    return f"{parcel}: {place}"


@workflow(name="watch", events=[stopped])
async def watch(run: WorkflowRun, parcel: str, every: str = "1h", known: Known | None = None) -> str:
    known = known or Known()
    while True:
        place = await look.run(run, parcel, known.looks)
        known.looks += 1
        if place != known.place:
            known.place = place
            await tell.run(run, parcel, place)
        if place == "delivered":
            return f"delivered after {known.looks} looks, in generation {run.generation}"
        try:
            await run.wait_for(stopped, timeout=every)
        except EventTimeout:
            if run.journal_size.entries >= ENOUGH:
                watch.continue_as_new(run, parcel, every, known)
        else:
            return f"stopped after {known.looks} looks: {place}"
