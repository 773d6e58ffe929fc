"""Two versions of one workflow, side by side, and a smaller change for which no version is needed.

A run belongs to the version it was enqueued with. A worker serves both until the last run of version 1 has ended;
then the old function goes. For a change in the middle of long runs there is `run.patched(...)`: runs that have
passed this point without it go on as they began, all others take the new branch.

    aiki worker start -f examples/aiki.yaml -m versions
    aiki enqueue greet name=Ada --version 1 --wait
    aiki enqueue greet name=Ada --version 2 --wait
"""

from aiki import WorkflowRun, task, workflow


@task
def compose(name: str) -> str:
    return f"Dear {name}"


@task
def translate(text: str, language: str) -> str:
    return {"fr": text.replace("Dear", "Cher"), "de": text.replace("Dear", "Hallo")}.get(language, text)


@task
def sign(text: str) -> str:
    return f"{text}, yours, Aiki"


@workflow(name="greet", version="1")
async def greet_v1(run: WorkflowRun, name: str) -> str:
    return await compose.run(run, name)


@workflow(name="greet", version="2")
async def greet_v2(run: WorkflowRun, name: str, language: str = "fr") -> str:
    text = await translate.run(run, await compose.run(run, name), language)
    if run.patched("signed-letters"):
        text = await sign.run(run, text)
    return text
