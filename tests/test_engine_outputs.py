"""A file is there whole, or as it was before."""

import stat
import sys
from pathlib import Path

import pytest
from kinemacolor.engine.outputs import replacing


def test_a_file_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "file"
    with replacing(path) as partial:
        partial.write_text("half of it")
        assert not path.exists()
    assert path.read_text() == "half of it"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def break_off() -> None:
        with replacing(path) as partial:
            partial.write_text("half of it")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        break_off()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
def test_a_private_file_is_private_from_its_first_byte_on(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", mode=0o600) as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        partial.write_bytes(b"secret")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
