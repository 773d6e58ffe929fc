"""How words become payloads."""

from __future__ import annotations

import pytest

from aiki import PayloadError, UsageError
from aiki.payload.typed import Cell, Number
from aiki_cli.words.payload import Payload, key_in, labels_of, parse_object, with_pairs


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


def test_numbers_keep_the_digits_that_were_typed():
    made = with_pairs(parse_object('\ufeff{"a": 1.10, "b": [2.50]}', source="stdin"), ["c:=12345678901234567.89"])
    assert [number.digits for number in (made["a"], *made["b"], made["c"])] == ["1.10", "2.50", "12345678901234567.89"]


def test_labels_are_pairs():
    assert labels_of(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    with pytest.raises(UsageError, match="'x' is no label"):
        labels_of(["x"])


def test_a_key_is_text_or_a_whole_number():
    assert key_in({"order": {"id": "o-1"}}, "order.id") == "o-1"
    assert key_in({"id": 7}, "id") == "7"
    assert type(key_in({"id": Cell("o-1")}, "id")) is str
    unusable: list[Payload] = [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": Number("1.5")}, {"id": {}}]
    for payload in unusable:
        with pytest.raises(PayloadError, match="the key field 'id' is"):
            key_in(payload, "id")
