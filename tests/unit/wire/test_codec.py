"""The envelope, the names on NATS, and payloads that pass through untouched."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.core.errors import AikiError, Conflict, NotFound, Overloaded
from aiki.core.states import Move
from aiki.wire import codec, subjects
from aiki.wire.messages import NONE, Claim, End, Enqueue, Entry, Fence, NewRun, Record, RecordReply, Unit


def test_a_reply_comes_back_as_its_type() -> None:
    reply = codec.decode_reply(codec.encode_reply(RecordReply(7, [])), RecordReply)
    assert reply == RecordReply(7, [])


@pytest.mark.parametrize("kind", [Conflict, NotFound])
def test_an_error_reply_is_raised_as_its_class(kind: type[AikiError]) -> None:
    with pytest.raises(kind, match="the key") as caught:
        codec.decode_reply(codec.encode_error(kind("the key", hint="look")), RecordReply)
    assert caught.value.hint == "look"


def test_overloaded_carries_when_to_come_back() -> None:
    with pytest.raises(Overloaded) as caught:
        codec.decode_reply(codec.encode_error(Overloaded("busy", retry_after=1.5)), RecordReply)
    assert caught.value.retry_after == 1.5


def test_an_unknown_error_code_is_still_an_aiki_error() -> None:
    data = b'{"error":{"code":"from_the_future","message":"m"}}'
    with pytest.raises(AikiError, match="m"):
        codec.decode_reply(data, RecordReply)


def test_unknown_fields_are_ignored_so_newer_peers_may_add_some() -> None:
    data = b'{"session":"s","claim_id":"c","routes":[],"limit":1,"new":true}'
    assert codec.decoder(Claim).decode(data) == Claim("s", "c", [], 1)


@pytest.mark.parametrize(
    "payload", [b'"\\u0000"', b"123456789012345678901234567890", b'{"a":1,"a":2}', b"1e400", b"null"]
)
def test_a_payload_crosses_the_wire_byte_by_byte(payload: bytes) -> None:
    sent = Enqueue([NewRun("i", "w", "1", msgspec.Raw(payload))])
    assert bytes(codec.decoder(Enqueue).decode(codec.encode(sent)).runs[0].input) == payload


def test_a_unit_without_payloads_leaves_them_out() -> None:
    unit = Unit(Fence("r", 1, "c"), 0, [Entry("k", True, msgspec.Raw(b"1"), 5)], [], End(Move.RELEASE))
    data = codec.encode(Record([unit]))
    assert b"output" not in data
    decoded = codec.decoder(Record).decode(data).units[0]
    assert decoded.end is not None
    assert decoded.end.output == NONE


versions = st.text(alphabet="aZ09_.+-", min_size=1, max_size=32)


@given(versions, versions)
def test_different_versions_never_share_a_token(a: str, b: str) -> None:
    assert (subjects.version_token(a) == subjects.version_token(b)) == (a == b)
    assert subjects.is_token(subjects.version_token(a))


@pytest.mark.parametrize("name", ["", "a b", "a.b", "a*", ">", "ä", "x" * 65, "a\n"])
def test_what_is_no_token_is_refused(name: str) -> None:
    assert not subjects.is_token(name)
