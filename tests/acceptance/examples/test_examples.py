"""Each example runs on real servers through a real worker."""

from __future__ import annotations

import asyncio
import re
import shlex
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aiki import Client, Conflict, RunEnded, State
from examples import agent
from examples.agent import assist, stopped
from examples.approval import Decision, approve_expense, decided
from examples.keys import pay_invoice
from examples.morning import morning_routine
from examples.nightly import nightly_report
from examples.onboarding import onboard_user
from examples.polling import stopped as stopped_watching
from examples.polling import watch
from examples.saga import book_trip
from examples.tax import Assessment, Person, tax_return
from examples.versions import greet_v1, greet_v2
from tests.acceptance.examples.commands import aiki
from tests.servers import Program
from tests.waiting import ENOUGH, wait_until

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parents[3] / "examples"


async def test_a_morning_routine_runs_two_tasks_at_once(client: Client) -> None:
    handle = await morning_routine.enqueue(client, "Ada", cups=2)
    morning = await handle.result(timeout=ENOUGH)
    assert morning["drank"] == "2 x coffee"
    assert morning["packed"] == "3 things"
    assert (await handle.status()).tasks == 3


async def test_onboarding_goes_on_when_the_mail_server_is_back(client: Client) -> None:
    handle = await onboard_user.enqueue(client, "ada@example.com")
    assert await handle.result(timeout=ENOUGH) == {
        "status": "welcome",
        "account": "account-of-ada@example.com",
        "attempts": "3",
    }


async def test_onboarding_takes_the_account_back_when_no_retry_can_help(client: Client) -> None:
    handle = await onboard_user.enqueue(client, "nowhere")
    assert await handle.result(timeout=ENOUGH) == {"status": "refused", "why": "'nowhere' is no address"}
    keys = [entry.key or "" async for entry in client.runs.history(handle.run_id) if entry.move == "entry"]
    assert [key.split(":")[1] for key in keys] == ["create_account", "send_welcome", "close_account"]


async def test_a_tax_return_keeps_decimals(client: Client) -> None:
    person = Person("Ada", "DE", [Decimal("61000.00"), Decimal("950.50")])
    handle = await tax_return.enqueue(client, person)
    assert await handle.result(timeout=ENOUGH) == Assessment(Decimal("61950.50"), Decimal("11988.12"))


async def test_two_versions_run_side_by_side(client: Client) -> None:
    old, new = await asyncio.gather(greet_v1.enqueue(client, "Ada"), greet_v2.enqueue(client, "Ada", language="de"))
    assert await old.result(timeout=ENOUGH) == "Dear Ada"
    assert await new.result(timeout=ENOUGH) == "Hallo Ada, yours, Aiki"
    assert [(await handle.status()).version for handle in (old, new)] == ["1", "2"]


async def test_one_key_is_one_run_and_one_execution(client: Client) -> None:
    keyed = pay_invoice.options(idempotency_key="i-7")
    first = await keyed.enqueue(client, "i-7", 4200)
    again = await keyed.enqueue(client, "i-7", 4200)
    assert (first.created, again.created, again.run_id) == (True, False, first.run_id)
    result = await again.result(timeout=ENOUGH)
    assert result["paid"].startswith("paid 4200 for i-7 under ")
    assert result["rates"] == "the same"
    assert (await first.status()).state is State.COMPLETED
    with pytest.raises(Conflict):
        await keyed.enqueue(client, "i-7", 9999)


async def test_an_expense_is_paid_when_it_is_approved_also_before_the_run_asks(client: Client) -> None:
    told = approve_expense.options(send=decided.bind(Decision(ok=True, by="Grace")))
    handle = await told.enqueue(client, "Ada", 4200)
    assert await handle.result(timeout=ENOUGH) == {"status": "paid", "by": "Grace", "transfer": "42.00 to Ada"}


async def test_a_reminder_is_sent_once_and_the_answer_to_it_counts(client: Client) -> None:
    handle = await approve_expense.enqueue(client, "Ada", 4200, remind_after="10ms")

    async def asked() -> list[str]:
        story = [entry async for entry in client.runs.history(handle.run_id)]
        return [entry.value for entry in story if entry.task == "ask"]

    async def is_reminded() -> bool:
        return len(await asked()) == 2

    await wait_until(is_reminded)
    await handle.send(decided, Decision(ok=False, by="Alan"))
    assert await handle.result(timeout=ENOUGH) == {"status": "refused", "by": "Alan"}
    assert await asked() == ["may Ada have 42.00?", "Again: may Ada have 42.00?"]
    with pytest.raises(RunEnded, match="it is completed"):
        await handle.send(decided, Decision(ok=True, by="Grace"))


async def test_a_request_expires_if_nobody_decides(client: Client) -> None:
    handle = await approve_expense.enqueue(client, "Ada", 4200, remind_after="10ms", expire_after="10ms")
    assert await handle.result(timeout=ENOUGH) == {"status": "expired"}


