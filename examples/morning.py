"""A morning routine: two tasks at once, a durable pause, and one more task.

`brew` and `read_news` run side by side, because a workflow is plain asyncio. If the worker dies while you shower,
another one goes on with the rest of the pause, and the coffee is not brewed again.

    aiki worker start -f examples/aiki.yaml -m morning
    aiki enqueue morning-routine name=Ada cups:=2 --wait
"""

import asyncio

from aiki import WorkflowRun, task, workflow


@task
async def brew(cups: int) -> str:
    await asyncio.sleep(0.05)
    return f"{cups} x coffee"


@task
def read_news(topic: str) -> list[str]:
    return [f"{topic}: it goes on", f"{topic}: experts agree"]


@task
def pack_bag(items: list[str]) -> int:
    return len(items)


@workflow(name="morning-routine")
async def morning_routine(run: WorkflowRun, name: str, cups: int = 1, shower: str = "200ms") -> dict[str, str]:
    coffee, news = await asyncio.gather(brew.run(run, cups), read_news.run(run, "weather"))
    await run.sleep(shower)
    packed = await pack_bag.run(run, ["laptop", "lunch", news[0]])
    return {"hello": name, "drank": coffee, "packed": f"{packed} things", "left at": f"{run.now():%Y-%m-%d}"}
