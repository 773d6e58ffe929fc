"""Planted mistakes: type checkers must report each line marked `# E`, and no other. Never executed."""

from datetime import UTC

from aiki.client.blocking import BlockingClient
from aiki.client.client import Client
from aiki.client.when import When
from aiki.definitions.handle import Handle
from aiki.definitions.task import task
from aiki.definitions.workflow import workflow
from aiki.inside.child import Child
from aiki.inside.event import BoundEvent, Event, Message
from aiki.inside.task_run import task_run
from aiki.inside.workflow_run import WorkflowRun
from aiki.testing import TestEnv
from aiki.worker import Worker
from tests.typing.flows import Order, approved, charge, choice, comment, count, ping, poll, process, rejected, ship


def events() -> None:
    Event()  # E
    Event(approved)  # E
    Event("x", str)  # E
    Event("x", type=7)  # E
    typed: Event[int] = Event("x", type=str)  # E
    widened: Event[str | None] = approved  # E
    carries: Event[str] = Event("x")  # E
    approved.bind()  # E
    approved.bind(1)  # E
    approved.bind(value="x")  # E
    ping.bind("x")  # E
    comment.bind(5)  # E
    choice.bind("c")  # E
    rejected.bind("no stock")  # E
    bound: BoundEvent[int] = approved.bind("x")  # E
    approved.bind("x").value = "y"  # E
    print(typed, widened, carries, bound)


@workflow
async def flow(run: WorkflowRun, order: Order) -> int:
    await charge.run(run)  # E
    await charge.run(run, "a")  # E
    await charge.run(run, order, "note")  # E
    await charge.run(run, order, nope="note")  # E
    await charge.run(order)  # E
    await ship.run(run, order)  # E
    number: int = await charge.run(run, order)  # E
    await process(run, order)  # E
    charge.options(idempotency_key=5)  # E
    charge.options(timeout=20)  # E
    charge.options(priority=3)  # E
    charge.options(idempotency_scope="all")  # E
    charge.options(idempotency_retention=30)  # E
    ship.options(retry="often")  # E
    process.options(retry="often")  # E
    process.options(retry_from="middle")  # E
    text: str = await run.sleep("1m")  # E
    return f"{number} {text}"  # E


@workflow
async def talks(run: WorkflowRun) -> None:
    run.set_labels({"a": 1})  # E
    run.set_labels(stage="printing")  # E
    number: int = await run.wait_for(approved)  # E
    text: str = await run.wait_for(comment)  # E
    await run.wait_for("approved")  # E
    await run.wait_for()  # E
    await run.wait_for(approved, "7d")  # E
    await run.wait_for(approved, timeout=7)  # E
    await run.wait_for(approved, count="3")  # E
    await run.wait_for(approved.bind("x"))  # E
    await run.wait_for(approved, rejected)  # E
    votes: list[str] = await run.wait_for(approved, count=3, timeout=3)  # E
    await run.wait_any()  # E
    await run.wait_any([approved, rejected])  # E
    await run.wait_any(approved, rejected, count=2)  # E
    message: Message[str] = await run.wait_any(approved, rejected)  # E
    await run.send("id", approved)  # E
    await run.send("id", approved, 5)  # E
    await run.send("id", ping, "x")  # E
    await run.send("id", approved.bind("x"))  # E
    print(number, text, votes, message)


# Each in a body of its own: what follows one is unreachable.
async def goes_on_with_nothing(run: WorkflowRun) -> int:
    poll.continue_as_new(run)  # E


async def goes_on_with_another_type(run: WorkflowRun) -> int:
    poll.continue_as_new(run, "o-1")  # E


async def goes_on_without_its_run(order: Order) -> int:
    poll.continue_as_new(order)  # E


async def goes_on_by_place(run: WorkflowRun, order: Order) -> int:
    poll.continue_as_new(run, order, 1)  # E


async def goes_on_by_another_name(run: WorkflowRun, order: Order) -> int:
    poll.continue_as_new(run, order, sen=1)  # E


async def may_not_go_on(run: WorkflowRun, order: Order, seen: int) -> int:  # E
    if seen < 3:
        poll.continue_as_new(run, order, seen=seen)


async def compares_a_size(run: WorkflowRun) -> bool:
    print(run.schedule.slot)  # E
    return run.journal_size > 4_000  # E


async def families(run: WorkflowRun, order: Order, client: Client) -> None:
    await count.run()  # E
    await count.run(client)  # E
    await count.run(run, order)  # E
    await process.start(order)  # E
    await process.start(run)  # E
    await process.start(run, "a")  # E
    await process.start(client, order)  # E
    await process.start(run, order, expres=True)  # E
    process.start(run, order)  # E
    process.options(parent_close="stay")  # E
    c = await count.start(run)
    lines: int = await c.result()  # E
    text: str = c.result()  # E
    print((await c.result()).upper())  # E
    print(len(c.result()))  # E
    await c.result(timeout="1m")  # E
    await c.result  # E
    c.cancel()  # E
    await c.cancel("no stock")  # E
    await c.cancel(force=True)  # E
    await c.pause()  # E
    c.run_id = "other"  # E
    await c  # E
    await c.send(ping, 1)  # E
    await c.send(rejected, "x")  # E
    await c.send(approved)  # E
    await c.send("approved", "x")  # E
    c.send(approved, "x")  # E
    wrong: Child[str] = c  # E
    await run.all(c)  # E
    await run.all([count.start(run)])  # E
    await run.all(await c.result())  # E
    await run.all([count.bind()])  # E
    await run.all([client.handle("id")])  # E
    run.all([c])  # E
    total: list[int] = await run.all([c])  # E
    child: Child[list[int]] = await count.run(run)  # E
    print(lines, text, wrong, total, child)


