"""Proof that a result is its source: luma, frame count, times, sound and tags.

It is a second opinion: what reads, repairs and converts for a run is not used here. Films are read
by FFmpeg's own demuxers and decoders, stills by OpenCV and by the libraries inside imagecodecs,
where a run takes Pillow and tifffile.
"""

from __future__ import annotations

from pathlib import Path

from kinemacolor.stream.address import is_still
from kinemacolor.stream.errors import BadSource, SourceNotFound
from kinemacolor.stream.proof.check import Check
from kinemacolor.stream.proof.films import compare_films
from kinemacolor.stream.proof.stills import compare_stills

__all__ = ["Check", "verify"]


def verify(source_path: str | Path, result_path: str | Path) -> list[Check]:
    """Compares a result with its source, decoding both.

    Raises SourceError when one of them cannot be read.
    """
    source, result = Path(source_path), Path(result_path)
    for path in (source, result):
        if not path.exists():
            raise SourceNotFound(f"no such file: {path}")
        if path.is_dir():
            raise BadSource(f"{path} is a folder: give a file")
        if path.is_file() and path.stat().st_size == 0:
            raise BadSource(f"{path} is empty (0 bytes)")
    if is_still(source) != is_still(result):
        return [Check("luma", False, "one is a still picture, the other is not")]
    return list(
        compare_stills(source, result) if is_still(source) else compare_films(source, result)
    )
