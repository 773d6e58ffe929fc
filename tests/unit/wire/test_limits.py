"""Whatever a request can hold many of, or much of, has a limit that its decoder knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import msgspec.inspect as mi
import pytest
from msgspec import Meta, Struct

from aiki.wire import codec
from aiki.wire.limits import (
    BATCH_RUNS,
    CLAIM_RUNS,
    HELD_CLAIMS,
    LIST_ITEMS,
    MESSAGE_BYTES,
    ROUTES,
    TEXT_CHARS,
    UNIT_ITEMS,
    WHY_CHARS,
)
from aiki.wire.messages import RenewSession
from aiki.wire.messages.base import Text
from aikid.ops import OPS

SIZED = (mi.StrType, mi.BytesType, mi.CollectionType, mi.DictType)


class Deep(Struct):
    names: list[Text]
    pairs: Annotated[list[tuple[Text, str]], Meta(max_length=1)] | None = None


class Outer(Struct):
    by_name: Annotated[dict[str, Deep], Meta(max_length=1)]


def unlimited(kind: mi.Type, path: str, seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the path of each text, list and object below `kind` that may have any size."""
    if isinstance(kind, SIZED) and kind.max_length is None:
        yield path
    if isinstance(kind, mi.StructType):
        if kind.cls in seen:
            return
        seen = (*seen, kind.cls)
    for step, part in parts(kind):
        yield from unlimited(part, path + step, seen)


def parts(kind: mi.Type) -> Iterator[tuple[str, mi.Type]]:
    match kind:
        case mi.StructType():
            yield from ((f".{field.encode_name}", field.type) for field in kind.fields)
        case mi.CollectionType():
            yield "[]", kind.item_type
        case mi.TupleType():
            yield from ((f"[{place}]", item) for place, item in enumerate(kind.item_types))
        case mi.DictType():
            yield from (("{key}", kind.key_type), ("{}", kind.value_type))
        case mi.UnionType():
            yield from (("", one) for one in kind.types)
        case mi.Metadata():
            yield "", kind.type


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_text_list_and_object_of_a_request_has_a_limit(op: str) -> None:
    assert list(unlimited(mi.type_info(OPS[op].request), op)) == []


def test_a_list_without_a_limit_is_found_wherever_it_stands() -> None:
    assert list(unlimited(mi.type_info(Outer), "$")) == [
        "$.by_name{key}",
        "$.by_name{}.names",
        "$.by_name{}.pairs[][1]",
    ]


FENCE = ["r", 1, "c"]
RUN: dict[str, Any] = {"id": "", "workflow": "", "version": "", "input": 1}
MANY_LABELS = {f"l{n}": "" for n in range(LIST_ITEMS + 1)}
ROUTE = {"workflow": "w", "version": "1"}


@pytest.mark.parametrize(
    ("op", "request_", "path"),
    [
        ("enqueue", {"runs": [RUN] * (BATCH_RUNS + 1)}, "$.runs"),
        ("enqueue", {"runs": [], "inbox": "x" * (TEXT_CHARS + 1)}, "$.inbox"),
        ("enqueue", {"runs": [RUN | {"options": {"labels": MANY_LABELS}}]}, "$.runs[0].options.labels"),
        ("status", {"ids": ["x"] * (BATCH_RUNS + 1)}, "$.ids"),
        ("list", {"states": ["queued"] * 40_000}, "$.states"),
        ("list", {"labels": MANY_LABELS}, "$.labels"),
        ("session_open", {"id": "", "worker": "", "routes": [ROUTE] * (ROUTES + 1)}, "$.routes"),
        ("session_open", {"id": "", "worker": "", "routes": [ROUTE | {"task_names": [""] * 1001}]}, "$.routes[0].task"),
        ("session_renew", {"id": "", "held": ["x"] * (HELD_CLAIMS + 1)}, "$.held"),
        ("session_renew", {"id": "", "held": [], "counts": [1] * (HELD_CLAIMS + 1)}, "$.counts"),
        ("claim", {"session": "", "claim_id": "", "routes": [["w", "1"]] * (ROUTES + 1), "limit": 1}, "$.routes"),
        ("record", {"units": [[FENCE, 0, [], []]] * (BATCH_RUNS + 1)}, "$.units"),
        ("record", {"units": [[FENCE, 0, [["k", True, 1, 1]] * (UNIT_ITEMS + 1), []]]}, "$.units[0][2]"),
        ("record", {"units": [[FENCE, 0, [], [["k", 1]] * (UNIT_ITEMS + 1)]]}, "$.units[0][3]"),
        ("record", {"units": [[FENCE, 0, [], [], {"move": "fail", "why": "x" * (WHY_CHARS + 1)}]]}, "$.units[0][4]"),
    ],
)
def test_one_more_than_the_limit_is_refused_with_its_place(op: str, request_: dict[str, Any], path: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="of length <= ") as refused:
        codec.decoder(OPS[op].request).decode(msgspec.json.encode(request_))
    assert f"`{path}" in str(refused.value)


def test_a_renewal_with_all_claims_that_a_worker_may_hold_fits_a_message() -> None:
    held = ["01890a5d-ac96-774b-bcce-b302099a8057"] * HELD_CLAIMS
    counts = [CLAIM_RUNS] * HELD_CLAIMS
    assert len(codec.encode(RenewSession(held[0], held, counts=counts))) < MESSAGE_BYTES
