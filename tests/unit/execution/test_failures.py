"""What is stored of an error fits where errors go, whatever is in it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aiki.core import texts
from aiki.execution import failures
from aiki.execution.failures import encode_failure, failure_of
from aiki.wire.limits import ERROR_BYTES
from aiki.wire.messages import Failure


def raised(text: str) -> BaseException:
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise ValueError(text) from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize("character", ["x", '"', "\1", "é", "\U0001f600", "\n"])
def test_an_error_takes_no_more_than_its_bytes(character: str) -> None:
    data = encode_failure(failure_of(raised(character * 100_000), task="t" * 64, attempts=3))
    assert len(data) <= ERROR_BYTES
    failure = msgspec.json.decode(data, type=Failure)
    assert (failure.type, failure.task, failure.attempts) == ("ValueError", "t" * 64, 3)
    assert failure.message.startswith(character * 500)
    assert failure.message.endswith("…")
    assert failure.traceback
    assert failure.cause


def test_a_short_error_is_stored_whole() -> None:
    failure = failure_of(raised("why"))
    assert msgspec.json.decode(encode_failure(failure), type=Failure) == failure


class Interrupts(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Exits(Exception):
    def __repr__(self) -> str:
        raise SystemExit

    __str__ = __repr__


class NeverEnds(Exception):
    def __str__(self) -> str:
        while True:
            pass


class Argument:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


class OwnArguments(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt


class Empty(Exception):
    def __len__(self) -> int:
        return 0


class NoTruth(Exception):
    def __bool__(self) -> bool:
        raise SystemExit


class Asks(Exception):
    def __getattr__(self, name: str) -> Any:
        raise KeyboardInterrupt


class OwnNotes(Exception):
    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise SystemExit


class NameRaises(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt


class OddlyNamed(Exception, metaclass=NameRaises): ...


def caused_by(cause: BaseException) -> BaseException:
    error = ValueError("caused")
    error.__cause__ = cause
    return error


def group_of(levels: int) -> BaseException:
    error: Exception = ValueError("innermost")
    for _ in range(levels):
        error = ExceptionGroup("g", [error])
    return error


def noted() -> BaseException:
    error = ValueError("noted")
    error.__notes__ = [Argument()]  # type: ignore[list-item]
    return error


def goes_round() -> BaseException:
    error, cause = ValueError("goes round"), KeyError("cause")
    error.__cause__, cause.__cause__ = cause, error
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Interrupts(), "(its text cannot be read: KeyboardInterrupt was raised)"),
        (Exits(), "(its text cannot be read: SystemExit was raised)"),
        (ValueError(Argument()), "(its text cannot be read: KeyboardInterrupt was raised)"),
        (OwnArguments(), ""),
        (noted(), "noted"),
        pytest.param(Asks("asks"), "asks", id="asks"),
        (OwnNotes("own"), "own"),
        (caused_by(NoTruth("x")), "caused"),
        (goes_round(), "goes round"),
        (group_of(2), "g: ExceptionGroup: g: ValueError: innermost"),
        (ExceptionGroup("g", [Interrupts()]), "g: Interrupts: (its text cannot be read: KeyboardInterrupt was raised)"),
    ],
)
def test_an_error_is_stored_whatever_its_text_does(error: BaseException, message: str) -> None:
    failure = failure_of(caught(error))
    assert (failure.type, failure.message) == (type(error).__name__, message)
    assert "test_failures.py" in failure.traceback


@pytest.mark.parametrize("error", [NeverEnds(), ExceptionGroup("g", [NeverEnds()]), ValueError("x")])
def test_an_error_whose_text_never_ends_is_stored_soon(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "SECONDS", 0.05)
    error.__cause__ = NeverEnds()
    failure = failure_of(caught(error))
    assert failure.type == type(error).__name__
    assert failure.message in ("x", "(its text cannot be read: it took longer than 0.05 s)")
    assert "test_failures.py" in failure.traceback


def test_the_name_of_a_class_is_told_whatever_its_metaclass_does() -> None:
    assert failure_of(caught(OddlyNamed("x"))).type == "OddlyNamed"


def test_a_cause_is_told_whatever_its_truth() -> None:
    assert failure_of(caught(caused_by(Empty("why")))).cause == "Empty: why"


def test_a_group_of_any_depth_is_stored() -> None:
    message = failure_of(caught(group_of(3_000))).message
    assert message.startswith("g: ExceptionGroup: g: ")
    assert message.endswith("…")


def test_a_plain_error_is_read_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(failures, "guarded")
    assert failure_of(raised("why")).cause == "KeyError: 'why'"


def caught(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as seen:  # noqa: BLE001 - whatever it is
        return seen
