"""How rows become payloads: JSON lines and CSV, whatever their editor has made of them."""

from __future__ import annotations

import io
import os

import pytest

from aiki_cli.failures import UnreadableInput
from aiki_cli.words.rows import BadRow, Row, Rows, open_rows


def rows(text: str, *, csv: bool = False, key: str | None = None) -> list[Row | BadRow]:
    source = Rows(io.BytesIO(text.encode()), "rows.csv" if csv else "rows.jsonl", key_field=key)
    first = list(source)
    assert [row.line for row in source] == [row.line for row in first], "rows can be read twice"
    return first


def test_json_lines_keep_their_line_numbers():
    found = rows('{"id": "a"}\n\n{"id": 2}\nnot json\n[1]\n{}\n', key="id")
    assert found[:2] == [Row(1, {"id": "a"}, "a"), Row(3, {"id": 2}, "2")]
    assert [(row.line, isinstance(row, BadRow)) for row in found[2:]] == [(4, True), (5, True), (6, True)]


def test_csv_names_members_by_its_header():
    found = rows('\ufefforder.id,order.cents:,note\no-1,4200,"two\nlines"\no-2,,\n', csv=True, key="order.id")
    assert found == [
        Row(3, {"order": {"id": "o-1", "cents": 4200}, "note": "two\nlines"}, "o-1"),
        Row(4, {"order": {"id": "o-2"}, "note": ""}, "o-2"),
    ]


def test_wrong_csv_rows_are_named_by_their_line():
    found = rows("a,b:\n1,2\n1\n1,x\n", csv=True)
    assert [(row.line, type(row)) for row in found] == [(2, Row), (3, BadRow), (4, BadRow)]
    for header, words in {"a,a": "repeated name", "a,": "empty", "a, b": "' b' has spaces around it"}.items():
        (bad,) = rows(f"{header}\n1,2\n", csv=True)
        assert isinstance(bad, BadRow)
        assert words in str(bad.error)


def read(raw: bytes, source: str = "rows.csv") -> list[Row | BadRow]:
    return list(Rows(io.BytesIO(raw), source))


TWO = [Row(2, {"id": "a", "n": 1}, None), Row(3, {"id": "ä", "n": 2}, None)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "marked"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("id,n:|a,1|ä,2|", "rows.csv"),
        ("id,n:|a,1|ä,2|", "ROWS.CSV"),
        ("id,n:|a,1|ä,2", "-"),
        ("id\tn:|a\t1|ä\t2|", "rows.tsv"),
        ('|{"id":"a","n":1}|{"id":"ä","n":2}', "rows.jsonl"),
        ('|{"id":"a","n":1}|{"id":"ä","n":2}|  ||', "-"),
    ],
)
def test_rows_are_the_same_whatever_their_editor_has_made_of_them(mark: bytes, end: str, text: str, source: str):
    assert read(mark + text.replace("|", end).encode(), source) == TWO


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
def test_a_first_line_may_say_what_separates_the_cells(separator: str):
    lines = [f"sep={separator}", f"id{separator}n:", f"a{separator}1", f"ä{separator}2", ""]
    moved = [Row(row.line + 1, row.payload, None) for row in TWO if isinstance(row, Row)]
    assert read("\r\n".join(lines).encode()) == moved
    assert read("\ufeff".encode().join([lines[0].encode() + b"\n", "\n".join(lines[1:]).encode()])) == moved


@pytest.mark.parametrize(
    ("raw", "source", "line", "words", "hint"),
    [
        (b"id;n:\na;1\n", "my rows.csv", 1, "separators are semicolons", "sed -i '1i sep=;' 'my rows.csv'"),
        (b"id;n:\na;1\n", "-", 1, "separators are semicolons", None),
        (b"id\tn:\na\t1\n", "rows.csv", 1, "separators are tabs", "mv rows.csv rows.tsv"),
        (b"id,n:\na,1\n", "rows.tsv", 1, "separators are commas, and expected tabs", "sed -i '1i sep=,'"),
        ("id,n:\na,1\nä,2\n".encode("latin-1"), "rows.csv", 3, "0xe4 is not UTF-8", "iconv -f WINDOWS-1252"),
        ("id,n:\ra,1\rä,2\r".encode("latin-1"), "rows.csv", 3, "0xe4 is not UTF-8", "rows.csv > rows-utf8.csv"),
        ('{"id":"a"}\n\n{"id":"ä"}\n'.encode("latin-1"), "rows.jsonl", 3, "0xe4 is not UTF-8", "iconv"),
        ("id,n:\nä,2\n".encode("utf-16"), "rows.csv", 1, "it is UTF-16, and expected UTF-8", "iconv -f UTF-16"),
        ("id,n:\nä,2\n".encode("utf-16-be"), "rows.csv", 1, "it is UTF-16", "iconv -f UTF-16"),
        ('{"id":"a"}'.encode("utf-16-le"), "-", 1, "it is UTF-16", None),
        ("id,n:\nä,2\n".encode("utf-32"), "rows.csv", 1, "it is UTF-32", "iconv -f UTF-32"),
        (b'id,n:\na,1\n"b,2\nc,3\n', "rows.csv", 3, "not CSV from here on", None),
        (b'[{"id": "a"}]', "rows.json", 1, "is an array", "jq -c '.[]' rows.json > rows.jsonl"),
        (b'{\n"id": "a"\n}', "rows.json", 1, "is not JSON", "jq -c . rows.json > rows.jsonl"),
        (b'{"id": "a", "id": "b"}', "rows.json", 1, "twice", None),
        (b"id\na\n", "rows.txt", 1, "is not JSON", "name it .csv or .tsv if it is a table"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_read_say_where_and_what_to_do(raw, source, line, words, hint):
    bad = next(row for row in read(raw, source) if isinstance(row, BadRow))
    assert (bad.line, words in str(bad.error)) == (line, True), str(bad.error)
    assert (hint is None and bad.error.hint is None) or (hint or "?") in (bad.error.hint or "")


def test_a_cell_may_be_as_large_as_a_payload():
    (row,) = read(b"id,n:\n" + b"x" * 140_000 + b",1\n")
    assert isinstance(row, Row)
    assert len(row.payload["id"]) == 140_000


@pytest.mark.parametrize("key", ["a\\nb", "", "k" * 300])
def test_a_key_that_cannot_be_one_is_named_by_its_line(key):
    (good, bad) = rows(f'{{"id": "a"}}\n{{"id": "{key}"}}\n', key="id")
    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)
    assert bad.line == 2


def test_a_pipe_is_kept_aside_and_read_twice(tmp_path):
    reads, writes = os.pipe()
    os.write(writes, b'{"id": "a"}\n')
    os.close(writes)
    with open_rows(f"/dev/fd/{reads}", key_field="id") as found:
        assert list(found) == list(found) == [Row(1, {"id": "a"}, "a")]
    os.close(reads)


def test_a_missing_file_cannot_be_read(tmp_path):
    with pytest.raises(UnreadableInput, match="No such file"), open_rows(str(tmp_path / "x.jsonl"), key_field=None):
        pass
