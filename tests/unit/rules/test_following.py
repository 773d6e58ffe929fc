"""What followers are told of calls, whatever workers have written."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw

from aiki.core.states import State
from aiki.rules.following import Child, Kin, Tried, Written, error_line, open_calls, outcomes
from aiki.wire.codec import encode
from aiki.wire.limits import ERROR_CHARS, FOLLOWED_CALLS
from aiki.wire.messages import Looked, LookedTry, RunStatus

RUN = RunStatus("run", "w", "1", State.RUNNING, 1)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (b'{"type":"KeyError","message":"x","traceback":"..."}', "KeyError: x"),
        (
            b'{"type":"KeyError","message":"two\\nlines  and \\u00e9 \\"quotes\\""}',
            'KeyError: two lines and é "quotes"',
        ),
        (b'{"type":"KeyError","message":"cut of', "KeyError: cut of"),
        (b'{"type":"KeyError","message":"half \\ud83d"}', "KeyError: half ?"),
        (b'{"type":"KeyError","message":"cut in an escape \\u00', "KeyError: cut in an escape \\u00"),
        (b'{"type":"KeyError"', "KeyError"),
        (b"\xff\x00", ""),
        (b"[[[[", ""),
        (b"", ""),
    ],
)
def test_what_went_wrong_is_told_in_one_line(failure: bytes, line: str) -> None:
    assert error_line(failure) == line
    assert encode(error_line(failure))


def test_a_long_message_is_cut() -> None:
    line = error_line(json.dumps({"type": "E", "message": "x" * 5_000}, separators=(",", ":")).encode()[:1024])
    assert (len(line), line[-1]) == (ERROR_CHARS, "…")


def test_marks_are_no_calls_and_children_are_known_by_their_starts() -> None:
    written = [
        Written(1, "starts:1", True, 1, b'[["start:w:aa:1","child-1",0]]'),
        Written(2, "start:w@key", True, 2, b'{"result":"started","run_id":"child-2"}'),
        Written(3, "patch:x", True, 3),
        Written(4, "end:w:aa:1", True, 4, b'"failed"'),
        Written(5, "end:w@key", True, 5, b'"completed"'),
        Written(6, "starts:2", True, 6, b"{not json"),
        Written(7, "end:w:bb:1", True, 7, b"\xff"),
    ]
    told, started = outcomes(written)
    assert [(one.seq, one.ok, one.error, one.run_id) for one in told] == [
        (4, False, "it has ended failed", "child-1"),
        (5, True, "", "child-2"),
        (7, False, "", None),
    ]
    assert started == [("w:aa:1", "child-1"), ("w@key", "child-2")]


def test_a_worker_that_answers_says_what_runs() -> None:
    looked = Looked(
        9,
        tries=[LookedTry("task:a:0:1", "a", 2, 5, None, 0.5, "half")],
        calls=["task:a:0:1", "task:b:0:1", "timer:5", "event:e:0:1", "end:w:aa:1"],
        wakes_at=77,
    )
    tries = [Tried("task:a:0:1", 2, None), Tried("task:c:0:1", 1, b'{"type":"E"}', 99), Tried("task:d:0:1", 1, None)]
    told = open_calls(RUN, tries, looked, Kin({}, [Child("child", "w", 3)]))
    assert [(one.key, one.state, one.next_at) for one in told] == [
        ("task:a:0:1", "running", None),
        ("task:c:0:1", "retrying", 99),
        ("child:w:child", "waiting", None),
        ("task:b:0:1", "waiting", None),
        ("timer:5", "waiting", 77),
        ("event:e:0:1", "waiting", None),
    ]


def test_of_a_worker_that_is_silent_what_is_on_record_is_told() -> None:
    tries = [Tried("task:a:0:1", 2, None, said=b'[null,0.25,"a quarter"]'), Tried("task:b:0:1", 1, None, said=b"\xff")]
    told = open_calls(RUN, tries, None)
    assert [(one.key, one.state, one.fraction, one.message) for one in told] == [
        ("task:a:0:1", "running", 0.25, "a quarter"),
        ("task:b:0:1", "running", None, ""),
    ]


def test_no_more_calls_are_told_than_a_view_holds() -> None:
    looked = Looked(9, calls=[f"timer:{number}" for number in range(FOLLOWED_CALLS)])
    tries = [Tried(f"task:a:0:{number}", 1, b"{}", 99) for number in range(FOLLOWED_CALLS)]
    assert len(open_calls(RUN, tries, looked)) == FOLLOWED_CALLS


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_nothing_is_open_of_what_has_ended(state: State) -> None:
    ended = RunStatus("run", "w", "1", state, 1, output=Raw(b"1"))
    assert open_calls(ended, [Tried("task:a:0:1", 1, b"{}", 99)], None, Kin({}, [Child("c", "w", 1)])) == []
