"""Ids of what calls of a run have sent: the same at each replay, and others for all that differs."""

from __future__ import annotations

import uuid

from aiki.core.ids import derived_id

ORIGIN = "0190b0a0-0000-7000-8000-000000000001"


def made(**changes: object) -> str:
    given: dict[str, object] = {"origin_id": ORIGIN, "generation": 0, "attempt": 1, "key": "send:a:5f:1"} | changes
    return derived_id(
        str(given["origin_id"]),
        int(str(given["generation"])),
        int(str(given["attempt"])),
        str(given["key"]),
        milliseconds=1_700_000_000_123,
    )


def test_it_is_the_same_for_the_same_call_and_another_for_each_other() -> None:
    others = [made(origin_id="other"), made(generation=1), made(attempt=2), made(key="send:a:5f:2")]
    assert made() == made()
    assert len({made(), *others}) == 5


def test_it_has_the_shape_of_a_uuid7_of_the_moment_when_it_was_asked_for() -> None:
    id = uuid.UUID(made())
    assert (id.version, id.variant) == (7, uuid.RFC_4122)
    assert id.int >> 80 == 1_700_000_000_123
