"""Whatever a commit changed is told of by one place, after its callers have their replies, and harms nobody."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from msgspec import Raw
from nats.aio.client import Client as Connection

from aiki.core.states import State
from aiki.wire import codec, subjects
from aiki.wire.limits import TOLD_BYTES
from aiki.wire.messages import Enqueue, Inbox, InboxReply, RunNews, Send, Sent, Told, Watch
from aikid.app import App
from aikid.engine.changes import Changes
from tests.integration.daemon.asking import ask_together
from tests.integration.daemon.engine import VERSION, WORKFLOW, Engine, event, new_id, new_run
from tests.waiting import wait_until

pytestmark = pytest.mark.anyio

ROUTE = ("default", WORKFLOW, VERSION)
HINT = subjects.hint(*ROUTE)


@pytest.fixture
async def heard(bus: Connection) -> list[tuple[str, bytes]]:
    """All that goes over NATS from here on, in its order: subject and data."""
    messages: list[tuple[str, bytes]] = []

    async def hear(message: Any) -> None:
        messages.append((message.subject, message.data))

    await bus.subscribe(">", cb=hear)
    await bus.flush()
    return messages


async def test_one_word_reaches_workers_watchers_other_daemons_and_the_alarm(
    app: App, engine: Engine, bus: Connection, heard: list[tuple[str, bytes]]
) -> None:
    run_id = await engine.queued_run()
    await ask_together(app, bus, ("default", Watch([run_id], "_INBOX.watcher", 60.0, ends_only=False)))
    await engine.execute("UPDATE aiki.runs SET state = 'sleeping', due_at = now() WHERE id = %s", run_id)
    changes = Changes(due_seconds=0.0)
    changes.queued[ROUTE] += 1
    changes.changed["default"].append(run_id)
    await app.teller.tell(changes)
    # The second hint is the waker's, who knew of the run from the teller alone (or looked in the same second).
    expected = Counter({"_INBOX.watcher": 1, subjects.news("default", run_id): 1, HINT: 2})
    await wait_until(lambda: expected <= Counter(subject for subject, _ in heard))
    pushed = next(data for subject, data in heard if subject == "_INBOX.watcher")
    assert [run.id for run in codec.decode(pushed, RunNews).runs] == [run_id]
    assert await engine.state(run_id) is State.QUEUED


async def test_who_holds_a_run_is_told_of_its_news_once(
    app: App, engine: Engine, bus: Connection, heard: list[tuple[str, bytes]]
) -> None:
    session = await engine.session()
    await engine.queued_run()
    run_id = (await engine.claim_one(session)).fence.run_id
    await ask_together(app, bus, ("default", Send([event(run_id), event(run_id)])))
    (reply,) = await ask_together(app, bus, ("default", Inbox(run_id)))
    unread = codec.decode_reply(reply, InboxReply).arrivals
    await wait_until(lambda: subjects.told("default", session) in dict(heard))
    told = [codec.decode(data, Told) for subject, data in heard if subject == subjects.told("default", session)]
    assert told == [Told([(run_id, 2)], {run_id: unread})]
    assert (await engine.renew(session, "none")).news == [(run_id, 2)], "should that be lost"


async def test_of_what_has_come_no_more_than_a_little_goes_along(
    app: App, engine: Engine, bus: Connection, heard: list[tuple[str, bytes]]
) -> None:
    session = await engine.session()
    await engine.queued_run()
    run_id = (await engine.claim_one(session)).fence.run_id

    def told() -> list[Told]:
        return [codec.decode(data, Told) for subject, data in heard if subject == subjects.told("default", session)]

    def is_told(times: int) -> bool:
        return len(told()) == times

    large = Raw(b'"%s"' % (b"x" * TOLD_BYTES))
    for number, value in enumerate((large, Raw(b'"small"')), 1):
        await ask_together(app, bus, ("default", Send([Sent(run_id, new_id(), "approved", value)])))
        await wait_until(partial(is_told, number))
    (first, second) = told()
    assert first == Told([(run_id, 1)])
    assert [arrival.value for arrival in second.arrivals[run_id]] == [Raw(b'"small"')]


async def test_the_caller_hears_before_anybody_else(app: App, heard: list[tuple[str, bytes]]) -> None:
    request = codec.encode(Enqueue([new_run()]))
    assert app.api.accept(subjects.api("default", "enqueue"), "_INBOX.reply", request) is None
    await wait_until(lambda: HINT in dict(heard))
    told = [subject for subject, _ in heard if subject in ("_INBOX.reply", HINT)]
    assert told == ["_INBOX.reply", HINT]


async def test_what_one_commit_has_queued_of_a_route_is_hinted_at_a_few_times(
    app: App, heard: list[tuple[str, bytes]]
) -> None:
    """Who claims by a hint, and hears that there is more, goes on without."""
    await app.offerer.queued({ROUTE: 500})
    await app.bus.publish("marker", b"")
    await wait_until(lambda: "marker" in dict(heard))
    assert [subject for subject, _ in heard].count(HINT) == 50


@pytest.mark.parametrize("bad", ["queued", "changed"])
async def test_what_cannot_be_told_is_logged_and_keeps_no_other_word_back(
    app: App, engine: Engine, heard: list[tuple[str, bytes]], caplog: pytest.LogCaptureFixture, bad: str
) -> None:
    run_id = await engine.queued_run()
    changes = Changes()
    changes.changed["default"].append(run_id)
    changes.queued["default", "nowhere", "1"] += 1  # nothing is queued there: nobody else tells of it
    if bad == "queued":
        changes.queued["no", "route"] += 1  # type: ignore[index]
    else:
        changes.changed["other"] = None  # type: ignore[assignment]
    await app.teller.tell(changes)
    told = {subjects.news("default", run_id), subjects.hint("default", "nowhere", "1")}
    await wait_until(lambda: told <= dict(heard).keys())
    assert [one.getMessage() for one in caplog.records if one.name == "aikid.tell"] == [
        "a change was not told of: a bug"
    ]


async def test_what_several_commits_changed_is_told_together() -> None:
    first, second = Changes(due_seconds=2.0), Changes(due_seconds=1.0)
    for changes, run_id in ((first, "a"), (second, "b")):
        changes.queued[ROUTE] += 1
        changes.claimed[ROUTE] += 2
        changes.changed["default"].append(run_id)
        changes.settled["other"].append(run_id)
    second.more.add(ROUTE)
    first.add(second)
    assert (first.queued, first.claimed, first.more) == ({ROUTE: 2}, {ROUTE: 4}, {ROUTE})
    assert (first.changed, first.settled) == ({"default": ["a", "b"]}, {"other": ["a", "b"]})
    assert first.due_seconds == 1.0
    second.due_in(None)
    assert second.due_seconds == 1.0
