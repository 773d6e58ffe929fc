"""What the bytes of a server mean, whatever is in them and however they come cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiki.nats.frames import LINE_BYTES, BrokenStream, Frame, Frames, Info, Message, Ping, Pong, Problem, Unreadable

GOOD = b"MSG a.b 7 5\r\nhello\r\n"


def read(*pieces: bytes) -> list[Frame]:
    frames = Frames()
    return [frame for piece in pieces for frame in frames.receive(piece)]


def hmsg(headers: bytes, payload: bytes = b"hello", *, subject: bytes = b"a.b", size: int | None = None) -> bytes:
    size = len(headers) if size is None else size
    return b"HMSG %b 7 %d %d\r\n%b%b\r\n" % (subject, size, len(headers + payload), headers, payload)


def test_each_kind_of_frame_is_read():
    stream = (
        b'INFO {"max_payload":64,"tls_required":true,"connect_urls":["a:1"],"unknown":[]}\r\n'
        b"PING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n"
        b"MSG a 1 0\r\n\r\nMSG a.b 12 _INBOX.x 2\r\nhi\r\n" + hmsg(b"NATS/1.0 503\r\n\r\n", b"")
    )
    assert read(stream) == [
        Info(max_payload=64, tls_required=True, connect_urls=["a:1"]),
        Ping(),
        Pong(),
        Problem("Stale Connection"),
        Message(b"1", "a", "", "", b""),
        Message(b"12", "a.b", "_INBOX.x", "", b"hi"),
        Message(b"7", "a.b", "", "503", b""),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"MSG a.\xff 7 2\r\nhi\r\n", id="a subject that is not UTF-8"),
        pytest.param(b"MSG a 7 _INBOX.\xff\xfe 2\r\nhi\r\n", id="a reply subject that is not UTF-8"),
        pytest.param(hmsg(b"NATS/1.0\r\n\r\n", subject=b"\xc3"), id="a cut character"),
        pytest.param(hmsg(b"NATS/1.0\r\n\r\n", b"", size=99), id="headers larger than the whole"),
    ],
)
def test_a_message_that_cannot_be_read_is_left_out_and_the_next_is_read(bad):
    unreadable, message = read(bad + GOOD)
    assert isinstance(unreadable, Unreadable)
    assert message == Message(b"7", "a.b", "", "", b"hello")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", ""),
        (b"N", ""),
        (b"NATS/1.0", ""),
        (b"NATS/1.0 ", ""),
        (b"NATS/1.0 5", "5"),
        (b"NATS/1.0 404 No Messages\r\n\r\n", "404"),
        (b"NATS/1.0 \xff\xfe\xfd\r\n\r\n", ""),
        (b"NATS/1.0 5\xff3\r\n\r\n", ""),
        (b"NATS/1.0 -12\r\n\r\n", ""),
        (b"NATS/1.0 \xd9\xa1\xd9\xa2", ""),
        (b"NATS/1.0\r\nStatus: 503\r\n\r\n", ""),
        (b"\r\n\r\n", ""),
        (b"\x00" * 40, ""),
        (b": \r\n:\r\n", ""),
    ],
)
def test_of_a_header_block_only_the_status_is_read(headers, status):
    assert read(hmsg(headers)) == [Message(b"7", "a.b", "", status, b"hello")]


@pytest.mark.parametrize("space", [b"\x0b", b"\x0c", b"\x1c", b"\xc2\x85", b"\xe2\x80\xa8", b"\x00"])
def test_what_looks_like_a_blank_elsewhere_is_none_in_a_subject(space):
    assert read(b"MSG a" + space + b"b 7 2\r\nhi\r\n") == [Message(b"7", f"a{space.decode()}b", "", "", b"hi")]


@pytest.mark.parametrize(
    "stream",
    [
        b"HELLO\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a 7\r\n",
        b"MSG a 7 x\r\n",
        b"MSG a 7 -1\r\n",
        b"MSG a 7 1_0\r\n",
        b"MSG a 7 99999999999\r\n",
        b"MSG a 7 _INBOX.x more 2\r\nhi\r\n",
        b"HMSG 2\r\nhi\r\n",
        b"HMSG a 7 x 2\r\nhi\r\n",
        b"MSG a 7 2\r\nhi!\r\n",
        b"INFO {\r\n",
        b'INFO {"connect_urls":"\xff"}\r\n',
        b"x" * (LINE_BYTES + 1),
    ],
)
def test_a_stream_that_is_not_nats_is_told_from_a_bad_message(stream):
    with pytest.raises(BrokenStream):
        read(stream + GOOD)


@given(cuts=st.lists(st.integers(0, 200), max_size=12), payload=st.binary(max_size=60))
def test_it_does_not_matter_how_the_bytes_come_cut(cuts, payload):
    stream = b"PING\r\n" + GOOD + hmsg(b"NATS/1.0 100\r\n\r\n", payload) + b"MSG \xff 7 0\r\n\r\n" + GOOD
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert read(*pieces) == read(stream)


@given(
    subject=st.binary(min_size=1).filter(lambda word: not set(word) & set(b" \t\r\n")),
    reply=st.binary().filter(lambda word: not set(word) & set(b" \t\r\n")),
    headers=st.binary(),
    payload=st.binary(),
)
def test_whatever_a_stranger_publishes_the_next_message_is_read(subject, reply, headers, payload):
    words = [b"HMSG", subject, b"7", *([reply] if reply else []), b"%d %d" % (len(headers), len(headers + payload))]
    first, second = read(b" ".join(words) + b"\r\n" + headers + payload + b"\r\n" + GOOD)
    assert isinstance(first, Message | Unreadable)
    assert second == Message(b"7", "a.b", "", "", b"hello")
    if isinstance(first, Message):
        assert (first.subject.encode(), first.reply.encode(), first.data) == (subject, reply, payload)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_garbage_is_nothing_or_a_broken_stream(pieces):
    try:
        read(*pieces)
    except BrokenStream:
        return
