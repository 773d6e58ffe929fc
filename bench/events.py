"""The workflow that waits for an event, apart from the others: those are measured on trees that know no events, too."""

from aiki import Event, WorkflowRun, workflow

go_on = Event("go-on", type=dict[str, str])


@workflow(name="waiter", version="1", events=[go_on])
async def waiter(run: WorkflowRun) -> dict[str, str]:
    return await run.wait_for(go_on)
