"""What of users' text reaches a terminal as it is, and what as its escape."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.process.visible import entry, json_text, lines, one_line

STEERS = {"Cc", "Zl", "Zp", "Cs"}
"""Categories of Unicode of which nothing may pass: controls, ends of lines and paragraphs, surrogates."""
TEXT = st.text(st.characters(codec=None, categories=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, grüße, 日本語, 👩\u200d🚀", "plain text, grüße, 日本語, 👩\u200d🚀"),
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x1b]8;;http://evil\x1b\\link", r"\x1b]8;;http://evil\x1b\link"),
        ("\x9b31m\x85\x7f\0", r"\x9b31m\x85\x7f\x00"),
        ("file\u202egnp.exe\u2066\u061c", r"file\u202egnp.exe\u2066\u061c"),
        ("one\u2028two\u2029\v\f", r"one\u2028two\u2029\x0b\x0c"),
        ("a\u200bb\ufeff\U000e0041\xad", r"a\u200bb\ufeff\U000e0041\xad"),
        ("\ud800", r"\ud800"),
    ],
)
def test_controls_are_shown_as_their_escapes(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_lines_keep_their_ends_and_tabs_alone() -> None:
    assert lines("a\n\tb\r\n\x1b[0m\v") == "a\n\tb\\r\n\\x1b[0m\\x0b"


def test_no_character_that_steers_passes() -> None:
    everything = "".join(map(chr, [*range(0x10000), *range(0xE0000, 0xE1000)]))
    passed = set(one_line(everything))
    assert not {char for char in passed if unicodedata.category(char) in STEERS}
    assert not {char for char in passed if unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF"}}
    assert not {char for char in passed if unicodedata.bidirectional(char) in {"LRI", "RLI", "FSI", "PDI"}}
    assert {"\u200c", "\u200d"} <= passed
    assert set(lines(everything)) - passed == {"\n", "\t"}


@given(TEXT)
def test_escaped_text_is_one_line_to_whoever_splits_lines(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert one_line(shown) == shown
    shown.encode()


@given(st.text())
def test_escaped_json_has_the_same_value_and_nothing_raw(text: str) -> None:
    value = {text: [text]}
    shown = json_text(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(shown) == value
    assert lines(shown) == shown


def test_no_line_of_an_entry_but_its_first_begins_at_the_margin() -> None:
    assert entry("failed\n12:00:00 all is well\x1b[A") == "failed\n    12:00:00 all is well\\x1b[A"
