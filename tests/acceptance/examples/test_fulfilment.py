"""An order whose payment and delivery are runs of their own: in order, cancelled in the middle, and failed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aiki import Client, Handle, RunCancelled, State
from examples.fulfilment import fulfil_order, handed_over
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio


async def family(client: Client, order: Handle[dict[str, str]]) -> Mapping[str, str]:
    """Return the payment and the delivery of an order, by workflow, once both wait for what comes of it."""

    async def waiting() -> Mapping[str, str]:
        found = (await client.runs.list(parent=order.run_id, labels={"order": "o-7"})).runs
        ready = {run.workflow: run.run_id for run in found if run.tasks == 1}
        return ready if len(ready) == 2 else {}

    return await wait_until(waiting, what="payment and delivery")


async def done(client: Client, run_id: str) -> list[str]:
    """Return what the tasks of a run came to, in order."""
    return [entry.value async for entry in client.runs.history(run_id) if entry.task and entry.move == "entry"]


async def test_an_order_is_paid_for_when_its_parcel_is_handed_over(client: Client) -> None:
    order = await fulfil_order.enqueue(client, "o-7", 4200)
    children = await family(client, order)
    await order.send(handed_over, "Ada")
    result = await order.result(timeout=ENOUGH)
    assert result["parcel"] == "parcel of o-7 to Ada"
    assert result["receipt"].startswith("42.00 for o-7 under ")
    assert {run.state for run in await client.runs.status(children.values())} == {State.COMPLETED}


async def test_an_order_that_is_cancelled_in_the_middle_takes_back_its_payment_and_its_parcel(client: Client) -> None:
    order = await fulfil_order.enqueue(client, "o-7", 4200)
    children = await family(client, order)
    await order.cancel(reason="ordered twice", wait=ENOUGH)
    with pytest.raises(RunCancelled):
        await order.result(timeout=ENOUGH)
    assert {run.state for run in await client.runs.status(children.values())} == {State.CANCELLED}
    assert (await done(client, children["take-payment"]))[1:] == ["42.00 for o-7 given back"]
    assert await done(client, children["deliver"]) == ["parcel of o-7", "parcel of o-7 called back"]


async def test_a_delivery_that_is_cancelled_takes_its_order_along_and_that_the_payment(client: Client) -> None:
    order = await fulfil_order.enqueue(client, "o-7", 4200)
    children = await family(client, order)
    await client.runs.cancel(children["deliver"], reason="the parcel is lost")
    await order.send(handed_over, "nobody")

    async def ended() -> bool:
        return all(run.ended for run in await client.runs.status([order.run_id, *children.values()]))

    await wait_until(ended, what="the end of all")
    assert (await order.status()).state is State.FAILED
    assert (await done(client, children["take-payment"]))[1:] == ["42.00 for o-7 given back"]
