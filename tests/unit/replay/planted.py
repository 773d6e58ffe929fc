"""One workflow as it ran, and what may become of its code: each change under the name and version of the old one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec

from aiki import Event, EventTimeout, Fatal, Retry, TaskFailed, WorkflowRun, task, workflow
from aiki.definitions.workflow import Workflow

P = ParamSpec("P")
approved, renamed_approved = Event("approved", type=str), Event("confirmed", type=str)
approved_by_number, rejected = Event("approved", type=int), Event("rejected", type=str)


@task
async def charge(cents: int, currency: str = "eur") -> str:
    return f"ch-{cents}-{currency}"


@task
async def ship(part: str) -> bool:
    return True


@task
async def note(text: str) -> None:
    """Be called by new code."""


@workflow(name="charge", version="1")
async def charge_as_child(run: WorkflowRun, cents: int) -> str:
    return await charge.run(run, cents)


CHANGES: dict[str, tuple[Workflow[..., Any], str]] = {}
"""By its name the new code, and what is found of a run with so many entries, 0 first: compatible `=`, diverges `x`,
would go on differently `~`, unknown `?`. The last sign is that of the run that has ended."""


def change(
    found: str, *, retry: Retry | None = None
) -> Callable[[Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, str]]], Workflow[P, str]]:
    """Name a body as what became of `order`."""

    def planted(body: Callable[Concatenate[WorkflowRun, P], Coroutine[Any, Any, str]]) -> Workflow[P, str]:
        new = workflow(name="order", version="1", retry=retry or Retry.none())(body)
        assert body.__name__ not in CHANGES
        CHANGES[body.__name__] = new, found
        return new

    return planted


@workflow(name="order", version="1")
async def order(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    who = await run.wait_for(approved, timeout="1d")
    a, b = await asyncio.gather(ship.run(run, "a"), ship.run(run, "b"))
    return f"{id} {paid} {who} {a} {b}"


async def rest(run: WorkflowRun, id: str, paid: str) -> str:
    """Go on behind the first entry as ever."""
    await run.sleep("10m")
    return await behind_the_timer(run, id, paid)


async def behind_the_timer(run: WorkflowRun, id: str, paid: str) -> str:
    who = await run.wait_for(approved, timeout="1d")
    return await delivered(run, id, paid, who)


async def delivered(run: WorkflowRun, id: str, paid: str, who: str) -> str:
    a, b = await asyncio.gather(ship.run(run, "a"), ship.run(run, "b"))
    return f"{id} {paid} {who} {a} {b}"


@change("======")
async def nothing(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.run(run, cents))


@change("=xxxxx")
async def inserted_in_front(run: WorkflowRun, id: str, cents: int) -> str:
    await note.run(run, "new")
    return await rest(run, id, await charge.run(run, cents))


@change("==xxxx")
async def inserted_in_the_middle(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await note.run(run, "new")
    return await rest(run, id, paid)


@change("=====~")
async def added_at_the_end(run: WorkflowRun, id: str, cents: int) -> str:
    told = await rest(run, id, await charge.run(run, cents))
    await note.run(run, "new")
    return told


@change("=xxxxx")
async def removed_first(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, "unpaid")


@change("====xx")
async def removed_last(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    return f"{id} {paid} {await run.wait_for(approved, timeout='1d')}"


@change("=x====")
async def reordered(run: WorkflowRun, id: str, cents: int) -> str:
    await run.sleep("10m")
    return await behind_the_timer(run, id, await charge.run(run, cents))


@change("=xxxxx")
async def other_input(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.run(run, cents + 1))


@task(name="charge")
async def charge_for_number(cents: int, currency: str = "eur") -> int:
    return cents


@change("=xxxxx")
async def other_type_of_result(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, f"ch-{await charge_for_number.run(run, cents)}-eur")


@task(name="take-payment")
async def take_payment(cents: int, currency: str = "eur") -> str:
    return f"ch-{cents}-{currency}"


@change("=xxxxx")
async def renamed_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await take_payment.run(run, cents))


@task(name="charge")
async def pay(cents: int, currency: str = "eur") -> str:
    return f"ch-{cents}-{currency}"


@change("======")
async def renamed_function_of_a_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await pay.run(run, cents))


@task(name="charge")
async def charge_in_dollars(cents: int, currency: str = "usd") -> str:
    return f"ch-{cents}-{currency}"


@change("======")
async def changed_default(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge_in_dollars.run(run, cents))


@task(name="charge")
async def charge_with_memo(cents: int, currency: str = "eur", memo: str | None = None) -> str:
    return f"ch-{cents}-{currency}-{memo}"


@change("======")
async def new_parameter_of_a_task_with_a_default(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge_with_memo.run(run, cents))


@change("======")
async def new_parameter_with_a_default(run: WorkflowRun, id: str, cents: int, express: bool = False) -> str:
    return await rest(run, id, await charge.run(run, cents))


@change("xxxxxx")
async def new_parameter_without_a_default(run: WorkflowRun, id: str, cents: int, express: bool) -> str:
    return await rest(run, id, await charge.run(run, cents))


@change("xxxxxx")
async def other_type_of_a_parameter(run: WorkflowRun, id: str, cents: str) -> str:
    return await rest(run, id, await charge.run(run, int(cents)))


@change("==xxxx")
async def longer_timer(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("20m")
    return await behind_the_timer(run, id, paid)


@change("==xxxx")
async def removed_timer(run: WorkflowRun, id: str, cents: int) -> str:
    return await behind_the_timer(run, id, await charge.run(run, cents))


@change("==xxxx")
async def timer_until_a_date(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep_until(run.now() + timedelta(minutes=10))
    return await behind_the_timer(run, id, paid)


@change("===xxx")
async def renamed_event(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    return await delivered(run, id, paid, await run.wait_for(renamed_approved, timeout="1d"))


@change("===xxx")
async def other_type_of_an_event(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    return await delivered(run, id, paid, str(await run.wait_for(approved_by_number, timeout="1d")))


@change("===xxx")
async def other_timeout_of_an_event(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    return await delivered(run, id, paid, await run.wait_for(approved, timeout="2d"))


@change("===xxx")
async def one_of_two_events(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    return await delivered(run, id, paid, (await run.wait_any(approved, rejected, timeout="1d")).value)


@change("=xxxxx")
async def child_instead_of_a_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge_as_child.run(run, cents))


@change("======")
async def branch_on_the_time_of_the_run(run: WorkflowRun, id: str, cents: int) -> str:
    if run.now().year > 2_500:
        await note.run(run, "late")
    return await rest(run, id, await charge.run(run, cents))


@change("=xxxxx")
async def branch_on_the_clock(run: WorkflowRun, id: str, cents: int) -> str:
    if time.time() > 1_000_000_000:
        await note.run(run, "late")
    return await rest(run, id, await charge.run(run, cents))


@change("======")
async def other_retry_of_a_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.options(retry=Retry.none()).run(run, cents))


@change("======")
async def other_options_of_a_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.options(timeout="5s", cancel_grace="1s").run(run, cents))


@change("=xxxxx")
async def key_of_a_task(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.options(idempotency_key=id).run(run, cents))


@change("======", retry=Retry.fixed(5, "1m"))
async def own_retry(run: WorkflowRun, id: str, cents: int) -> str:
    return await rest(run, id, await charge.run(run, cents))


@change("======")
async def other_order_in_a_gather(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    who = await run.wait_for(approved, timeout="1d")
    b, a = await asyncio.gather(ship.run(run, "b"), ship.run(run, "a"))
    return f"{id} {paid} {who} {a} {b}"


@change("======")
async def one_after_the_other(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    who = await run.wait_for(approved, timeout="1d")
    a = await ship.run(run, "a")
    return f"{id} {paid} {who} {a} {await ship.run(run, 'b')}"


@change("=====~")
async def one_more_in_a_gather(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    await run.sleep("10m")
    who = await run.wait_for(approved, timeout="1d")
    a, b, _ = await asyncio.gather(*(ship.run(run, part) for part in "abc"))
    return f"{id} {paid} {who} {a} {b}"


@change("======")
async def patched_in_front(run: WorkflowRun, id: str, cents: int) -> str:
    if run.patched("note-first"):
        await note.run(run, "new")
    return await rest(run, id, await charge.run(run, cents))


@change("======")
async def patched_at_the_end(run: WorkflowRun, id: str, cents: int) -> str:
    told = await rest(run, id, await charge.run(run, cents))
    if run.patched("note-last"):
        await note.run(run, "new")
        return "new"
    return told


@change("======")
async def labels_set(run: WorkflowRun, id: str, cents: int) -> str:
    run.set_labels({"step": "paid"})
    return await rest(run, id, await charge.run(run, cents))


@change("======")
async def try_and_except(run: WorkflowRun, id: str, cents: int) -> str:
    try:
        paid = await charge.run(run, cents)
    except TaskFailed as error:
        raise Fatal("not paid") from error
    try:
        return await rest(run, id, paid)
    except EventTimeout:
        return "expired"


@change("=====~")
async def goes_on_as_new(run: WorkflowRun, id: str, cents: int) -> str:
    goes_on_as_new.continue_as_new(run, await rest(run, id, await charge.run(run, cents)), 0)


@change("=====~")
async def other_result(run: WorkflowRun, id: str, cents: int) -> str:
    return (await rest(run, id, await charge.run(run, cents))).upper()


@change("=====~")
async def raises_at_the_end(run: WorkflowRun, id: str, cents: int) -> str:
    raise ValueError(await rest(run, id, await charge.run(run, cents)))


@change("=~xxxx")
async def raises_behind_the_first(run: WorkflowRun, id: str, cents: int) -> str:
    raise AttributeError(await charge.run(run, cents))


@change("==xxxx")
async def never_rests(run: WorkflowRun, id: str, cents: int) -> str:
    await charge.run(run, cents)
    while True:  # noqa: ASYNC110 - on purpose
        await asyncio.sleep(0)


@change("??????")
async def imports_what_is_missing(run: WorkflowRun, id: str, cents: int) -> str:
    import a_module_that_is_not_here  # type: ignore[import-not-found]

    return await rest(run, id, a_module_that_is_not_here.charge(cents))


@change("=?????")
async def imports_later_what_is_missing(run: WorkflowRun, id: str, cents: int) -> str:
    paid = await charge.run(run, cents)
    import a_module_that_is_not_here

    return await rest(run, id, a_module_that_is_not_here.of(paid))
