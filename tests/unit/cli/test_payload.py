"""How words and rows become payloads."""

from __future__ import annotations

import io

import pytest

from aiki import PayloadError, UsageError
from aiki_cli.failures import UnreadableInput
from aiki_cli.payload import Payload, key_in, labels_of, parse_object, with_pairs
from aiki_cli.rows import BadRow, Row, Rows, open_rows


def test_pairs_are_text_json_or_nested_and_override_the_base():
    base = {"name": "Ada", "order": {"id": "o-0", "keep": True}}
    made = with_pairs(base, ["name=Grace=Hopper", "times:=2", "order.id=o-1", "order.lines:=[1,2]", "empty="])
    assert made == {
        "name": "Grace=Hopper",
        "times": 2,
        "order": {"id": "o-1", "keep": True, "lines": [1, 2]},
        "empty": "",
    }


@pytest.mark.parametrize(
    ("pair", "error", "message"),
    [
        ("name", UsageError, "'name' is no pair"),
        ("=x", UsageError, "'=x' is no pair"),
        ("a..b=1", UsageError, "'a..b' is no path"),
        ("a.=1", UsageError, "is no path"),
        ("times:=two", PayloadError, "'two' is not JSON"),
        ("x:=NaN", PayloadError, "NaN is no JSON"),
        ("list.x=1", UsageError, "'list' is an array already"),
    ],
)
def test_a_wrong_pair_says_what_was_expected(pair, error, message):
    with pytest.raises(error, match=message):
        with_pairs({"list": []}, [pair])


@pytest.mark.parametrize(
    ("text", "message"),
    [("[1]", "is an array, and expected a JSON object"), ("{", "is not JSON"), ('{"a": Infinity}', "is not JSON")],
)
def test_a_payload_is_a_json_object(text, message):
    with pytest.raises(PayloadError, match=message):
        parse_object(text, source="the payload")


def test_labels_are_pairs():
    assert labels_of(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    with pytest.raises(UsageError, match="'x' is no label"):
        labels_of(["x"])


def test_a_key_is_text_or_a_whole_number():
    assert key_in({"order": {"id": "o-1"}}, "order.id") == "o-1"
    assert key_in({"id": 7}, "id") == "7"
    unusable: list[Payload] = [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": 1.5}, {"id": {}}]
    for payload in unusable:
        with pytest.raises(PayloadError, match="the key field 'id' is"):
            key_in(payload, "id")


def rows(text: str, *, csv: bool = False, key: str | None = None) -> list[Row | BadRow]:
    source = Rows(io.BytesIO(text.encode()), is_csv=csv, key_field=key)
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
    (bad,) = rows("a,a\n1,2\n", csv=True)
    assert isinstance(bad, BadRow)
    assert "repeated name" in str(bad.error)


def test_a_missing_file_cannot_be_read(tmp_path):
    with pytest.raises(UnreadableInput, match="No such file"), open_rows(str(tmp_path / "x.jsonl"), key_field=None):
        pass
