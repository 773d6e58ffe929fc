"""Process an order: check it, reserve stock, charge the card, write the invoice, wait a little, done.

What a task returned is committed before the next line runs, so a run that loses its worker goes on with the first
task that has no committed result, on any other worker.

    aiki worker start -f examples/orders/aiki.yaml -m orders
    aiki enqueue process-order --from examples/orders/orders.csv --key-field id
"""

import asyncio
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aiki import Retry, WorkflowRun, task, task_run, workflow
from examples.orders.shop import Shop

COOLING_OFF = "750ms"
"""How long a customer may think again: a durable timer. In a real shop it says "14d", and holds no worker either."""
ANSWER_SECONDS = 0.12
"""How long the gateway's answer is on its way, after it has taken the money."""


@dataclass
class Order:
    """One row of orders.csv."""

    id: str
    customer: str
    email: str
    sku: str
    quantity: int
    unit_cents: int

    @property
    def cents(self) -> int:
        return self.quantity * self.unit_cents


def check(order: Order) -> None:
    """Refuse an order that makes no sense. Pure, so it is no task: it may run again on replay."""
    if order.quantity < 1 or order.unit_cents < 1:
        raise ValueError(f"order {order.id}: {order.quantity} pieces for {order.unit_cents} cents each")


@task  # a plain `def` runs in a thread
def reserve(order: Order) -> int:
    """Take the goods off the shelf; return how many are left."""
    shop().note_start("reserve", order.id)
    return shop().reserve(order.id, order.sku, order.quantity)


@task(retry=Retry.exponential(max_attempts=5, base_delay="200ms"), timeout="10s")
async def charge(order_id: str, cents: int) -> str:
    """Charge the card and return the gateway's receipt.

    A worker may die after the gateway took the money and before its answer came. Then this runs again, with the same
    key, and the gateway answers from its books.
    """
    await asyncio.to_thread(shop().note_start, "charge", order_id)
    receipt = await asyncio.to_thread(shop().charge, task_run().idempotency_key, order_id, cents)
    await asyncio.sleep(ANSWER_SECONDS)
    return receipt


@task
def write_invoice(order: Order, receipt: str) -> str:
    """Write the invoice and return its file name. Whoever looks sees a whole file or none."""
    shop().note_start("write_invoice", order.id)
    return shop().write_invoice(
        f"{order.id}.txt",
        f"Invoice for order {order.id}\n"
        f"{order.customer} <{order.email}>\n\n"
        f"{order.quantity:4} x {order.sku:20} {order.unit_cents / 100:10.2f}\n"
        f"total {order.cents / 100:31.2f}\n\n"
        f"paid, receipt {receipt}\n",
    )


@workflow(name="process-order", version="1")
async def process_order(
    run: WorkflowRun, id: str, customer: str, email: str, sku: str, quantity: int, unit_cents: int
) -> dict[str, str]:
    """Take one order from the CSV to its invoice."""
    order = Order(id, customer, email, sku, quantity, unit_cents)
    check(order)
    await reserve.run(run, order)
    receipt = await charge.run(run, order.id, order.cents)
    invoice = await write_invoice.run(run, order, receipt)
    await run.sleep(COOLING_OFF)
    return {"receipt": receipt, "invoice": invoice}


@cache
def shop() -> Shop:
    """Return this process's door to the shop's books in SHOP_HOME."""
    return Shop(Path(os.environ.get("SHOP_HOME", ".shop")))
