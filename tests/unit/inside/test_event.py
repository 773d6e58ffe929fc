"""Events as values: what they carry, and which are refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from aiki.core.errors import PayloadError, UsageError
from aiki.inside.event import Event, Message
from aiki.payload import Json
from aiki.wire.schema import parse


@dataclass
class Reason:
    code: int
    text: str = ""


approved, rejected, ping = Event("approved", type=str), Event("rejected", type=Reason), Event("ping")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("event", "value"), [(approved, "yes"), (rejected, Reason(3, "late")), (ping, None)])
def test_what_is_bound_is_read_again_as_it_was(event: Event[Any], value: object) -> None:
    assert event.read(event.bind(value).encoded) == value


def test_what_equals_a_default_has_the_same_digest_as_what_is_left_out() -> None:
    assert rejected.bind(Reason(3)).digest == rejected.bind(Reason(3, "")).digest
    assert rejected.bind(Reason(3)).digest != rejected.bind(Reason(4)).digest


@pytest.mark.parametrize(("event", "value"), [(approved, 5), (ping, "x"), (rejected, Reason("no"))])  # type: ignore[arg-type]  # the mistake
def test_a_value_of_another_type_is_refused_where_it_is_bound(event: Event[Any], value: object) -> None:
    with pytest.raises(PayloadError, match=f"event '{event.name}'"):
        event.bind(value)


def test_what_does_not_fit_the_type_is_refused_where_it_is_read() -> None:
    with pytest.raises(PayloadError, match=r"event 'rejected': .*code"):
        rejected.read(b'{"code":"x"}')


@pytest.mark.parametrize("name", ["", "with space", "a.b", "x" * 65, 5])
def test_a_name_that_is_no_token_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match="cannot name an event"):
        Event(name)


def test_a_type_that_is_text_is_refused_with_the_type_to_write() -> None:
    with pytest.raises(UsageError, match="the text 'str'") as refused:
        Event("approved", type="str")
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("type=str")


def test_a_type_whose_values_cannot_be_stored_is_refused() -> None:
    with pytest.raises(UsageError, match="event 'odd': its type cannot be used"):
        Event("odd", type=set[int] | list[int])


def test_a_message_is_matched_by_the_name_of_its_event() -> None:
    message: Message[Any] = Message(approved, "yes", NOW)
    assert Event("approved", type=str).matches(message)
    assert not rejected.matches(message)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (approved, {"type": "string"}),
        (ping, {"type": "null"}),
        (Event("paid", type=float), {"anyOf": [{"type": "integer"}, {"type": "number"}]}),
        (Event("anything", type=Json), {}),
    ],
)
def test_a_schema_says_what_an_event_carries(event: Event[Any], said: object) -> None:
    assert event.schema() == said


def test_a_schema_of_classes_brings_them_along() -> None:
    schema = parse(msgspec.json.encode(Event("rejected", type=list[Reason]).schema()))
    assert schema["items"] == {"$ref": "#/$defs/Reason"}
    assert schema["$defs"]["Reason"]["required"] == ["code"]