@task(timeout=20)  # E
def one(x: int) -> int:
    return x


@task(executor="gpu")  # E
def two(x: int) -> int:
    return x


@workflow  # E
async def no_run(order: Order) -> None: ...


@workflow(version=1)  # E
async def number_version(run: WorkflowRun) -> None: ...


@workflow  # E
def not_async(run: WorkflowRun) -> int:
    return 1


async def application(client: Client, order: Order) -> None:
    await process.enqueue(order)  # E
    await process.enqueue(client)  # E
    await process.enqueue(client, "a")  # E
    await process.enqueue(client, order, True)  # E
    await count.enqueue(client, order)  # E
    process.bind(order, express="yes")  # E
    process.bind(run=None, order=order)  # E
    process.options(priority="high")  # E
    process.options(on_conflict="replace")  # E
    process.options(labels={"a": 1})  # E
    process.options(start_at="tomorrow")  # E
    handle = await process.enqueue(client, order)
    text: str = await handle.result()  # E
    numbers: dict[str, int] = await process.handle(client, "id").result()  # E
    await client.enqueue_many([order])  # E
    result: str = ship("a")  # E
    charged: str = charge(order)  # E
    print(text, numbers, result, charged)


async def senders(client: Client, blocking: BlockingClient) -> None:
    handle = count.handle(client, "id")
    await handle.send(approved)  # E
    await handle.send(approved, 5)  # E
    await handle.send("approved", "alice")  # E
    await handle.send(ping, "x")  # E
    await handle.send(rejected, "no stock")  # E
    await handle.send(approved.bind("alice"))  # E
    await client.runs.send("id", approved, key="x")  # E
    await client.runs.send(["id"], approved)  # E
    blocking.handle("id").send(approved, 5)  # E
    workflow(name="ask", events=["approved"])  # E
    count.options(send=approved)  # E
    workflow(name="ask", events=approved)  # E


async def retriers(client: Client, order: Order) -> None:
    handle = count.handle(client, "id")
    await handle.retry(input=process.bind(order))  # E
    await handle.retry(from_task="ship", input=count.bind())  # E
    await handle.retry(from_task=ship)  # E
    await handle.retry(from_start="yes")  # E
    await client.runs.retry_batch(["id"], limit="5")  # E
    count.options(on_conflict="replace")  # E


async def schedules(client: Client, blocking: BlockingClient, order: Order) -> None:
    made = client.schedules
    await made.create("nightly", process, cron="0 2 * * *")  # E
    await made.create("nightly", process.bind(), cron="0 2 * * *")  # E
    await made.create("nightly", process.bind(order))  # E
    await made.create(process.bind(order), cron="0 2 * * *")  # E
    await made.create("nightly", process.bind(order), cron=2)  # E
    await made.create("nightly", process.bind(order), cron="0 2 * * *", timezone=UTC)  # E
    await made.create("nightly", process.bind(order), cron="0 2 * * *", every="15m")  # E
    await made.create("nightly", process.bind(order), every=15)  # E
    await made.create("nightly", process.bind(order), every="15m", timezone="Europe/Berlin")  # E
    await made.create("nightly", process.bind(order), at="tomorrow")  # E
    await made.create("nightly", process.bind(order), cron="0 2 * * *", overlap="replace")  # E
    await made.create("nightly", process.bind(order), cron="0 2 * * *", catch_up=True)  # E
    await made.create("nightly", process.bind(order), cron="0 2 * * *", payload={})  # E
    await made.create("nightly", process.bind(order), {}, cron="0 2 * * *")  # E
    await made.update("nightly", process, cron="0 2 * * *")  # E
    await made.update("nightly", every=15)  # E
    await made.apply("shop", {"nightly": process.bind(order)})  # E
    await made.apply("shop", {"nightly": (process, When(cron="@daily"))})  # E
    await made.apply("shop", {"nightly": (process.bind(order), "@daily")})  # E
    await blocking.schedules.apply("shop", {})  # E
    nightly = await made.create("nightly", process.bind(order), cron="0 2 * * *")
    wrong: Handle[int] = await nightly.trigger()  # E
    await nightly.pause("holidays")  # E
    await nightly.next("3")  # E
    await blocking.schedules.create("pulse", count.bind(), every="15m")  # E
    made.create("pulse", count.bind(), every="15m").trigger()  # E
    print(wrong)


def script(client: BlockingClient, order: Order) -> None:
    process.enqueue(client, order)  # E
    process.handle(client, "id")  # E
    Worker(client, workflows=[process])  # E
    Worker(workflows=[process])  # E
    task_run().shared("Order")  # E
    number: int = task_run().shared(Order)  # E
    client.enqueue(process.bind(order)).result(timeout=5)  # E
    print(number)


async def tests(env: TestEnv, order: Order) -> None:
    env.mock(ship).returns("yes")  # E
    env.mock(ship).returns(True, 7)  # E
    env.mock(count).returns(["a"])  # E
    env.mock(ship).fails(TimeoutError)  # E
    env.mock(ship).fails("no")  # E
    env.mock(ship).fails(TimeoutError(), 2)  # E
    env.mock(ship).takes(30)  # E
    env.mock(ship).return_value = True  # E
    env.mock("ship")  # E
    await env.enqueue(process)  # E
    await env.enqueue(process, "a")  # E
    await env.enqueue("process", order)  # E
    await env.enqueue(process.bind(order))  # E
    await env.advance(5)  # E
    TestEnv(patience=5)  # E
    TestEnv(True)  # E
    number: int = await (await env.enqueue(process, order)).result()  # E
    with env:  # E
        print(number)
