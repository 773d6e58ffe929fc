"""What a summary says of a run: since when it was under way, and what is amiss, in a line."""

from aiki.rules.summing import in_a_line, taken, words


def test_a_run_is_under_way_since_its_creation_or_since_it_was_to_start() -> None:
    assert taken(10, None, 15, 50) == 40
    assert taken(10, 30, 35, 50) == 20
    assert taken(10, 30, 20, 50) == 30, "it was woken before its date"
    assert taken(10, 90, None, 50) == 0, "it was cancelled before its date"
    assert taken(60, None, None, 50) == 0, "its place in its batch is behind the clock"


def test_why_a_run_is_in_trouble_is_told_in_a_line() -> None:
    assert in_a_line(" a\n\n  b\tc ") == "a b c"
    assert len(in_a_line("x " * 1_000)) == 200
    assert in_a_line("x" * 201).endswith("x…")


def test_a_stored_error_is_told_by_type_and_message_whatever_it_is() -> None:
    assert words(b'{"type":"ValueError","message":"no","traceback":"..."}') == "ValueError: no"
    assert words(b'{"type":"ValueError"}') == "ValueError"
    assert words(b"\xff[") == "\ufffd["
    assert words(b"[" * 100_000) == "[" * 100_000
