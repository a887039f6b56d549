"""HLS in a folder and MPEG-TS on a pipe, read back by FFmpeg."""

from __future__ import annotations

import io
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from kinemacolor.stream.errors import BadSink, SinkError
from kinemacolor.stream.options import LiveOptions
from kinemacolor.stream.sinks.encode import EncodeOptions
from kinemacolor.stream.sinks.mux import MuxSink, open_hls_sink
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sources.open import open_source

from tests.media import ffprobe, write_clip

QUICK = EncodeOptions(preset="ultrafast")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "film.mkv", codec="libx264", size=(160, 120), frames=50, audio="aac"
    )


def test_hls_of_a_film_is_whole_and_has_its_sound(film: Path, tmp_path: Path) -> None:
    source = open_source(film)
    sink = open_sink(f"hls:{tmp_path}/web/live", source, options=QUICK)
    for item in source:
        sink.write(item)
    sink.finish()
    playlist = tmp_path / "web" / "live" / "index.m3u8"
    streams = ffprobe(playlist, "-count_packets", "-show_streams")["streams"]
    assert {s["codec_name"] for s in streams} == {"h264", "aac"}
    assert next(s["nb_read_packets"] for s in streams if s["codec_name"] == "h264") == "50"
    assert "#EXT-X-ENDLIST" in playlist.read_text()
    with pytest.raises(SinkError, match="--overwrite"):
        open_sink(f"hls:{tmp_path}/web/live", source)
    open_sink(f"hls:{tmp_path}/web/live", source, overwrite=True).abandon(keep=False)
    source.close()


def test_live_hls_keeps_six_segments_and_deletes_the_others(tmp_path: Path) -> None:
    source = open_source("test:64x48@10#60")
    source.live = True  # type: ignore[misc]
    sink = open_sink(f"hls:{tmp_path}", source, options=QUICK)
    for frame in source:
        assert isinstance(frame, av.VideoFrame)
        grey = frame.reformat(format="yuv420p")
        grey.pts, grey.time_base = frame.pts, frame.time_base
        sink.write(grey)
    sink.finish()
    source.close()
    listed = (tmp_path / "index.m3u8").read_text()
    assert listed.count("#EXTINF") == 6
    assert len(list(tmp_path.glob("*.ts"))) <= 8  # FFmpeg deletes a little later


def test_mpegts_on_a_pipe_can_be_read_while_it_is_written(film: Path) -> None:
    source = open_source(film, live=LiveOptions(realtime=True))
    read_end, write_end = os.pipe()
    counted: list[int] = []

    def read() -> None:
        with os.fdopen(read_end, "rb") as pipe, av.open(pipe, format="mpegts") as container:
            counted.append(sum(1 for _ in container.decode(video=0)))

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(write_end, "wb") as pipe:
        sink = MuxSink("mpegts", pipe, source, options=QUICK)
        for item in source:
            sink.write(item)
        sink.finish()
    reader.join()
    source.close()
    assert counted == [50]


def test_a_reader_that_goes_away_is_an_error(film: Path) -> None:
    source = open_source(film)
    read_end, write_end = os.pipe()
    os.close(read_end)
    pipe = os.fdopen(write_end, "wb", buffering=0)
    sink = MuxSink("mpegts", pipe, source, options=QUICK)
    with pytest.raises(SinkError, match="went away"):
        write_all(sink, source)
    sink.abandon(keep=False)
    pipe.close()
    source.close()


def write_all(sink: MuxSink, source: object) -> None:
    for item in source:  # type: ignore[attr-defined]
        sink.write(item)
    sink.finish()


def test_names_that_make_no_sense_are_errors() -> None:
    source = open_source("test:64x48@25#1")
    with pytest.raises(BadSink, match="mpegts:-"):
        open_sink("mpegts:film.ts", source)
    with pytest.raises(BadSink, match="needs a folder"):
        open_sink("hls:", source)
    with pytest.raises(BadSink, match=r"H\.264"):
        MuxSink("mpegts", io.BytesIO(), source, options=EncodeOptions(codec="vp9"))
    source.close()


def test_datagrams_are_read_by_another_program(film: Path, tmp_path: Path) -> None:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{free.getsockname()[1]}"
    copy = tmp_path / "copy.ts"
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", f"{address}?timeout=9000000"]
    receiver = subprocess.Popen(
        [*command, "-c", "copy", "-frames:v", "30", str(copy)], stderr=subprocess.DEVNULL
    )
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=12)
    sink = open_sink(address, source, options=QUICK)
    for item in source:
        sink.write(item)
        if receiver.poll() is not None:
            break
    sink.finish()
    source.close()
    assert receiver.wait(20) == 0
    streams = ffprobe(copy, "-count_packets", "-show_streams")["streams"]
    assert {s["codec_name"] for s in streams} == {"h264", "aac"}
    assert streams[0]["nb_read_packets"] == "30"


