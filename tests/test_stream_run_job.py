"""Which sources of a command line go where."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from kinemacolor.stream.errors import BadSink, BadSource
from kinemacolor.stream.run.job import Job, plan_jobs

from tests.command import kinemacolor
from tests.media import write_clip
from tests.models import write_model


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("x")
    return folder


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path) -> None:
    """What the shell makes of "$FILM" where FILM is not set."""
    make(tmp_path, "film.mkv")
    with contextlib.chdir(tmp_path):
        with pytest.raises(BadSource, match="a source is an empty name"):
            plan_jobs([""])
        with pytest.raises(BadSource, match="a source is an empty name"):
            plan_jobs(["film.mkv", ""], ["out"])
        with pytest.raises(BadSink, match="the output is an empty name"):
            plan_jobs(["film.mkv"], [""])
    assert not (tmp_path / "out").exists()


def test_a_file_url_is_planned_as_the_file(tmp_path: Path) -> None:
    film = make(tmp_path, "film.mkv") / "film.mkv"
    assert plan_jobs([film.as_uri()]) == [Job.of(str(film), str(tmp_path / "film-color.mkv"))]


def test_an_unknown_kind_of_source_is_said_so() -> None:
    with pytest.raises(BadSource, match="there is no source foo://; a file, a folder"):
        plan_jobs(["foo://bar"])


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_a_pipe_has_no_name_for_its_colours(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadSink, match="say with -o"):
        plan_jobs([str(pipe)])
    assert plan_jobs([str(pipe)], ["x.mkv"]) == [Job.of(str(pipe), "x.mkv")]


def test_every_film_and_picture_of_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a.avi", "b.gif", "c.asf", "d.m2v", "e.f4v", "f.divx", "g.264", "h.265", "i.dv"]
    names += ["j.OGV", "k.mkv", "l.jpg"]
    make(tmp_path, *names, "notes.txt", "sound.flac")
    with caplog.at_level("INFO"):
        jobs = plan_jobs([str(tmp_path)])
    assert [Path(job.source.text).name for job in jobs] == names
    sinks = [Path(job.sinks[0].text).name for job in jobs]
    assert sinks[0] == "a-color.mkv"
    assert sinks[-2:] == ["k-color.mkv", "l-color.jpg"]
    assert "2 skipped: files that are no film and no picture" in caplog.text


def test_a_folder_does_not_colour_its_own_results(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "film.mkv", "film-color.mkv", "tape.avi", "tape-color.mkv", "alone-color.mkv")
    make(tmp_path, "film-color.partial.mkv", "film-color.partial-2.mkv")
    make(tmp_path, "two.mpg", "two.mkv", "two.mpg-color.mkv")
    with caplog.at_level("INFO"):
        jobs = plan_jobs([str(tmp_path)], ["null:"])
    assert [Path(job.source.text).name for job in jobs] == [
        "alone-color.mkv",  # nothing here that it was made of
        "film.mkv",
        "tape.avi",
        "two.mkv",
        "two.mpg",
    ]
    assert "5 skipped: results of an earlier run" in caplog.text


def test_films_of_one_name_get_two(tmp_path: Path) -> None:
    """One such pair refused the whole folder, or the second film took the first one's place."""
    make(tmp_path, "film.mpg", "film.mkv", "film.mp4", "other.avi", "other.wmv", "third.avi")
    beside = [Path(job.sinks[0].text).name for job in plan_jobs([str(tmp_path)])]
    assert beside == [
        *("film-color.mkv", "film-color.mp4", "film.mpg-color.mkv"),
        *("other.avi-color.mkv", "other.wmv-color.mkv", "third-color.mkv"),
    ]
    into = [
        Path(job.sinks[0].text).name for job in plan_jobs([str(tmp_path)], [str(tmp_path / "out")])
    ]
    assert into == [
        *("film.mkv", "film.mp4", "film.mpg.mkv"),
        *("other.avi.mkv", "other.wmv.mkv", "third.mkv"),
    ]


def test_an_output_folder_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    make(tmp_path, "a.mkv", "b.mkv")
    with pytest.raises(BadSink, match="need an output folder"):
        plan_jobs([str(tmp_path)], ["rtsp://host/live"])
    folder = tmp_path / "tape 12:30"
    folder.mkdir()
    jobs = plan_jobs([str(tmp_path)], [str(folder)])
    assert [Path(job.sinks[0].text).parent for job in jobs] == [folder, folder]


def test_two_sources_never_write_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        make(tmp_path / name, "film.mkv")
    folders = [str(tmp_path / name) for name in ("a", "b")]
    with pytest.raises(BadSink, match="would both become"):
        plan_jobs(folders, [str(tmp_path / "out")])
    assert len(plan_jobs(folders)) == 2
    film = str(tmp_path / "a" / "film.mkv")
    with pytest.raises(BadSink, match="would both become"):
        plan_jobs([film, film])


def test_one_output_is_not_given_twice(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mkv", frames=2)
    for one, other in (("a.mkv", "./a.mkv"), ("hls:live", "hls:./live")):
        with pytest.raises(BadSink, match="is given twice"):
            plan_jobs([str(film)], [one, other])
    assert len(plan_jobs([str(film)], ["null:", "null:"])[0].sinks) == 2


def test_standard_input_is_not_replaced_by_its_own_colours(tmp_path: Path) -> None:
    """`kinemacolor - -y -o x.mp4 < x.mp4` replaced its own source."""
    film = write_clip(tmp_path / "film.mkv", frames=2)
    before = film.read_bytes()
    with film.open("rb") as file:
        done = kinemacolor("-", "-y", "-o", film, stdin=file)
    assert done.returncode == 1
    assert "output and source are the same file" in done.stderr
    assert film.read_bytes() == before


def test_a_folder_that_is_done_already_says_so(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    write_clip(films / "a.mkv", frames=2)
    write_model(tmp_path / "tiny.onnx")
    options = (
        "--model",
        tmp_path / "tiny.onnx",
        "--backend",
        "onnxruntime",
        "-o",
        tmp_path / "out",
    )
    assert kinemacolor(films, *options).returncode == 0
    write_clip(films / "b.mkv", frames=2)
    again = kinemacolor(films, *options)
    assert again.returncode == 0
    assert f"{tmp_path / 'out' / 'a.mkv'} is there already" in again.stderr
    assert (tmp_path / "out" / "b.mkv").exists()
