"""RTMP's chunks and AMF0, taken apart and put together."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.rtmp.message import (
    SET_CHUNK_SIZE,
    VIDEO,
    BadRtmp,
    Reader,
    amf,
    chunks,
    parse_amf,
)

SIMPLE = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=30)
VALUES = st.lists(SIMPLE | st.dictionaries(st.text(min_size=1, max_size=9), SIMPLE, max_size=4))


@given(VALUES)
def test_amf_comes_back_as_it_was(values: list[Any]) -> None:
    assert parse_amf(amf(*values)) == values


@given(st.binary(max_size=200))
def test_any_bytes_are_amf_or_an_error(data: bytes) -> None:
    with contextlib.suppress(BadRtmp):
        parse_amf(data)


def test_a_dictionary_with_its_length_is_read_and_an_unknown_kind_ends_the_list() -> None:
    counted = b"\x08\x00\x00\x00\x01" + amf({"level": "status"})[1:]
    assert parse_amf(amf("onStatus", 0) + counted + b"\x0f...") == [
        "onStatus",
        0,
        {"level": "status"},
    ]


@given(
    st.lists(st.tuples(st.integers(3, 63), st.binary(max_size=900)), max_size=6),
    st.integers(1, 400),
    st.sampled_from([0, 40, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF]),
    st.integers(1, 77),
)
def test_messages_come_back_however_they_were_cut(
    bodies: list[tuple[int, bytes]], chunk_bytes: int, ms: int, piece: int
) -> None:
    """Also past 4 h 39 min, where times no longer fit their three bytes."""
    size = chunk_bytes.to_bytes(4, "big")
    data = chunks(2, SET_CHUNK_SIZE, 0, 0, size, 128)
    for channel, body in bodies:
        data += chunks(channel, VIDEO, 1, ms, body, chunk_bytes)
    reader = Reader()
    got = [m for at in range(0, len(data), piece) for m in reader.feed(data[at : at + piece])]
    assert got == [(SET_CHUNK_SIZE, size), *((VIDEO, body) for _, body in bodies)]


def test_messages_of_two_channels_may_alternate() -> None:
    one, two = chunks(4, 8, 1, 0, b"a" * 200, 128), chunks(6, 9, 1, 0, b"b" * 200, 128)
    mixed = one[: 12 + 128] + two[: 12 + 128] + one[12 + 128 :] + two[12 + 128 :]
    assert Reader().feed(mixed) == [(8, b"a" * 200), (9, b"b" * 200)]


def test_short_headers_repeat_what_was_said_before() -> None:
    whole = chunks(3, 20, 1, 5, b"abc", 128)
    same_length = bytes([0x80 | 3]) + bytes(3) + b"def"  # 5.3.1.2.3: only another time
    other_kind = bytes([0x40 | 3]) + bytes(3) + b"\0\0\1" + b"\x14" + b"g"
    assert Reader().feed(whole + same_length + other_kind) == [
        (20, b"abc"),
        (20, b"def"),
        (20, b"g"),
    ]


@given(st.binary(max_size=400))
def test_any_bytes_are_messages_or_an_error(data: bytes) -> None:
    with contextlib.suppress(BadRtmp):
        Reader().feed(data)


def test_a_message_beyond_all_bounds_is_an_error() -> None:
    with pytest.raises(BadRtmp, match="bytes"):
        Reader().feed(b"\x03\0\0\0\xff\xff\xff\x14\0\0\0\0")
