"""Tasks: calling one directly is the plain function, `.run()` goes to the execution, options make a new task."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from aiki.core.errors import UsageError
from aiki.core.retry import DEFAULT_RETRY, Retry
from aiki.definitions.task import AsyncTask, SyncTask, task
from aiki.inside.workflow_run import WorkflowRun


@task
async def double(x: int) -> int:
    """Double it."""
    return 2 * x


@task(
    name="ship-it",
    retry=Retry.none(),
    timeout="20s",
    total_timeout=timedelta(minutes=1),
    heartbeat_timeout="5s",
    cancel_grace="1m",
    executor="process",
    at_most_once=True,
)
def ship(order_id: str, *, express: bool = False) -> bool:
    return express


def test_a_task_called_directly_is_the_plain_function():
    assert ship("a", express=True) is True
    assert anyio.run(double, 4) == 8
    assert double.__doc__ == "Double it."


def test_a_task_called_directly_in_a_workflow_is_refused_with_the_remedy():
    nobody: Any = None
    nothing = msgspec.Raw(b"{}")

    class BodyLoop(asyncio.SelectorEventLoop):
        workflow_run = WorkflowRun(
            nobody, origin_id="o", workflow="w", version="1", input=nothing, idempotency_key=None, labels={}
        )

    async def call_plain():
        return ship("a")

    async def call_async():
        return await double(1)

    async def body():
        for call in (call_plain, call_async):
            with pytest.raises(UsageError, match="called directly in a workflow") as caught:
                await call()
            assert ".run(run, ...)" in str(caught.value.hint)

    with asyncio.Runner(loop_factory=BodyLoop) as runner:
        runner.run(body())


def test_a_task_knows_how_it_is_run():
    assert isinstance(double, AsyncTask)
    assert (double.name, double.is_async, double.retry, double.timeout) == ("double", True, DEFAULT_RETRY, None)
    assert (double.total_timeout, double.executor, double.at_most_once) == (None, "thread", False)
    assert isinstance(ship, SyncTask)
    assert (ship.name, ship.is_async, ship.retry, ship.timeout) == ("ship-it", False, Retry.none(), 20.0)
    assert (ship.total_timeout, ship.executor, ship.at_most_once) == (60.0, "process", True)
    assert (double.heartbeat_timeout, double.cancel_grace) == (None, 10.0)
    assert (ship.heartbeat_timeout, ship.cancel_grace) == (5.0, 60.0)


def test_run_hands_the_call_to_the_execution():
    calls = []

    async def recorded():
        return "recorded"

    def ask(made):
        calls.append((made.task, made.args, made.kwargs))
        return recorded()

    async def body():
        run: Any = SimpleNamespace(_body=SimpleNamespace(ask=ask))
        return await ship.run(run, "a", express=True)

    assert anyio.run(body) == "recorded"
    assert calls == [(ship, ("a",), {"express": True})]


def test_options_make_another_task_and_leave_the_first_alone():
    made = ship.options(idempotency_key="k", timeout=None, retry=Retry.fixed(2, "1s"))
    assert (made.idempotency_key, made.timeout, made.total_timeout) == ("k", None, 60.0)
    assert made.retry == Retry.fixed(2, "1s")
    assert made("a", express=True) is True
    assert made.parameters is ship.parameters
    assert (ship.idempotency_key, ship.timeout, ship.retry) == (None, 20.0, Retry.none())
    assert made.options(heartbeat_timeout=None, cancel_grace="0s").cancel_grace == 0.0
    assert made.options(total_timeout="5s").options(idempotency_key=None).total_timeout == 5.0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"idempotency_key": ""}, "1 to 256 characters"),
        ({"idempotency_key": "x" * 257}, "1 to 256 characters"),
        ({"idempotency_key": "a\0b"}, "1 to 256 characters"),
        ({"idempotency_key": 5}, "1 to 256 characters"),
        ({"timeout": "0s"}, "longer than nothing"),
        ({"timeout": 20}, "20 is not a duration"),
        ({"total_timeout": "soon"}, "'soon' is not a duration"),
        ({"heartbeat_timeout": "0s"}, "longer than nothing"),
        ({"cancel_grace": None}, "None is not a duration"),
        ({"idempotency_scope": "all"}, '"run", "workflow" or "namespace"'),
        ({"idempotency_scope": None}, '"run", "workflow" or "namespace"'),
        ({"idempotency_retention": "0s"}, "10 years at most"),
        ({"idempotency_retention": "3651d"}, "10 years at most"),
        ({"idempotency_retention": None}, "None is not a duration"),
        ({"retry": 3}, "must be a Retry"),
        ({"retry": None}, "must be a Retry"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        double.options(**options)


def test_a_key_is_one_in_a_run_unless_it_is_said_to_be_one_in_more_and_a_result_stands_for_a_month():
    assert (double.idempotency_scope, double.idempotency_retention) == ("run", 30 * 86_400.0)
    made = double.options(idempotency_scope="namespace", idempotency_retention="1h")
    assert (made.idempotency_scope, made.idempotency_retention) == ("namespace", 3_600.0)
    declared = task(idempotency_scope="workflow", idempotency_retention="3650d")(double.fn)
    assert (declared.idempotency_scope, declared.idempotency_retention) == ("workflow", 3_650 * 86_400.0)


def test_what_may_begin_but_once_shares_no_key_with_other_runs():
    def fn() -> None: ...

    with pytest.raises(UsageError, match="could not know that it was begun before") as caught:
        task(at_most_once=True, idempotency_scope="workflow")(fn)
    assert 'idempotency_scope="run"' in str(caught.value.hint)
    with pytest.raises(UsageError, match="at_most_once does not go with"):
        ship.options(idempotency_scope="namespace")
    assert ship.options(idempotency_scope="run").at_most_once is True


def test_an_async_task_runs_on_the_loop_and_nowhere_else():
    async def fn() -> None: ...

    unknown: Any = "gpu"
    with pytest.raises(UsageError, match="plain `def`"):
        task(executor="process")(fn)
    with pytest.raises(UsageError, match="thread or process"):
        task(executor=unknown)(test_an_async_task_runs_on_the_loop_and_nowhere_else)


def test_a_thread_cannot_be_cut_off_and_so_has_no_heartbeat_timeout():
    def fn() -> None: ...

    with pytest.raises(UsageError, match="a thread cannot") as caught:
        task(heartbeat_timeout="10s")(fn)
    assert 'executor="process"' in str(caught.value.hint)
    with pytest.raises(UsageError, match="a thread cannot"):
        task(fn).options(heartbeat_timeout="10s")
    assert task(executor="process", heartbeat_timeout="10s")(fn).heartbeat_timeout == 10.0
