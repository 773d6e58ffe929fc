"""A server that goes in the middle of a long output: what stands there is whole, or the code says that it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from nats.aio.msg import Msg

from tests.acceptance.cli.conftest import Aiki
from tests.acceptance.cli.test_hostile_text import RUN_ID, HostileDaemon, answer
from tests.servers import Nats


class BreaksOff(HostileDaemon):
    """Answers one page of each kind, which says that there is another, and then that there is none any more."""

    async def _answer(self, message: Msg) -> None:
        op, request = message.subject.rpartition(".")[2], json.loads(message.data)
        if request.get("cursor") is not None:
            reply = {"error": {"code": "not_found", "message": "it was deleted meanwhile"}}
        else:
            reply = {"ok": {**(answer(op, request, "completed") or {}), "cursor": "next"}}
        await message.respond(json.dumps(reply).encode())


@pytest.fixture(scope="module")
def where(nats: Nats) -> Iterator[dict[str, str]]:
    with BreaksOff(nats.url).answering() as daemon:
        yield {"AIKI_URL": nats.url, "AIKI_NAMESPACE": daemon.namespace}


@pytest.mark.parametrize("mode", ["json", "jsonl", "tsv", "ids", "table"])
def test_what_was_cut_off_is_told_and_is_no_document(aiki: Aiki, where: dict[str, str], mode: str) -> None:
    for command in (["run", "list", "--limit", "1000"], ["run", "history", RUN_ID], ["wait", "--label", "a=b"]):
        done = aiki(*command, "-o", mode, env=where)
        assert done.code == 5, (command, done)
        assert "it was deleted meanwhile" in done.err
        if mode == "json":
            assert done.out == "", command
