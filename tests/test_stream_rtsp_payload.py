"""H.264 and every kind of sound into RTP packets and back, and RTCP reports."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinemacolor.stream.rtsp.errors import BadMedia
from kinemacolor.stream.rtsp.nal import (
    ParameterSets,
    parse_extradata,
    split_annex_b,
    split_length_prefixed,
)
from kinemacolor.stream.rtsp.payload import (
    aac_payloads,
    h264_payloads,
    mpeg_audio_payloads,
    opus_payloads,
)
from kinemacolor.stream.rtsp.rtp import RtpStream, is_rtcp
from kinemacolor.stream.rtsp.sdp import describe
from kinemacolor.stream.rtsp.tracks import AudioTrack, VideoTrack

from tests.rtsp_peer import depacketize_h264, encode_clip

SPS, PPS = bytes.fromhex("6742c01eda0280f6840000030004"), bytes.fromhex("68ce06f2")
# A NAL unit: a type this format packs (1 to 12), no start code inside, no zero at its end.
NALS = st.builds(
    lambda kind, importance, body: (
        bytes([importance << 5 | kind]) + body.replace(b"\x00\x00", b"\x00\x07") + b"\x80"
    ),
    st.integers(1, 12),
    st.integers(0, 3),
    st.binary(max_size=400),
)


@given(st.lists(NALS, min_size=1, max_size=8), st.integers(16, 300))
def test_h264_comes_back_as_it_was_and_no_payload_is_too_long(
    nals: list[bytes], max_bytes: int
) -> None:
    payloads = h264_payloads(nals, max_bytes)
    assert all(0 < len(payload) <= max_bytes for payload in payloads)
    assert depacketize_h264(payloads) == nals


def test_parameter_sets_travel_in_one_stap_a_before_the_slice() -> None:
    slice_ = b"\x65" + b"\x11" * 99
    payloads = h264_payloads([SPS, PPS, slice_], 1388)
    assert [payload[0] & 31 for payload in payloads] == [24, 5]


@given(st.lists(NALS, min_size=1, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_annex_b_splits_at_short_and_long_start_codes(
    nals: list[bytes], long_codes: list[bool]
) -> None:
    codes = [b"\x00\x00\x00\x01" if is_long else b"\x00\x00\x01" for is_long in long_codes]
    data = b"".join(code + nal for code, nal in zip(codes, nals, strict=False))
    assert split_annex_b(data) == nals


@given(st.lists(NALS, min_size=1, max_size=8), st.sampled_from([2, 4]))
def test_length_prefixed_units_split(nals: list[bytes], size: int) -> None:
    data = b"".join(len(nal).to_bytes(size, "big") + nal for nal in nals)
    assert split_length_prefixed(data, size) == nals


@given(st.binary(max_size=200), st.sampled_from([1, 2, 4]))
def test_wrong_lengths_are_an_error_and_never_read_past_the_end(data: bytes, size: int) -> None:
    with contextlib.suppress(BadMedia):
        assert sum(map(len, split_length_prefixed(data, size))) <= len(data)


def test_extradata_of_both_kinds() -> None:
    avcc = b"\x01\x42\xc0\x1e\xff\xe1" + struct.pack("!H", len(SPS)) + SPS
    avcc += b"\x01" + struct.pack("!H", len(PPS)) + PPS
    sets = ParameterSets((SPS,), (PPS,))
    assert parse_extradata(avcc) == (sets, 4)
    assert parse_extradata(b"\0\0\0\1" + SPS + b"\0\0\1" + PPS) == (sets, 0)
    assert parse_extradata(b"") == (ParameterSets(), 0)


@given(st.binary(min_size=1, max_size=80))
def test_other_extradata_is_refused_or_read(extradata: bytes) -> None:
    try:
        sets, _ = parse_extradata(extradata)
    except BadMedia:
        return
    assert sets.is_whole


@given(st.binary(min_size=1, max_size=4000), st.integers(20, 1400))
def test_aac_comes_back_with_its_whole_size_in_every_header(frame: bytes, most: int) -> None:
    payloads = aac_payloads(frame, most)
    assert all(len(payload) <= most for payload in payloads)
    assert {payload[:2] for payload in payloads} == {b"\x00\x10"}
    assert {int.from_bytes(payload[2:4], "big") >> 3 for payload in payloads} == {len(frame)}
    assert b"".join(payload[4:] for payload in payloads) == frame


def test_audio_frames_that_do_not_fit_the_format_are_refused() -> None:
    with pytest.raises(BadMedia):
        aac_payloads(bytes(8192), 1388)
    with pytest.raises(BadMedia):
        opus_payloads(bytes(1389), 1388)
    with pytest.raises(BadMedia):
        opus_payloads(b"", 1388)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.integers(0, 65535))
def test_sequence_numbers_run_on_over_the_wrap_and_the_last_packet_is_marked(
    sizes: list[int], first: int
) -> None:
    rtp = RtpStream(96, 90_000, sequence=first)
    packets = []
    for index, size in enumerate(sizes):
        unit = rtp.packets([b"x"] * size, index / 25)
        assert [packet[1] >> 7 for packet in unit] == [0] * (size - 1) + [1]
        packets += unit
    numbers = [int.from_bytes(packet[2:4], "big") for packet in packets]
    assert numbers == [(first + i) % 65536 for i in range(len(packets))]
    assert (rtp.packet_count, rtp.octet_count) == (len(packets), len(packets))


def test_timestamps_wrap_and_keep_their_distance() -> None:
    rtp = RtpStream(96, 90_000, offset=0xFFFFFF00)
    assert (rtp.timestamp(1.04) - rtp.timestamp(1.0)) & 0xFFFFFFFF == 3600


def test_reports_of_two_tracks_put_one_moment_on_both_clocks() -> None:
    video, audio = RtpStream(96, 90_000), RtpStream(97, 48_000)
    fields = []
    for rtp in (video, audio):
        report = rtp.sender_report(wall_seconds=1_000_000.5, media_seconds=7.25, name="viewer")
        assert is_rtcp(report)
        ntp, timestamp = struct.unpack_from("!QI", report, 8)
        fields.append((ntp, (timestamp - rtp.offset) % (1 << 32) / rtp.clock_rate))
    assert fields[0] == fields[1] == ((2_208_988_800 + 1_000_000) << 32 | 1 << 31, 7.25)


@given(st.text(max_size=300))
def test_every_compound_we_send_is_well_formed(name: str) -> None:
    rtp = RtpStream(96, 90_000)
    assert is_rtcp(rtp.goodbye(name))
    assert is_rtcp(rtp.sender_report(wall_seconds=0, media_seconds=0, name=name))


@given(st.binary(max_size=100))
def test_is_rtcp_judges_any_bytes(data: bytes) -> None:
    assert not is_rtcp(data) or len(data) % 4 == 0


def test_sdp_of_a_real_encoder() -> None:
    clip = encode_clip(0.64)
    sets, _ = parse_extradata(clip.video_extradata)
    text = describe(
        VideoTrack(sets),
        AudioTrack("aac", clip.audio_config, 48_000, 2),
        address="127.0.0.1",
        number=1,
        title="film",
    ).decode()
    assert "a=rtpmap:96 H264/90000\r\n" in text
    assert f"profile-level-id={sets.sps[0][1:4].hex().upper()}; " in text
    assert "a=rtpmap:97 mpeg4-generic/48000/2\r\n" in text
    assert f"config={clip.audio_config.hex().upper()}\r\n" in text
    assert text.count("a=control:trackID=") == 2


@given(st.binary(min_size=1, max_size=2000), st.integers(20, 1400))
def test_mpeg_audio_fragments_say_where_they_begin(frame: bytes, most: int) -> None:
    payloads = mpeg_audio_payloads(frame, most)
    assert all(len(payload) <= most for payload in payloads)
    offsets = [int.from_bytes(payload[:4], "big") for payload in payloads]
    assert offsets == list(range(0, len(frame), most - 4))
    assert b"".join(payload[4:] for payload in payloads) == frame


@given(st.integers(1, 900), st.integers(1, 2), st.integers(20, 300), st.sampled_from([8000, 44100]))
def test_samples_are_cut_between_frames_and_each_piece_has_its_time(
    count: int, channels: int, most: int, rate: int
) -> None:
    data = bytes(number % 251 for number in range(count * channels * 2))
    units = AudioTrack("l16", b"", rate, channels).cut(data, most)
    place = 0
    for later, (piece,) in units:
        assert len(piece) <= most
        assert later == pytest.approx(place / (2 * channels) / rate)
        place += len(piece)
        assert place % (2 * channels) == 0
    assert b"".join(piece for _, (piece,) in units) == data


def test_half_a_sample_is_an_error() -> None:
    with pytest.raises(BadMedia, match="multiple of 4"):
        AudioTrack("l16", b"", 44_100, 2).cut(bytes(6), 1388)
    with pytest.raises(BadMedia):
        AudioTrack("pcmu", b"", 8_000, 1).cut(b"", 1388)


@pytest.mark.parametrize(
    ("track", "kind", "encoding"),
    [
        (AudioTrack("pcmu", b"", 8_000, 1), 0, "PCMU/8000"),
        (AudioTrack("pcma", b"", 8_000, 1), 8, "PCMA/8000"),
        (AudioTrack("pcma", b"", 8_000, 2), 97, "PCMA/8000/2"),
        (AudioTrack("l16", b"", 44_100, 2), 10, "L16/44100/2"),
        (AudioTrack("l16", b"", 44_100, 1), 11, "L16/44100"),
        (AudioTrack("l16", b"", 16_000, 1), 97, "L16/16000"),
        (AudioTrack("mpa", b"", 44_100, 2), 14, "MPA/90000"),
        (AudioTrack("opus", b"", 24_000, 1), 97, "opus/48000/2"),
    ],
)
def test_payload_types_and_clocks_are_those_of_rfc_3551(
    track: AudioTrack, kind: int, encoding: str
) -> None:
    text = describe(None, track, address="127.0.0.1", number=1, title="x").decode()
    assert f"m=audio 0 RTP/AVP {kind}\r\na=rtpmap:{kind} {encoding}\r\n" in text
    assert track.clock_rate == int(encoding.split("/")[1])


def test_sound_without_ends_to_mark_has_no_marker() -> None:
    track = AudioTrack("pcmu", b"", 8_000, 1)
    rtp = RtpStream(track.payload_type, track.clock_rate, track.marks_ends)
    assert [packet[1] for packet in rtp.packets([b"x"], 0.0)] == [0]