def test_a_film_that_begins_again_does_not_end_the_stream(tmp_path: Path) -> None:
    """Its sound is a little longer than its picture, and MPEG-TS takes no time twice."""
    film = write_clip(tmp_path / "film.mkv", codec="libx264", size=(64, 48), frames=5, audio="aac")
    source = open_source(film, live=LiveOptions(realtime=True, loop=True), duration_seconds=1)
    written = io.BytesIO()
    sink = MuxSink("mpegts", written, source, options=QUICK)
    for item in source:
        sink.write(item)
    sink.finish()
    source.close()
    with av.open(io.BytesIO(written.getvalue()), format="mpegts") as container:
        times: dict[str, list[int]] = {"video": [], "audio": []}
        for packet in container.demux():
            if packet.pts is not None:
                times[packet.stream.type].append(packet.pts)
    assert times["audio"] == sorted(set(times["audio"]))
    assert len(times["audio"]) > 30
    assert len(times["video"]) >= 23  # of 25; each turn lasts as long as its sound


def test_datagrams_for_nobody_and_nowhere() -> None:
    source = open_source("test:64x48@25#1")
    for bad in ("udp://", "udp://host", "udp://host:many"):
        with pytest.raises(BadSink, match="udp://HOST:PORT"):
            open_sink(bad, source)
    sink = open_sink("udp://127.0.0.1:9", source, options=QUICK)  # nobody has to listen
    for number in range(3):
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts, frame.time_base = 3600 * number, Fraction(1, 90000)
        sink.write(frame)
    sink.finish()
    source.close()


@pytest.fixture
def little_room() -> Iterator[None]:
    """Files end at 20 kB, as on a disk that is full."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    signal.signal(signal.SIGXFSZ, before)


def test_hls_on_a_full_disk_is_an_error(film: Path, tmp_path: Path, little_room: None) -> None:
    """FFmpeg's muxer does not look whether its segments could be written."""
    source = open_source(film)
    sink = open_sink(f"hls:{tmp_path}/web", source, options=QUICK)
    with pytest.raises(SinkError, match=r"no space left for .*index\.m3u8"):
        write_all(sink, source)
    sink.abandon(keep=False)
    source.close()


def test_hls_in_a_folder_that_goes_away_is_an_error(film: Path, tmp_path: Path) -> None:
    source = open_source(film)
    sink = open_sink(f"hls:{tmp_path}/web", source, options=QUICK)
    (tmp_path / "web").rmdir()
    with pytest.raises(SinkError, match=r"cannot write .*index\.m3u8: No such file"):
        write_all(sink, source)
    sink.abandon(keep=False)
    source.close()


@pytest.mark.parametrize("target", ["hls:web", "mpegts:-"])
def test_a_films_sound_is_there_from_its_first_packet(
    film: Path, tmp_path: Path, target: str
) -> None:
    """The decoder gives a picture after a tenth of a second of sound has gone by."""
    source = open_source(film)
    result = tmp_path / "web" / "index.m3u8"
    if target == "mpegts:-":
        result = tmp_path / "pipe.ts"
        with result.open("wb") as pipe:
            write_all(MuxSink("mpegts", pipe, source, options=QUICK), source)
    else:
        write_all(open_sink(f"hls:{tmp_path}/web", source, options=QUICK), source)
    source.close()
    assert sound_packets(result) == sound_packets(film)
    starts = [stream_start(path, "audio") - stream_start(path, "video") for path in (film, result)]
    assert starts[0] == pytest.approx(starts[1], abs=0.002)


def sound_packets(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(audio=0))


def stream_start(path: Path, kind: str) -> float:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        packet = next(packet for packet in container.demux(stream) if packet.pts is not None)
        return float(packet.pts * packet.time_base)


def test_two_runs_do_not_write_into_one_hls_folder(tmp_path: Path) -> None:
    source = open_source("test:64x48@25#1")
    first = open_hls_sink(tmp_path / "live", source, options=EncodeOptions())
    with pytest.raises(SinkError, match="another run writes into"):
        open_hls_sink(tmp_path / "live", source, options=EncodeOptions(), overwrite=True)
    first.abandon(keep=False)
    open_hls_sink(tmp_path / "live", source, options=EncodeOptions(), overwrite=True).finish()
    source.close()


def test_segments_of_before_are_not_overwritten(tmp_path: Path) -> None:
    """Without their playlist they were, and nobody had said --overwrite."""
    (tmp_path / "segment-00003.ts").write_text("precious")
    source = open_source("test:64x48@25#1")
    with pytest.raises(SinkError, match=r"segment-00003\.ts exists"):
        open_hls_sink(tmp_path, source, options=EncodeOptions())
    source.close()


def test_a_folder_with_a_percent_sign_holds_segments(tmp_path: Path) -> None:
    """FFmpeg put the segment's number into the folder's name."""
    folder = tmp_path / "100% sure"
    source = open_source("test:64x48@25#1")
    with pytest.raises(BadSink, match="choose a name without it"):
        open_hls_sink(tmp_path / "100%03d", source, options=EncodeOptions())
    sink = open_hls_sink(folder, source, options=EncodeOptions())
    for frame in source:
        sink.write(frame.reformat(format="yuv420p"))
    sink.finish()
    source.close()
    assert (folder / "segment-00000.ts").stat().st_size > 0
    with av.open(str(folder / "index.m3u8")) as played:
        assert sum(1 for _ in played.decode(video=0)) == 25
