"""An order of two child workflows, payment and delivery, each of which takes itself back when the order is cancelled.

A cancel runs through a family: the order is told, and tells both; each takes back what it has done, and when they have
ended, the order ends, too. What a child does to take itself back is its own affair, and is written where it did it.

    aiki worker start -f examples/aiki.yaml -m fulfilment
    aiki enqueue fulfil-order order=o-1 cents:=4200 --key o-1
    aiki event send fulfil-order@o-1 handed-over -p '"Ada"'
    aiki wait fulfil-order@o-1
    aiki enqueue fulfil-order order=o-2 cents:=9900 --key o-2
    aiki run cancel fulfil-order@o-2 --reason "ordered twice"
    aiki run show fulfil-order@o-2 --tree
"""

from asyncio import CancelledError

from aiki import Event, WorkflowRun, task, task_run, workflow

handed_over = Event("handed-over", type=str)
delivered = Event("delivered")


@task
def charge(order: str, cents: int) -> str:
    return f"{cents / 100:.2f} for {order} under {task_run().idempotency_key[:8]}"


@task
def refund(order: str, cents: int) -> str:
    return f"{cents / 100:.2f} for {order} given back"


@task
def send_parcel(order: str) -> str:
    return f"parcel of {order}"


@task
def call_back(parcel: str) -> str:
    return f"{parcel} called back"


@workflow(name="take-payment", events=[delivered])
async def take_payment(run: WorkflowRun, order: str, cents: int) -> str:
    try:
        receipt = await charge.run(run, order, cents)
        await run.wait_for(delivered)  # until then the money is not ours
    except CancelledError:
        await refund.run(run, order, cents)  # it may have been taken, even if we do not know
        raise
    return receipt


@workflow(name="deliver", events=[handed_over])
async def deliver(run: WorkflowRun, order: str) -> str:
    parcel = await send_parcel.run(run, order)
    try:
        who = await run.wait_for(handed_over)
    except CancelledError:
        await call_back.run(run, parcel)
        raise
    return f"{parcel} to {who}"


@workflow(name="fulfil-order", events=[handed_over])
async def fulfil_order(run: WorkflowRun, order: str, cents: int) -> dict[str, str]:
    # With "wait" the order ends after them; a cancel tells them all the same.
    payment = await take_payment.options(labels={"order": order}, parent_close="wait").start(run, order, cents)
    delivery = await deliver.options(labels={"order": order}, parent_close="wait").start(run, order)
    try:
        await delivery.send(handed_over, await run.wait_for(handed_over))  # the carrier knows the order alone
        parcel = await delivery.result()
    except Exception as error:
        await payment.cancel(reason=f"not delivered: {error}")
        raise
    await payment.send(delivered)
    return {"parcel": parcel, "receipt": await payment.result()}
