"""A schema is read from anybody: what it may say is known, and nothing has to be fetched, compiled or waited for."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aiki.wire import schema
from aiki.wire.schema import BadSchema
from tests.strangers.schemas import HARMLESS, REFUSED
from tests.waiting import patient


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) + len(HARMLESS) >= 80


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_a_hostile_schema_is_refused_in_words(data: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(BadSchema, match=r".{10,}") as refused:
        schema.parse(data)
    assert time.monotonic() - started < patient(1)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("one", [one for one, _ in HARMLESS.values()], ids=HARMLESS)
def test_a_schema_within_the_vocabulary_is_read(one: dict[str, Any]) -> None:
    assert schema.parse(json.dumps(one).encode()) == one


def test_the_message_names_the_place() -> None:
    with pytest.raises(BadSchema, match=r"#/properties/a/items/anyOf/1: 'minimum' cannot be 'x'"):
        schema.parse(b'{"properties": {"a": {"items": {"anyOf": [{}, {"minimum": "x"}]}}}}')


def test_what_is_reduced_can_be_read_and_is_more_lenient() -> None:
    ours = {
        "type": "object",
        "x-ui": {"widget": "slider"},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {
            "a": {"type": "string", "pattern": "^a", "not": {"const": "b"}},
            "b": {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            "c": {"$ref": "#/definitions/C"},
            "d": True,
            "e": {"anyOf": [{"$ref": "#/$defs/E"}, {"type": "null"}], "minLength": "many"},
        },
        "$defs": {"E": {"const": 1, "if": {}}},
    }
    reduced = schema.reduced(ours)
    assert reduced == {
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^a"},
            "b": {},
            "c": {},
            "d": {},
            "e": {"anyOf": [{"$ref": "#/$defs/E"}, {"type": "null"}]},
        },
        "$defs": {"E": {"const": 1}},
    }
    assert schema.parse(json.dumps(reduced).encode()) == reduced
