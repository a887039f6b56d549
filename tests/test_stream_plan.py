"""Which sources of a command line go where."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from stream.errors import BadSink, BadSource
from stream.plan import Job, plan_jobs


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("x")
    return folder


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path) -> None:
    """What the shell makes of "$FILM" where FILM is not set."""
    make(tmp_path, "film.mkv")
    with contextlib.chdir(tmp_path):
        with pytest.raises(BadSource, match="a source is an empty name"):
            plan_jobs([""], None)
        with pytest.raises(BadSource, match="a source is an empty name"):
            plan_jobs(["film.mkv", ""], "out")
        with pytest.raises(BadSink, match="the output is an empty name"):
            plan_jobs(["film.mkv"], "")
    assert not (tmp_path / "out").exists()


def test_a_file_url_is_planned_as_the_file(tmp_path: Path) -> None:
    film = make(tmp_path, "film.mkv") / "film.mkv"
    assert plan_jobs([film.as_uri()], None) == [Job(str(film), str(tmp_path / "film-color.mkv"))]


def test_an_unknown_kind_of_source_is_said_so() -> None:
    with pytest.raises(BadSource, match="there is no source foo://; a file, a folder"):
        plan_jobs(["foo://bar"], None)


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes of POSIX")
def test_a_pipe_has_no_name_for_its_colours(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadSink, match="say with -o"):
        plan_jobs([str(pipe)], None)
    assert plan_jobs([str(pipe)], "x.mkv") == [Job(str(pipe), "x.mkv")]
