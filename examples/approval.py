"""An approval: somebody is asked, reminded once, and the request expires if nobody decides.

A run that waits for an event holds no worker, be it for seconds or for weeks. A decision may come before the run has
got to its wait: it is kept. One that came in time is never overtaken by the timeout, and one that comes too late is
refused, with how the run ended. `tests/acceptance/examples/test_approval.py` tests 30 days of it in milliseconds.

    aiki worker start -f examples/aiki.yaml -m approval
    aiki enqueue approve-expense employee=Ada cents:=4200 --key trip-7
    aiki event send approve-expense@trip-7 decided ok:=true by=Grace
    aiki wait approve-expense@trip-7
    aiki event send approve-expense@trip-7 decided ok:=false by=Alan      # refused
    aiki enqueue approve-expense employee=Ada cents:=9900 remind_after=50ms expire_after=100ms --wait
"""

from dataclasses import dataclass

from aiki import Event, EventTimeout, WorkflowRun, task, workflow


@dataclass
class Decision:
    ok: bool
    by: str


decided = Event("decided", type=Decision)


@task
def ask(employee: str, cents: int, *, again: bool = False) -> str:
    # A mail with a link, whose page calls `await handle.send(decided, Decision(...), idempotency_key=...)`.
    return f"{'Again: ' if again else ''}may {employee} have {cents / 100:.2f}?"


@task
def pay(employee: str, cents: int) -> str:
    return f"{cents / 100:.2f} to {employee}"


@workflow(name="approve-expense", events=[decided])
async def approve_expense(
    run: WorkflowRun, employee: str, cents: int, remind_after: str = "2d", expire_after: str = "14d"
) -> dict[str, str]:
    await ask.run(run, employee, cents)
    try:
        decision = await run.wait_for(decided, timeout=remind_after)
    except EventTimeout:
        await ask.run(run, employee, cents, again=True)
        try:
            decision = await run.wait_for(decided, timeout=expire_after)
        except EventTimeout:
            return {"status": "expired"}
    if not decision.ok:
        return {"status": "refused", "by": decision.by}
    return {"status": "paid", "by": decision.by, "transfer": await pay.run(run, employee, cents)}
