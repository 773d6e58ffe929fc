"""Payloads, names, keys and labels that are wrong: refused with what and why, nothing written, nothing changed."""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgspec
import pytest

from aiki import Client, NotFound, PayloadError, RunFailed
from aiki.wire.messages import Enqueue, NewRun
from tests.acceptance.bad_input import flows
from tests.servers import Aikid, Postgres
from tests.waiting import ENOUGH

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def refused(aiki, postgres: Postgres):
    """Run `aiki` with arguments that are wrong: no run comes of it."""

    def written():
        return postgres.query("select count(*) from aiki.runs", database="aiki_shared")

    def run(code, says, *arguments, **options):
        before = written()
        done = aiki(*arguments, **options)
        assert (done.code, done.out) == (code, ""), done.err
        assert says in done.err
        assert "Traceback" not in done.err
        assert written() == before, "something was written"

    return run


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (5, "workflow 'nope' is not registered", ["nope"]),
        (5, "workflow 'echo' has no version '9' (registered: 1)", ["echo", "value=1", "--version", "9"]),
        (2, "'bad name!' is no workflow's name", ["bad name!"]),
        (65, "$.order.cents: must be integer, not 'abc'", ["order", "order.id=1", "order.cents=abc"]),
        (65, "$.order: 'cents' is missing", ["order", "order.id=1"]),
        (65, "$: 'extra' is not known", ["order", "order.id=1", "order.cents:=1", "extra=1"]),
        (65, "NaN is no JSON", ["echo", "-p", '{"value": NaN}']),
        (65, "1e999 is too large for a float", ["echo", "-p", '{"value": 1e999}']),
        (65, "the member 'value' twice", ["echo", "-p", '{"value": 1, "value": 2}']),
        (65, "lone surrogate", ["echo", "-p", '{"value": "\\ud800"}']),
        (65, "lone surrogate", ["echo", b"value=\xff"]),
        (2, "idempotency_key=''", ["echo", "value=1", "--key", ""]),
        (2, "1 to 256 characters", ["echo", "value=1", "--key", "k" * 257]),
        (2, "without control characters", ["echo", "value=1", "--key", b"\xff"]),
        (2, "label 'a b'", ["echo", "value=1", "--label", "a b=c"]),
        (2, "label 'a'=", ["echo", "value=1", "--label", "a=" + "v" * 257]),
        (2, "101 is not in the range", ["echo", "value=1", "--priority", "101"]),
        (2, "'soon' is not a duration", ["echo", "value=1", "--delay", "soon"]),
        (2, "no time", ["echo", "value=1", "--at", "9999-12-31T23:59:59-12:00"]),
        (2, "before 1970", ["echo", "value=1", "--at", "1900-01-01T00:00Z"]),
        (2, "exclude each other", ["echo", "value=1", "--delay", "1h", "--at", "2030-01-01"]),
    ],
)
def test_a_wrong_enqueue_is_refused_and_nothing_is_written(refused, code, says, arguments):
    refused(code, says, "enqueue", *arguments)


def test_payloads_beyond_the_limits_are_refused_with_the_limit(refused, tmp_path):
    (tmp_path / "deep.json").write_text('{"value":' + "[" * 5_000_000 + "]" * 5_000_000 + "}")
    (tmp_path / "nested.json").write_text('{"value":' + "[" * 300 + "]" * 300 + "}")
    (tmp_path / "large.json").write_text(json.dumps({"value": "x" * 300_000}))
    (tmp_path / "digits.json").write_text('{"value":' + "9" * 5000 + "}")
    refused(65, "nested too deep", "enqueue", "echo", "-p", "@deep.json")
    refused(65, "more than 200 levels", "enqueue", "echo", "-p", "@nested.json")
    refused(65, "more than 262,144", "enqueue", "echo", "-p", "@large.json")
    refused(65, "a number of 5,000 digits", "enqueue", "echo", "-p", "@digits.json")
    refused(66, "cannot read nowhere.json", "enqueue", "echo", "-p", "@nowhere.json")


@pytest.mark.anyio
async def test_what_is_accepted_comes_back_unchanged(aikid: Aikid, bad_input_environment, aiki):
    values = ["a\0b", "日本 🔑 \u200d", 2**200, -(2**63) - 1, 2**64, 0.1, 1.0, [[[]]], {"": None}, True]
    async with Client.connect(aikid.nats_url, namespace=bad_input_environment["AIKI_NAMESPACE"]) as client:
        for value in values:
            result = await (await client.enqueue("echo", {"value": value})).result(timeout=ENOUGH)
            assert (result, type(result)) == (value, type(value))
    assert aiki("enqueue", "echo", "-p", json.dumps({"value": values}), "--wait").json == values


def test_a_key_may_be_any_text_on_one_line(aiki):
    key = "Straße\u00a0№ 7 👩\u200d🔧"
    first = aiki("enqueue", "echo", "value=1", "--key", key).out
    assert aiki("enqueue", "echo", "value=1", "--key", key).out == first
    assert aiki("status", f"echo@{key}", "-o", "ids").out == first
    assert aiki("enqueue", "echo", "value=2", "--key", key).code == 6


@pytest.mark.anyio
async def test_by_object_a_wrong_payload_names_its_place(aikid: Aikid, bad_input_environment):
    async with Client.connect(aikid.nats_url, namespace=bad_input_environment["AIKI_NAMESPACE"]) as client:
        wrong: Any = flows.Order("a", "x")  # type: ignore[arg-type]  # the mistake
        with pytest.raises(PayloadError, match=r"order.*expected int, got str at `\$\.order\.cents`"):
            await flows.order.enqueue(client, wrong)
        with pytest.raises(NotFound, match="'nowhere' is not registered"):
            await client.enqueue("nowhere", {})


@pytest.mark.anyio
async def test_a_wrong_payload_that_reaches_a_worker_fails_its_run(aikid: Aikid, bad_input_environment):
    async with Client.connect(aikid.nats_url, namespace=bad_input_environment["AIKI_NAMESPACE"]) as client:
        run = NewRun(str(uuid.uuid4()), "order", "1", msgspec.Raw(b'{"order":{"id":"a","cents":"x"}}'))
        await client.transport.call(Enqueue([run]))
        with pytest.raises(RunFailed, match=r"PayloadError: .*\$\.order\.cents"):
            await client.handle(run.id).result(timeout=ENOUGH)
