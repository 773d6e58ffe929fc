"""Idempotency keys, all three kinds: of a run, of a task, and the one that a task hands to other services.

A run's key makes `enqueue` safe to repeat: same key and same input are the same run, another input is a Conflict.
A task's key makes two calls in one run share one execution. `task_run().idempotency_key` stays the same over
attempts, crashes and workers: give it to whoever must not do a thing twice.

    aiki worker start -f examples/aiki.yaml -m keys
    aiki enqueue pay-invoice invoice=i-7 cents:=4200 --key i-7 --wait
    aiki enqueue pay-invoice invoice=i-7 cents:=4200 --key i-7 --wait      # the same run, the same result
    aiki enqueue pay-invoice invoice=i-7 cents:=9999 --key i-7             # refused
"""

import asyncio

from aiki import WorkflowRun, task, task_run, workflow


@task
async def pay(invoice: str, cents: int) -> str:
    # A bank's API would get this key, and answer a second call with it from its books.
    return f"paid {cents} for {invoice} under {task_run().idempotency_key}"


@task
def look_up_rate(currency: str) -> str:
    # The key of this try differs from call to call, unless the calls share one execution.
    return f"{currency} by {task_run().idempotency_key}"


@workflow(name="pay-invoice")
async def pay_invoice(run: WorkflowRun, invoice: str, cents: int) -> dict[str, str]:
    once = look_up_rate.options(idempotency_key="rate")
    mine, yours = await asyncio.gather(once.run(run, "EUR"), once.run(run, "EUR"))
    return {"paid": await pay.run(run, invoice, cents), "rates": "the same" if mine == yours else "two"}