async def test_a_trip_is_booked_as_a_whole(client: Client) -> None:
    handle = await book_trip.enqueue(client, "Ada", "Vienna")
    booked = await handle.result(timeout=ENOUGH)
    assert {service: says.split(",")[0] for service, says in booked.items()} == {
        "flight": "book flight Vienna",
        "hotel": "book hotel Vienna",
        "car": "book car Vienna",
    }


async def test_an_agent_does_as_its_human_decides_and_hears_no_decision_of_another_turn(client: Client) -> None:
    handle = await assist.enqueue(client, "Lisbon")
    for turn, go, note in ((1, True, ""), (1, True, ""), (2, False, "not at night"), (3, True, "")):
        await handle.send(agent.decided, agent.Decision(turn, go, note))
    assert await handle.result(timeout=ENOUGH) == "done: tool: book the cheapest, not at night: ok"
    shown = [entry.value async for entry in client.runs.history(handle.run_id) if entry.task == "show"]
    assert shown == [
        "1: may I look for flights?",
        "2: may I book the cheapest?",
        "3: may I book the cheapest, not at night?",
    ]


async def test_an_agent_stops_when_it_is_told_to_or_nobody_decides_or_its_turns_are_used_up(client: Client) -> None:
    told = await assist.options(send=stopped.bind()).enqueue(client, "Oslo")
    alone = await assist.enqueue(client, "Oslo", patience="10ms")
    vain = await assist.enqueue(client, "Oslo")
    for turn in range(1, agent.MAX_TURNS + 1):
        await vain.send(agent.decided, agent.Decision(turn, go=False))
    assert await told.result(timeout=ENOUGH) == "stopped in turn 1"
    assert await alone.result(timeout=ENOUGH) == "nobody decided in turn 1"
    assert await vain.result(timeout=ENOUGH) == f"not done in {agent.MAX_TURNS} turns"


async def test_a_poll_goes_on_as_new_with_what_it_knows_and_tells_each_change_once(client: Client) -> None:
    handle = await watch.enqueue(client, "AB-1", every="10ms")
    assert await handle.result(timeout=ENOUGH) == "delivered after 11 looks, in generation 2"
    status = await handle.status()
    assert (status.generation, status.state) == (2, State.COMPLETED)
    story = [entry async for entry in client.runs.history(handle.run_id)]
    assert [entry.generation for entry in story if entry.move == "continue"] == [0, 1]
    told = [entry.value for entry in story if entry.task == "tell"]
    every = ["AB-1: sent", "AB-1: in transit", "AB-1: at the depot", "AB-1: delivered"]
    assert told in (every, every[-1:]), "of earlier generations there is all, or nothing: the pruner may have been by"


async def test_a_poll_is_stopped_in_whatever_generation_it_is(client: Client) -> None:
    handle = await watch.enqueue(client, "lost", every="10ms")

    async def has_gone_on() -> bool:
        return (await handle.status()).generation > 1

    await wait_until(has_gone_on)
    await handle.send(stopped_watching)
    assert "stopped after" in await handle.result(timeout=ENOUGH)


EVERY = (
    *("agent", "approval", "fanout", "fulfilment", "morning"),
    *("onboarding", "polling", "saga", "tax", "versions", "keys"),
)


@pytest.mark.parametrize("name", EVERY)
def test_the_commands_in_an_example_work(examples_worker: Program, name: str) -> None:
    """The lines that an example's docstring shows do what they say."""
    text = (EXAMPLES / f"{name}.py").read_text()
    commands = re.findall(r"^    aiki ((?:enqueue|event|run|wait) .*?)(?:  +# (.*))?$", text, re.MULTILINE)
    assert commands
    for words, says in commands:
        done = aiki(*shlex.split(words), env=examples_worker.env)
        assert done.returncode == {"refused": 6, "fails": 1}.get(says, 0), done.stderr


async def test_each_night_is_reported_once_also_one_that_is_made_up_for(client: Client) -> None:
    call = nightly_report.bind("Berlin")
    nightly = await client.schedules.create("berlin", call, cron="0 2 * * *", timezone="Europe/Berlin")
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC)
    nights = await nightly.backfill(start, end)
    assert [await night.result(timeout=ENOUGH) for night in nights] == [
        f"Berlin: 72 sales until 2026-01-{day:02} 01:00" for day in (1, 2, 3)
    ]
    again = await nightly.backfill(start, end)
    assert [night.run_id for night in again] == [night.run_id for night in nights]
    now = await (await nightly.trigger()).result(timeout=ENOUGH)
    assert now.startswith("Berlin: ")
    assert [slot.state for slot in (await nightly.info()).slots] == [State.COMPLETED] * 4


async def test_what_the_text_of_the_nightly_report_says_can_be_typed(examples_worker: Program) -> None:
    assert examples_worker.env is not None
    lines = re.findall(r"^    aiki (schedule .*)$", (EXAMPLES / "nightly.py").read_text(), re.MULTILINE)
    for line in lines:
        done = await asyncio.to_thread(aiki, *shlex.split(line), env=examples_worker.env)
        assert done.returncode == 0, done.stderr
    assert len(lines) == 5
