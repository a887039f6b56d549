"""HLS in a folder and MPEG-TS on a pipe, read back by FFmpeg."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import av
import pytest

from stream.encode import EncodeOptions
from stream.errors import BadSink, SinkError
from stream.live import LiveOptions
from stream.mux_sink import MuxSink
from stream.sinks import open_sink
from stream.sources import open_source
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
