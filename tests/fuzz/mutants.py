"""Own mutated messages: requests of each operation and pushes, by their types, with values that are nearly right.

What is right everywhere but in one place comes further than noise. So a message is made by walking its type: mostly
with plausible values of the field's name and type, now and then with one that no caller of ours would send; then, now
and then, its bytes are damaged. The same seed makes the same messages.

A new operation is covered by standing in `OPS`; a field whose values mean something gets a line in PLAUSIBLE.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec.inspect as types

from aiki.wire.limits import MESSAGE_BYTES
from aiki.wire.messages import HandOver, Park, Parked, Told
from aikid.ops import OPS

STRANGE_VALUE: Final = 0.06
"""How often a value is one of STRANGE, at each place of a message."""
DAMAGED: Final = 0.3
"""How often the bytes of a request are damaged."""
LONG_LIST: Final = 0.01
LARGEST_BYTES: Final = MESSAGE_BYTES + 64 * 1024
"""The server closes the connection of who sends more than 1 MiB, before anybody sees it."""

IDS: Final = [str(uuid.UUID(int=0x0189_0A5D_AC96_774B_BCCE_B302_099A_8000 + n)) for n in range(20)]
"""Few, so that requests of all kinds meet the same runs and sessions."""
NAMES: Final = ["echo", "flow", "has-no-worker", "a" * 64, "_"]
PAYLOADS: Final[list[Any]] = [None, 0, "text", [], {}, {"text": "x"}, {"deep": [[[[{}]]]]}, "\x00", "\ud800", 1e308]

Pick = Callable[[random.Random], Any]


def one_of(*values: Any) -> Pick:
    """Return what picks one of `values`."""
    return lambda rng: rng.choice(values)


PLAUSIBLE: Final[Mapping[str, Pick]] = {
    "id": one_of(*IDS),
    "run_id": one_of(*IDS),
    "session": one_of(*IDS),
    "ids": lambda rng: rng.choices(IDS, k=rng.randint(0, 4)),
    "claim_id": one_of(*IDS[:4]),
    "held": lambda rng: rng.choices(IDS[:4], k=rng.randint(0, 3)),
    "workflow": one_of(*NAMES),
    "name": one_of(*NAMES),
    "names": lambda rng: rng.choices(NAMES, k=rng.randint(1, 4)),
    "scope": one_of("", *NAMES),
    "task": one_of(*NAMES),
    "call": one_of("task:echo@k", "task:flow@k", "timer:1"),
    "project": one_of("shop", "bank", None),
    "cron": one_of("* * * * *", "0 2 * * *", "@daily", "0 0 29 2 *", "0 0 31 2 *"),
    "every": one_of(1_000_000, 3_600_000_000, 1),
    "timezone": one_of("UTC", "Europe/Berlin", "Mars/Base"),
    "version": one_of("1", "1.0", "2026-01-01", "a+b"),
    "routes": lambda rng: [[rng.choice(NAMES), "1"] for _ in range(rng.randint(1, 3))],
    "inbox": one_of("_INBOX.fuzzed", "_INBOX.fuzzed.more", "aiki.v1.x.api.status", "_INBOX.>", ""),
    "key": one_of("task:x:0000:1", "timer::1", "order-1", ""),
    "digest": one_of("0" * 32, "f" * 32, "x"),
    "reference": one_of("echo@order-1", IDS[0], IDS[0][:8], "%", "_"),
    "cursor": one_of("", "0", "1:2", "MTow", IDS[0], f"1.{IDS[0]}"),
    "limit": one_of(1, 2, 100, 200),
    "epoch": one_of(0, 1, 2),
    "base": one_of(0, 1, 2),
    "after": one_of(0, 1, 5),
    "attempt": one_of(1, 2),
    "priority": one_of(-100, 0, 100),
    "seconds": one_of(0.0, 1.0, 60.0),
    "ttl": one_of(1.0, 30.0),
    "parameters": one_of({"type": "object"}, {"properties": {"text": {"type": "string"}}}),
}
"""By the name of a field."""
STRANGE: Final[list[Any]] = [
    *(None, True, False, [], {}, [[]], {"": {}}, ""),
    *(0, -1, 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400),
    *(0.0, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan"), 0.1),
    *("\x00", "\ud800", "\udfff", "\U0010ffff", "\u202e", "\x1b[2J", "é" * 300, "x" * 70_000, "a b", "a.b", "*", ">"),
    *("'; DROP SCHEMA aiki CASCADE; --", "%s%n", "{}", "\\", '"', "null", "NaN", "1e999", "\r\nPUB a 0\r\n", "..", "/"),
    *("not-a-uuid", IDS[0].upper(), f"{{{IDS[0]}}}", "00000000-0000-0000-0000-000000000000"),
]
_DAMAGE: Final = [
    *(
        b"\x00",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
    ),
    *(b"1e999", b"9" * 5000, b"-", b"null", b"NaN", b"[" * 2000, b'{"a":' * 500, b"\n", b" " * 100, b"/*"),
]


REQUESTS: Final[Mapping[str, type]] = {name: op.request for name, op in OPS.items()}
PUSHES: Final[Mapping[str, type]] = {"park": Park, "parked": Parked, "handed": HandOver, "told": Told}


class Mutants:
    """An endless source of messages of some kinds, made from one seed; `known` has more values of some fields."""

    def __init__(self, seed: int, kinds: Mapping[str, type], known: Mapping[str, Sequence[Any]] | None = None) -> None:
        self._rng = random.Random(seed)
        self._kinds = {name: types.type_info(kind) for name, kind in kinds.items()}
        self._plausible = {**PLAUSIBLE, **{name: one_of(*values) for name, values in (known or {}).items()}}

    def next(self) -> tuple[str, bytes]:
        """Return the name of a kind and the bytes of a message."""
        name = self._rng.choice(list(self._kinds))
        data = _encoded(self._value(self._kinds[name]))
        if self._rng.random() < DAMAGED:
            data = self._damaged(data)
        return name, data[:LARGEST_BYTES]

    # -- values

    def _value(self, kind: types.Type, name: str = "") -> Any:
        rng = self._rng
        if name and rng.random() < STRANGE_VALUE:
            return rng.choice(STRANGE)
        if name in self._plausible and rng.random() < 0.9 and not isinstance(kind, types.StructType):
            return self._plausible[name](rng)
        match kind:
            case types.StructType():
                return self._struct(kind)
            case types.ListType(item_type=item) | types.VarTupleType(item_type=item):
                return [self._value(item, name) for _ in range(self._length())]
            case types.TupleType(item_types=items):
                return [self._value(item, name) for item in items]
            case types.DictType(key_type=key, value_type=value):
                keys = [str(self._value(key, "label")) for _ in range(self._length())]
                return {key: self._value(value, name) for key in keys}
            case types.UnionType(types=some):
                return self._value(rng.choice(some), name)
            case types.EnumType(cls=cls):
                return rng.choice(list(cls)).value
            case types.LiteralType(values=values):
                return rng.choice(values)
        return self._scalar(kind)

    def _struct(self, kind: types.StructType) -> Any:
        rng = self._rng
        given = [field for field in kind.fields if field.required or kind.array_like or rng.random() < 0.5]
        values = {field.encode_name: self._value(field.type, field.name) for field in given}
        if kind.array_like:
            return list(values.values())[: rng.choice([None, None, None, len(values) - 1])]
        if rng.random() < STRANGE_VALUE and values:
            del values[rng.choice(list(values))]
        return values if kind.tag_field is None else {kind.tag_field: kind.tag, **values}

    def _scalar(self, kind: types.Type) -> Any:
        rng = self._rng
        match kind:
            case types.StrType():
                return rng.choice(["text", "a", "", rng.choice(IDS)])
            case types.BoolType():
                return rng.random() < 0.5
            case types.IntType():
                return rng.choice([0, 1, 2, 1_700_000_000_000_000])
            case types.FloatType():
                return rng.choice([0.0, 1.5, 30])
            case types.NoneType():
                return None
            case types.RawType() | types.AnyType():
                return rng.choice(PAYLOADS)
        raise AssertionError(f"no values for {kind}: add a case")

    def _length(self) -> int:
        return 1200 if self._rng.random() < LONG_LIST else self._rng.choice([0, 1, 1, 2, 3])

    # -- bytes

    def _damaged(self, data: bytes) -> bytes:
        rng = self._rng
        for _ in range(rng.randint(1, 3)):
            start = rng.randrange(len(data) + 1)
            end = min(len(data), start + rng.choice([0, 1, 1, 8, 64]))
            by = rng.choice([b"", rng.randbytes(rng.randint(1, 4)), data[start:end] * 2, rng.choice(_DAMAGE)])
            data = data[:start] + by + data[end:]
            if rng.random() < 0.1:
                data = data[:start]
        return data


def _encoded(value: Any) -> bytes:
    # json and not msgspec: it writes NaN and lone surrogates, and so does who means harm.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")
