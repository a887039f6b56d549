"""RTSP requests and responses, URIs and Transport headers, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.rtsp.limits import Limits
from kinemacolor.stream.rtsp.message import (
    REASONS,
    BadRequest,
    Interleaved,
    Request,
    RequestReader,
    Response,
    content_base,
    format_response,
    locate,
)
from kinemacolor.stream.rtsp.transport import TcpOffer, UdpOffer, parse_transport

LIMITS = Limits()


def read_all(data: bytes, limits: Limits = LIMITS) -> list[Request | Interleaved]:
    reader = RequestReader(limits)
    reader.feed(data)
    items = []
    while (item := reader.next()) is not None:
        items.append(item)
    return items


def test_reads_a_request_with_its_body() -> None:
    (request,) = read_all(
        b"SET_PARAMETER rtsp://h/live RTSP/1.0\r\nCSeq: 7\r\ncontent-length: 4\r\n\r\nbody"
    )
    assert request == Request(
        "SET_PARAMETER", "rtsp://h/live", 7, {"cseq": "7", "content-length": "4"}, b"body"
    )


def test_pipelined_requests_and_binary_frames_come_out_in_order() -> None:
    options = b"OPTIONS * RTSP/1.0\r\nCSeq: %d\r\n\r\n"
    items = read_all(options % 1 + b"$\x01\x00\x03abc" + b"\r\n" + options % 2 + b"$\x00\x00\x09a")
    assert [getattr(item, "cseq", item) for item in items] == [1, Interleaved(1, b"abc"), 2]


@given(st.binary(max_size=600), st.lists(st.integers(1, 200), max_size=8))
def test_arbitrary_bytes_raise_nothing_but_bad_request(data: bytes, cuts: list[int]) -> None:
    reader = RequestReader(LIMITS)
    refused: BadRequest | None = None
    try:
        for size in [*cuts, len(data)]:
            reader.feed(data[:size])
            data = data[size:]
            while reader.next() is not None:
                pass
    except BadRequest as error:
        refused = error
    assert refused is None or refused.status in REASONS


_LINES = st.sampled_from(
    [
        "DESCRIBE rtsp://h/live RTSP/1.0",
        "CSeq: 1",
        "CSeq: 4294967296",
        "Content-Length: 3",
        "Content-Length: ٣",  # Arabic-Indic digits are digits to str.isdigit
        "Session:",
        ": empty",
        "no colon",
        " folded",
        "Tab:\there",
        "Nul: \0",
        "",
    ]
)


@given(st.lists(_LINES, max_size=8), st.sampled_from(["\r\n", "\n", "\r"]))
def test_almost_right_requests_raise_nothing_but_bad_request(lines: list[str], end: str) -> None:
    refused: BadRequest | None = None
    try:
        for item in read_all((end.join(lines) + end * 2).encode()):
            assert isinstance(item, Request)
            assert len(item.body) == int(item.headers.get("content-length", "0"))
    except BadRequest as error:
        refused = error
    assert refused is None or refused.status in REASONS


@given(st.binary(max_size=300).map(lambda body: b"OPTIONS * RTSP/1.0\nCSeq: 5\n\n" + body))
def test_how_bytes_are_cut_makes_no_difference(data: bytes) -> None:
    def outcome(pieces: list[bytes]) -> list[object]:
        reader, found = RequestReader(LIMITS), []
        try:
            for piece in pieces:
                reader.feed(piece)
                while (item := reader.next()) is not None:
                    found.append(item)
        except BadRequest as error:
            found.append(error.status)
        return found

    assert outcome([data]) == outcome([data[i : i + 1] for i in range(len(data))])


@pytest.mark.parametrize(
    ("data", "status", "cseq"),
    [
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400, None),
        (b"OPTIONS *\r\nCSeq: 3\r\n\r\n", 400, 3),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 3\r\n\r\n", 505, 3),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400, None),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\nCSeq: 4\r\n\r\n", 400, 3),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n folded\r\n\r\n", 400, 3),
        (b"OPTIONS rtsp://" + b"a" * 2100 + b" RTSP/1.0\r\nCSeq: 3\r\n\r\n", 414, 3),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\nX: " + b"a" * 9000, 431, 3),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n" + b"X: a\r\n" * 60 + b"\r\n", 431, 3),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\nContent-Length: 5000\r\n\r\n", 413, 3),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\nContent-Length: -1\r\n\r\n", 400, 3),
    ],
)
def test_what_is_wrong_is_told_with_its_status_and_cseq(
    data: bytes, status: int, cseq: int | None
) -> None:
    with pytest.raises(BadRequest) as caught:
        read_all(data)
    assert (caught.value.status, caught.value.cseq) == (status, cseq)


def test_a_response_echoes_the_cseq_and_counts_its_body() -> None:
    text = format_response(Response(200, (("Public", "PLAY"),), b"hello"), 9, "us")
    assert text == (
        b"RTSP/1.0 200 OK\r\nCSeq: 9\r\nServer: us\r\nPublic: PLAY\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("rtsp://h:8554/live", None),
        ("rtsp://h/live/", None),
        ("rtsp://ann@h/live?x=1", None),
        ("rtsp://h/live/trackID=1", 1),
        ("RTSP://h/live//trackID=0", 0),
    ],
)
def test_locates_the_stream_and_its_tracks(uri: str, found: int | None) -> None:
    assert locate(uri, "live", tracks=(0, 1)) == found


@pytest.mark.parametrize(
    "uri",
    [
        *("rtsp://h", "rtsp://h/", "rtsp://h/live2", "rtsp://h/live/trackID=2", "/live", "*"),
        *("rtsp://h/live/trackID=", "http://h/live", "rtsp://h/x/live", "rtsp://h/live/../live"),
    ],
)
def test_everything_else_is_not_here(uri: str) -> None:
    with pytest.raises(KeyError):
        locate(uri, "live", tracks=(0, 1))


def test_the_base_for_tracks_holds_no_login() -> None:
    assert content_base("rtsp://ann:pw@h:1/live/?x=1") == "rtsp://h:1/live/"
    assert content_base("rtsp://h/live/trackID=0") == "rtsp://h/live/"


@pytest.mark.parametrize(
    ("header", "offers"),
    [
        ("RTP/AVP;unicast;client_port=5000-5001", [UdpOffer((5000, 5001))]),
        ("RTP/AVP/UDP;unicast;client_port=5000", [UdpOffer((5000, 5001))]),
        ("RTP/AVP/TCP;unicast;interleaved=2-3", [TcpOffer((2, 3))]),
        ('RTP/AVP/TCP;mode="PLAY"', [TcpOffer(None)]),
        ("RTP/SAVP, RTP/AVP;multicast, RTP/AVP/TCP;interleaved=0-1", [TcpOffer((0, 1))]),
        ("RTP/AVP;unicast;client_port=80-81", []),
        ("RTP/AVP;unicast;client_port=65535", []),
        ("RTP/AVP;unicast", []),
        ("RTP/AVP/TCP;interleaved=4-4", []),
        ("RTP/AVP/TCP;interleaved=0-256", []),
        ("RTP/AVP/TCP;interleaved=0-1;mode=RECORD", []),
    ],
)
def test_transports(header: str, offers: list[TcpOffer | UdpOffer]) -> None:
    assert parse_transport(header) == offers


@given(st.text(max_size=200))
def test_any_transport_header_is_read_or_passed_over(header: str) -> None:
    for offer in parse_transport(header):
        assert isinstance(offer, TcpOffer | UdpOffer)
