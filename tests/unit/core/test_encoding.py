"""Text is UTF-8, whatever its editor put around it; what is not is refused by its line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from aiki.core.encoding import NotUtf8, decode, decoded_lines

MARK = b"\xef\xbb\xbf"


def lines(raw: bytes) -> list[str]:
    return list(decoded_lines(io.BytesIO(raw)))


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode(MARK + "ä".encode()) == "ä"
    assert lines(MARK + b"a\nb") == ["a\n", "b"]
    assert decode(b"") == ""
    assert decode(MARK) == ""
    assert lines(MARK) == []


def test_lines_end_as_their_editor_ends_them_and_at_nothing_else():
    assert lines("a\r\nb\rc\n\n\u2028\x0b\x85d".encode()) == ["a\r\n", "b\r", "c\n", "\n", "\u2028\x0b\x85d"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_byte_that_is_no_utf8_is_named_with_its_line(end: bytes):
    raw = MARK + end.join([b"a", "ä".encode(), b"\xe4", b"c"])
    for read in (decode, lines):
        with pytest.raises(NotUtf8, match="the byte 0xe4 is not UTF-8") as caught:
            read(raw)
        assert caught.value.line == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wider_encodings_are_named(encoding: str):
    raw = "id,cents\nä,5\n".encode(encoding)
    for read in (decode, lines):
        with pytest.raises(NotUtf8, match=f"it is {encoding[:6].upper()}, and expected UTF-8") as caught:
            read(raw)
        assert caught.value.line == 1


def test_the_remedy_can_be_pasted():
    with pytest.raises(NotUtf8) as caught:
        decode(b"\xff\xfea\0")
    assert caught.value.remedy(Path("my rows.csv")) == "iconv -f UTF-16 -t UTF-8 'my rows.csv' > 'my rows-utf8.csv'"
