"""Form c1: equal values give equal bytes, different values differ, and what cannot be stored is refused."""

import json
import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.canonical import NESTING, canonical, digest, nests_too_deep, parse
from aiki.core.errors import PayloadError
from aiki.wire.limits import PAYLOAD_BYTES

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


def strict(value):
    """Return something that compares equal exactly when form c1 should be equal: True is not 1, but 1.0 is."""
    if isinstance(value, dict):
        return {"object": {name: strict(member) for name, member in value.items()}}
    if isinstance(value, list):
        return {"array": [strict(item) for item in value]}
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and not (value.is_integer() and abs(value) < 2**53):
        return ("float", value)
    return ("scalar", int(value) if isinstance(value, float) else value)


def shuffled(value):
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_the_form_is_json_of_the_same_value(value):
    assert strict(json.loads(canonical(value))) == strict(value)


@given(VALUES)
def test_the_order_of_members_does_not_matter(value):
    assert canonical(shuffled(value)) == canonical(value)


@given(VALUES, VALUES)
def test_different_values_have_different_forms(one, other):
    assert (canonical(one) == canonical(other)) == (strict(one) == strict(other))


@given(VALUES)
def test_the_form_of_the_form_is_itself(value):
    form = canonical(value)
    assert canonical(parse(form, limit=PAYLOAD_BYTES)) == form


def test_the_form_never_changes():
    # Journals hold digests of it: if this test fails, runs in flight are lost.
    value = {
        "b": [1.0, -0.0, 0.1, 1e16, 1e22, 1e-7, 5e-324, 2.0**53, 2**80, -(2**63)],
        "a": {"é": None, "\uffff": True, "\U0001f600": '\0\x1f\x7f\\"/ü\u2028'},
    }
    form = canonical(value)
    assert form == (
        b'{"a":{"\xc3\xa9":null,"\xef\xbf\xbf":true,"\xf0\x9f\x98\x80":"\\u0000\\u001f\x7f\\\\\\"/\xc3\xbc\xe2\x80\xa8"},'
        b'"b":[1,0,0.1,1e16,1e22,1e-7,5e-324,9007199254740992.0,1208925819614629174706176,-9223372036854775808]}'
    )
    assert digest(form) == "5c2e63f1ee5d21b6953393b889182e05"
    assert digest(b"{}") == "8ce3fc0f5bb09fa4655871950a33187a"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_with_its_path(value):
    with pytest.raises(PayloadError, match=r"\$\.a\[1\]"):
        canonical({"a": [1.0, value]})


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", 1j, {1: 2}, {None: 2}, {"a": {3}}, math])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(PayloadError, match="is not JSON"):
        canonical(value)


@pytest.mark.parametrize("value", ["\ud800", ["x", "\udfff"], {"a\ud800": 1}, {"a": {"b": ["\ud800"]}}])
def test_lone_surrogates_are_refused(value):
    with pytest.raises(PayloadError, match="lone surrogate"):
        canonical(value)


def test_the_place_of_a_lone_surrogate_is_told():
    with pytest.raises(PayloadError, match=r"\$\.a\.b\[1\]"):
        canonical({"a": {"b": ["ok", "\ud800"]}})


def nested(levels):
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_as_many_levels_as_allowed_and_not_one_more():
    assert canonical(nested(NESTING)).count(b"[") == NESTING
    for levels in (NESTING + 1, 100_000):
        with pytest.raises(PayloadError, match="200 levels"):
            canonical(nested(levels))


def test_a_value_that_contains_itself_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(PayloadError, match="contains itself"):
        canonical(value)


def test_parse_takes_json_exactly():
    assert parse(b'{"a":[1,2.5,"\\u0000",123456789012345678901234567890]}', limit=100) == {
        "a": [1, 2.5, "\0", 123456789012345678901234567890]
    }
    assert parse('"ü"', limit=100) == "ü"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":{"b":1,"b":1}}', "'b' twice"),
        (b'{"\\u0061":1,"a":1}', "'a' twice"),
        (b"NaN", "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\ud800":1}', "lone surrogate"),
        ('"\ud800"', "UTF-8"),
        (b'"\xff"', "UTF-8"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[1,]", "not JSON"),
        (b'"' + b"x" * PAYLOAD_BYTES + b'"', "262,146 bytes"),
        (b"[" * 201 + b"]" * 201, "200 levels"),
        (b'{"a":' * 201 + b"1" + b"}" * 201, "200 levels"),
        (b"[" * 100_000, "200 levels"),
        (b"1" * 5000, "digits"),
        (b"1e999", "1e999 is not a number"),
    ],
)
def test_parse_refuses_what_would_be_changed_or_crash(text, reason):
    with pytest.raises(PayloadError, match=reason):
        parse(text, limit=PAYLOAD_BYTES)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 10_000_000,
        b"[" * 5_000_000 + b"]" * 5_000_000,
        b"[" + (b"[" * 200 + b"]" * 200) * 25_000 + b"]",
    ],
    ids=["open", "closed", "runs"],
)
def test_ten_megabytes_of_nesting_are_refused_at_once(data):
    started = time.process_time()
    assert nests_too_deep(data)
    assert time.process_time() - started < 2  # tens of milliseconds; seconds if it were not linear
    with pytest.raises(PayloadError, match="bytes, more than"):
        parse(data, limit=PAYLOAD_BYTES)


def test_levels_of_both_kinds_are_counted_each():
    def mixed(levels: int) -> bytes:
        return b'{"a":[' * (levels // 2) + b"[" * (levels % 2) + b"]" * (levels % 2) + b"]}" * (levels // 2)

    assert parse(mixed(NESTING), limit=PAYLOAD_BYTES)
    for levels in (NESTING + 1, NESTING + 2, 2 * NESTING):
        with pytest.raises(PayloadError, match="200 levels"):
            parse(mixed(levels), limit=PAYLOAD_BYTES)


def nest(draw: random.Random, opening: float, length: int) -> tuple[bytes, int]:
    """Return arrays and objects in each other at random (JSON but for their members), and how deep they go."""
    data, deepest = bytearray(), 0
    inside: list[bytes] = []
    while length > 0 or inside:
        if length > 0 and (not inside or draw.random() < opening):
            inside.append(draw.choice([b"[]", b"{}"]))
            data += inside[-1][:1]
            deepest = max(deepest, len(inside))
        else:
            data += inside.pop()[1:]
        length -= 1
    return bytes(data), deepest


def test_levels_are_counted_exactly():
    seen = set()
    for seed in range(200):
        draw = random.Random(seed)
        data, deepest = nest(draw, draw.choice([0.5, 0.53, 0.55, 0.9]), draw.randint(400, 3000))
        assert nests_too_deep(data) == (deepest > NESTING), seed
        seen.add(deepest > NESTING)
    assert seen == {True, False}


@given(st.binary(max_size=300) | st.text('[]{}"\\a,:').map(str.encode))
def test_parse_never_raises_anything_else(data):
    try:
        value = parse(data, limit=200)
    except PayloadError:
        return
    canonical(value)


def test_brackets_in_text_are_no_levels():
    assert not nests_too_deep(json.dumps(["[" * 500, '\\"[{' * 500, "{}" * 300]).encode())
    assert not nests_too_deep(json.dumps([[]] * 1000).encode())
    assert nests_too_deep(b'["]]]]",' * 201 + b"1" + b"]" * 201)
