"""The text of a user's object is taken whatever its methods do, and soon."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from aiki.core import texts
from tests.waiting import wait_until_sync


class Says:
    """An object whose text is what a function makes of it."""

    def __init__(self, text):
        self._text = text

    def __str__(self):
        return self._text()

    __repr__ = __str__


class OwnText(str):
    __slots__ = ()

    def __str__(self):
        raise SystemExit


def raising(error: type[BaseException]) -> str:
    raise error


def spin() -> str:
    while True:
        pass


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, RecursionError])
def test_text_that_raises_is_told_by_what_it_raised(error):
    value = Says(lambda: raising(error))
    assert texts.text_of(value) == f"(a Says, whose text cannot be read: {error.__name__} was raised)"
    assert texts.shown(value) == texts.text_of(value)


@pytest.mark.parametrize("text", [5, None, b"x"])
def test_text_that_is_none_is_told(text):
    assert "TypeError was raised" in texts.text_of(Says(lambda: text))


def test_text_that_never_ends_is_given_up(monkeypatch, never):
    monkeypatch.setattr(texts, "SECONDS", 0.01)
    assert texts.text_of(Says(never.wait)).endswith("it took longer than 0.01 s)")


def test_a_loop_in_a_text_is_ended(monkeypatch):
    monkeypatch.setattr(texts, "SECONDS", 0.01)
    assert "it took longer" in texts.text_of(Says(spin))
    wait_until_sync(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("aiki-text")])


def test_a_loop_is_ended_though_its_end_is_caught_and_the_next_begins(monkeypatch):
    """As in a traceback of many errors, whose texts are each taken in a `try` of its own."""
    monkeypatch.setattr(texts, "SECONDS", 0.01)

    def read() -> None:
        for _ in range(5):
            with contextlib.suppress(BaseException):
                spin()

    assert texts.guarded(read) == "it took longer than 0.01 s"
    wait_until_sync(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("aiki-text")])


def test_text_of_a_subclass_of_str_becomes_plain():
    assert type(texts.text_of(Says(lambda: OwnText("x")))) is str


def test_plain_values_are_read_without_a_thread(monkeypatch):
    monkeypatch.delattr(texts, "guarded")
    assert [texts.shown(value) for value in ("a", 1, None, b"x")] == ["'a'", "1", "None", "b'x'"]


def test_that_no_thread_can_be_started_is_told(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert texts.text_of(Says(str)) == "(a Says, whose text cannot be read: can't start new thread)"
