"""A first workflow: try `aiki enqueue hello name=Grace --wait`."""

from aiki import WorkflowRun, task, workflow


@task
def greet(name: str) -> str:
    """Greet somebody. What a task returns is kept: it is never run again for this run."""
    return f"Hello, {name}!"


@workflow
async def hello(run: WorkflowRun, name: str = "Ada") -> str:
    """Call tasks with `.run(run, ...)`: each is a durable step."""
    return await greet.run(run, name)
