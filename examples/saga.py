"""A saga: a trip of three bookings, each taken back if a later one fails.

What is undone is plain Python: `except` around the bookings, and tasks in it. It is as durable as the rest. If the
worker dies half way through, another one goes on at the same point, and nothing that is on record is called off again.

    aiki worker start -f examples/aiki.yaml -m saga
    aiki enqueue book-trip traveller=Ada to=Vienna --wait
    aiki enqueue book-trip traveller=Ada to=Venice --key venice --wait      # fails
    aiki run history book-trip@venice
"""

from asyncio import CancelledError

from aiki import Fatal, WorkflowRun, task, workflow

SERVICES = ("flight", "hotel", "car")


def ask_partner(service: str, order: str, to: str) -> str:
    """Stand for a request to a partner's API."""
    if order == "book" and service == "car" and to == "Venice":
        raise Fatal("there are no cars in Venice")
    return f"{order} {service} {to}"


@task
def book(service: str, to: str, reference: str) -> str:
    return f"{ask_partner(service, 'book', to)}, {reference}"


@task
def call_off(service: str, to: str, reference: str) -> str:
    # A reference that the partner does not know, or has called off before, is no error: this may run a second time.
    return f"{ask_partner(service, 'call off', to)}, {reference}"


@workflow(name="book-trip")
async def book_trip(run: WorkflowRun, traveller: str, to: str) -> dict[str, str]:
    booked: dict[str, str] = {}
    begun: list[tuple[str, str]] = []
    try:
        for service in SERVICES:
            # Noted before the booking: one that failed may have reached the partner all the same.
            begun.append((service, f"{traveller}-{run.uuid().hex[:8]}"))
            booked[service] = await book.run(run, service, to, begun[-1][1])
    except (Exception, CancelledError):  # the latter is how a run's body hears that it is cancelled
        for service, reference in reversed(begun):
            await call_off.run(run, service, to, reference)
        raise
    return booked
