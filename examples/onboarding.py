"""User onboarding: a mail server that is down at first, an address that can never work, and what a workflow does then.

A task that raises is tried again by its `retry`; `raise Fatal(...)` stops that. When it has given up, the workflow
gets TaskFailed, and goes on as plain Python does: here it takes the account back. Failed attempts are
stored, so five attempts are five in all, on however many workers.

    aiki worker start -f examples/aiki.yaml -m onboarding
    aiki enqueue onboard-user email=ada@example.com --wait
    aiki enqueue onboard-user email=nowhere --wait
"""

from aiki import Fatal, Retry, TaskFailed, WorkflowRun, task, task_run, workflow


@task
def create_account(email: str) -> str:
    return f"account-of-{email}"


@task(retry=Retry.exponential(max_attempts=5, base_delay="50ms"), timeout="10s")
def send_welcome(email: str) -> int:
    if "@" not in email:
        raise Fatal(f"{email!r} is no address")
    if task_run().attempt < 3:
        raise ConnectionError("the mail server restarts")
    return task_run().attempt


@task
def close_account(account: str) -> None:
    """Take the account back. It may be closed already, when this runs a second time."""


@workflow(name="onboard-user")
async def onboard_user(run: WorkflowRun, email: str) -> dict[str, str]:
    account = await create_account.run(run, email)
    try:
        attempts = await send_welcome.run(run, email)
    except TaskFailed as error:
        await close_account.run(run, account)
        return {"status": "refused", "why": error.message}
    await run.sleep("100ms")  # in earnest: "3d", then ask how it goes
    return {"status": "welcome", "account": account, "attempts": str(attempts)}
