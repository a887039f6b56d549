"""The writer of one film file, by itself: segments, and files that are closed early."""

from __future__ import annotations

from pathlib import Path

import pytest
from kinemacolor.stream.errors import BadSink
from kinemacolor.stream.media import is_frame
from kinemacolor.stream.options import EncodeOptions
from kinemacolor.stream.sinks.film_writer import FilmWriter
from kinemacolor.stream.sources.open import open_source

from tests import media
from tests.command import colorize

FFV1 = EncodeOptions(codec="ffv1")


def test_segments_of_a_film_are_the_film(tmp_path: Path) -> None:
    clip = media.write_clip(tmp_path / "clip.mkv", frames=9, audio="aac")
    source = open_source(clip)
    paths = [tmp_path / f"{number}.mkv" for number in range(3)]
    writers = [FilmWriter(path, source, FFV1, trimmed=True) for path in paths]
    assert not any(path.exists() for path in paths)  # before the first frame
    count = 0
    for item in source:
        if is_frame(item):
            writers[count // 3].write(item)
            count += 1
        else:
            writers[min(count, 8) // 3].copy(item)
    for writer in writers:
        assert writer.is_begun
        writer.close()
    source.close()
    times = [time for path in paths for time in media.frame_times(path)]
    assert times == media.frame_times(clip)
    sounds = [packet for path in paths for packet in media.packet_hashes(path, "audio")[0]]
    assert [sounds] == media.packet_hashes(clip, "audio")
    assert writers[1].seconds == pytest.approx(0.2)


def test_a_writer_without_a_frame_leaves_no_file(tmp_path: Path) -> None:
    source = open_source(media.write_clip(tmp_path / "clip.mkv", frames=2))
    writer = FilmWriter(tmp_path / "out.mkv", source, FFV1)
    writer.close()
    assert not writer.is_begun
    assert not (tmp_path / "out.mkv").exists()
    with pytest.raises(BadSink, match=r"no container for out\.xyz"):
        FilmWriter(tmp_path / "out.xyz", source, FFV1)
    source.close()


@pytest.mark.parametrize("frames", [9, 29, 41, 45])
def test_a_fragment_that_ends_amid_b_frames_hides_no_picture(tmp_path: Path, frames: int) -> None:
    """Fragments end by time, and FFmpeg then took the end of the film from the last of them."""
    film = media.write_clip(tmp_path / "film.mkv", frames=frames)
    colorize(film, tmp_path / "out.mp4", codec="h264", preset="veryfast")
    assert len(media.read_frames(tmp_path / "out.mp4")) == frames


def test_a_late_subtitle_does_not_keep_a_film_off_the_disk(tmp_path: Path) -> None:
    """FFmpeg waits with an MP4's header until every stream has had a packet."""
    film = media.write_clip(
        tmp_path / "film.mp4", codec="libx264", frames=120, audio="aac", subtitles="mov_text"
    )
    source = open_source(film)
    path = tmp_path / "out.mp4"
    writer = FilmWriter(path, source, EncodeOptions(preset="ultrafast"))
    for item in source:
        if is_frame(item):
            writer.write(item)
        elif item.stream.type == "audio":
            writer.copy(item)
    part = tmp_path / "part.mp4"
    part.write_bytes(path.read_bytes())  # what a kill would leave
    writer.close()
    source.close()
    assert len(media.read_frames(part)) > 100
    assert len(media.read_frames(path)) == 120
