"""The file of exported runs: whatever is written is read again, and what can be no export is refused by its line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from aiki.core.errors import PayloadError, Unsupported
from aiki.core.states import State
from aiki.replay.files import LINE_BYTES, Reader, Writer
from aiki.replay.recording import Recording
from aiki.wire.codec import encode
from aiki.wire.messages import Arrival, Attempt, ChildEnd, Claimed, Entry, Exported, Fence, HistoryItem

ID = "01a22985-0000-7000-8000-000000000001"
OTHER = "01a22985-0000-7000-8000-000000000002"
AT = 1_767_225_600_000_000


def recording(run_id: str = ID, *, entries: int = 2, **fields: Any) -> Recording:
    claimed = Claimed(
        Fence(run_id, 2, ""),
        run_id,
        "order",
        "1.0",
        Raw(b'{"text":"\\u0000 \xc3\xa9"}'),
        2,
        AT,
        key="k",
        labels={"tenant": "a"},
        length=entries,
        tries=1,
        news=3,
        unread=1,
        parent=OTHER,
        depth=1,
    )
    journal = [Entry(f"task:a:0:{n}", True, Raw(b'"v"'), AT + n, None, n) for n in range(entries)]
    told = [HistoryItem(one.at, "entry", key=one.key, ok=True, value=one.value) for one in journal]
    return Recording(
        Exported(claimed, State.WAITING, AT, **fields),
        journal,
        [Attempt("task:b:0:0", 2, Raw(b"{}"), AT)],
        [Arrival(1, AT, "child", OTHER, Raw(encode(ChildEnd(OTHER, State.COMPLETED))))],
        [Arrival(3, AT, "event", "go", Raw(b"1"), OTHER)],
        [HistoryItem(AT, "enqueued"), *told[:1], HistoryItem(AT, "claim", State.RUNNING, actor="w"), *told[1:]],
        "shop",
        AT,
    )


def written(*recordings: Recording) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream)
    writer.begin(namespace="shop", exported_at=AT)
    for one in recordings:
        writer.add(one)
    writer.end()
    return stream.getvalue()


def read(raw: bytes) -> list[Recording]:
    return list(Reader(io.BytesIO(raw), "runs.jsonl"))


def test_what_was_written_is_read_again() -> None:
    first, second = recording(), recording(OTHER, entries=0, why="it waits")
    assert read(written(first, second)) == [first, second]
    assert read(written()) == []


def test_what_a_run_rests_for_is_read_again_and_need_not_be_there() -> None:
    one = recording(waits=["event:paid", "child"], due_at=AT + 60_000_000)
    raw = written(one)
    assert read(raw) == [one]
    older = [json.loads(line) for line in raw.splitlines()]
    assert (older[1].pop("waits"), older[1].pop("due_at")) == (["event:paid", "child"], AT + 60_000_000)
    (found,) = read(b"\n".join(json.dumps(line).encode() for line in older))
    assert (found.exported.waits, found.exported.due_at) == ([], None)


@pytest.mark.parametrize("bad", [{"waits": ["a\0"]}, {"waits": ["a"] * 1_003}, {"due_at": -1}, {"due_at": 1 << 62}])
def test_what_nothing_rests_for_is_refused_by_its_line(bad: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match=r"runs\.jsonl:2"):
        read(written(recording(**bad)))


def test_a_run_that_has_ended_is_read_again() -> None:
    one = recording(output=Raw(b'{"a":1}'), finished_at=AT)
    one.exported.state = State.COMPLETED
    assert read(written(one)) == [one]


def test_each_line_is_json_that_anybody_can_read() -> None:
    lines = [json.loads(line) for line in written(recording()).splitlines()]
    assert lines[0] == {"aiki_export": 1, "namespace": "shop", "exported_at": AT, "aiki": lines[0]["aiki"]}
    assert [line.get("line") for line in lines[1:]] == [
        *("run", "entry", "entry", "try", "end", "unread", "story", "story", "over")
    ]
    assert lines[1]["input"] == {"text": "\0 é"}
    assert lines[2] == {"line": "entry", "seq": 1, "key": "task:a:0:0", "ok": True, "value": "v", "at": AT}


def test_members_that_nobody_knows_are_ignored_and_blank_lines_too() -> None:
    lines = [json.loads(line) | {"later": {"a": [1]}} for line in written(recording()).splitlines()]
    raw = b"\xef\xbb\xbf" + b"\r\n\r\n".join(json.dumps(line).encode() for line in lines)
    assert lines_of(written(*read(raw))) == lines_of(written(recording()))


def test_a_payload_that_was_sent_in_several_lines_is_written_in_one() -> None:
    one = recording(output=Raw(b'{\r\n  "a": "x y",\n "b": [1, 2]\r}'), finished_at=AT)
    one.exported.state = State.COMPLETED
    (again,) = read(written(one))
    assert json.loads(bytes(again.exported.output)) == {"a": "x y", "b": [1, 2]}


def lines_of(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


def changed(change: Callable[[list[dict[str, Any]]], Any]) -> bytes:
    lines = lines_of(written(recording()))
    change(lines)
    return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no export of runs"),
    "another file": (b'{"a": 1}\n', "is no export of runs"),
    "binary": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is no export of runs"),
    "a newer version": (b'{"aiki_export": 2, "namespace": "", "exported_at": 1, "aiki": "9"}\n', "written by aiki 9"),
    "no version": (b'{"aiki_export": 0, "namespace": "", "exported_at": 1}\n', ":1: the version"),
    "cut off in a line": (written(recording())[:-40], "runs.jsonl:9: "),
    "cut off behind a line": (
        b"\n".join(written(recording()).splitlines()[:4]),
        "says that it has 1 lines of its `tri",
    ),
    "cut off before the last": (b"\n".join(written(recording()).splitlines()[:-1]), "without its last line"),
    "a line missing": (changed(lambda lines: lines.pop(3)), "says that it has 2 lines of its `entries`"),
    "a line twice": (changed(lambda lines: lines.insert(3, lines[2])), ":4: entry 1 stands where entry 2 is"),
    "out of order": (changed(lambda lines: lines.insert(2, lines.pop(3))), ":3: entry 2 stands where entry 1 is"),
    "a try twice": (changed(lambda lines: lines.insert(5, lines[4])), ":6: a second try"),
    "an arrival twice": (changed(lambda lines: lines.insert(6, lines[5])), ":7: arrival 1 stands behind arrival 1"),
    "a run twice": (
        changed(lambda lines: lines.__setitem__(slice(9, 9), lines[1:9])),
        f":10: run {ID} stands in line 2 already",
    ),
    "two files": (written(recording()) + written(recording(OTHER)), ":11: "),
    "no run": (changed(lambda lines: lines.pop(1)), "a line of a run stands before the first run"),
    "another count": (changed(lambda lines: lines[-1].update(runs=2)), "there are 2 runs, and 1 are here"),
    "an unknown line": (changed(lambda lines: lines[2].update(line="entries")), ":3: "),
    "a number as a text": (changed(lambda lines: lines[2].update(at="1")), ":3: "),
    "a number too large": (changed(lambda lines: lines[2].update(at=1 << 70)), ":3: "),
    "a time that no clock shows": (changed(lambda lines: lines[2].update(at=-1)), ":3: "),
    "a bad id": (changed(lambda lines: lines[1].update(id="../etc")), ":2: `id` is"),
    "a bad workflow": (changed(lambda lines: lines[1].update(workflow="a b")), ":2: workflow"),
    "an unknown state": (changed(lambda lines: lines[1].update(state="dead")), ":2: "),
    "an end without a time": (changed(lambda lines: lines[1].update(state="failed")), "`finished_at` says otherwise"),
    "NUL in a key": (changed(lambda lines: lines[1].update(key="a\0")), ":2: `key`"),
    "NUL in a label": (changed(lambda lines: lines[1].update(labels={"a": "\0"})), ":2: "),
    "NUL in the story": (changed(lambda lines: lines[7].update(actor="\0")), ":8: `actor` holds NUL"),
    "NUL in a name": (changed(lambda lines: lines[6].update(name="\0")), ":7: arrival 3"),
    "a lone surrogate": (changed(lambda lines: lines[2].update(value="\ud800")), ":3: "),
    "a lone surrogate in a text": (changed(lambda lines: lines[1].update(why="\ud800")), ":2: "),
    "not UTF-8": (written(recording()).replace(b'"v"', b'"\xff"'), ":3: "),
    "a long text": (changed(lambda lines: lines[2].update(key="x" * 2_000)), ":3: "),
    "too many labels": (changed(lambda lines: lines[1].update(labels={str(n): "" for n in range(30)})), ":2: "),
    "deep nesting": (written(recording()).replace(b'"v"', b"[" * 500 + b"]" * 500), ":3: "),
    "very deep nesting": (written(recording()).replace(b'"v"', b"[" * 400_000 + b"]" * 400_000), ":3: "),
    "a number that no client reads": (written(recording()).replace(b'"v"', b"1e999"), ":3: "),
    "a huge payload": (written(recording()).replace(b'"v"', b'"' + b"x" * 600_000 + b'"'), ":3: "),
    "a story that goes back": (changed(lambda lines: lines[8].update(length=-1)), ":9: `length` is -1"),
    "a story of more than there is": (changed(lambda lines: lines[8].update(length=3)), ":9: `length` is 3"),
    "a child that is none": (changed(lambda lines: lines[5]["value"].update(run_id="x")), ":6: arrival 1 is no end"),
    "an end that is none": (changed(lambda lines: lines[5].update(value=1)), ":6: arrival 1 is no end"),
    "an array": (written(recording()).replace(b'{"line":"entry"', b'[{"line":"entry"', 1), ":3: "),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_what_can_be_no_export_is_refused_with_its_line(name: str) -> None:
    raw, words = BAD[name]
    with pytest.raises((PayloadError, Unsupported)) as refused:
        read(raw)
    assert words in refused.value.message
    assert "runs.jsonl" in refused.value.message


def test_of_a_line_without_an_end_no_more_is_read_than_a_line_may_have() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += len(buffer)
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    endless = Endless()
    with pytest.raises(PayloadError, match="has more than"):
        Reader(io.BufferedReader(endless), "-")
    assert endless.given < 2 * LINE_BYTES


def test_one_run_is_in_memory_at_a_time() -> None:
    runs = [replace_id(recording(), f"01a22985-0000-7000-8000-{n:012}") for n in range(3)]
    reader = iter(Reader(io.BytesIO(written(*runs) + b"x"), "runs.jsonl"))
    assert [next(reader).run_id for _ in range(3)] == [one.run_id for one in runs]
    with pytest.raises(PayloadError):
        next(reader)


def replace_id(one: Recording, run_id: str) -> Recording:
    run = one.exported.run
    one.exported.run = replace(run, fence=replace(run.fence, run_id=run_id))
    return one
