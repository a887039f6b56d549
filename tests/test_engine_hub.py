"""Weights are fetched whole and checked, or one line says why not and nothing is left behind."""

from __future__ import annotations

import io
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kinemacolor.engine import fetching, hub
from kinemacolor.engine.errors import ModelNotFound
from kinemacolor.engine.hub import FetchError, Source
from kinemacolor.engine.spec import find_model

from tests.command import ROOT, command_line
from tests.hub_server import Shelf, serving
from tests.test_export_import_networks import golden

CONTENT = bytes(range(256)) * 1024
NAME = "ddcolor-tiny"
ON_HUB = f"/{hub.SOURCES[NAME].address}/resolve/main/{hub.FILE}"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A server, and every folder that the libraries and we would write into."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # a thread that outlives the bar
    with serving(Shelf()) as shelf:
        monkeypatch.setenv("HF_ENDPOINT", shelf.address)
        yield shelf


def source_of(shelf: Shelf, kind: str, content: bytes = CONTENT, sha256: str = "") -> Source:
    """A source on the Hub, or at a plain address."""
    if kind == "hub":
        shelf.files[ON_HUB] = content
        return hub.SOURCES[NAME]
    shelf.files["/net.pth"] = content
    address = f"{shelf.address}/net.pth?dl=1"
    return replace(hub.SOURCES["zhang"], address=address, sha256=sha256)


def left(tmp_path: Path) -> list[str]:
    """Files that hold some of the content, anywhere."""
    return [
        path.name
        for path in tmp_path.rglob("*")
        if path.is_file() and path.stat().st_size > 1000 and not path.name.endswith(".json")
    ]


KINDS = pytest.mark.parametrize("kind", ["hub", "address"])


@KINDS
def test_a_whole_file_is_fetched_once(shelf: Shelf, kind: str) -> None:
    source = source_of(shelf, kind)
    assert fetching.fetch(source).path.read_bytes() == CONTENT
    gets = [asked for asked in shelf.asked if asked.startswith("GET")]
    again = fetching.fetch(source)
    assert again.path.read_bytes() == CONTENT
    assert [asked for asked in shelf.asked if asked.startswith("GET")] == gets
    assert fetching.fetch(source, offline=True).path == again.path


def test_the_hubs_checksum_is_compared(shelf: Shelf) -> None:
    source = source_of(shelf, "hub")
    assert "the one published" in fetching.fetch(source).trust


@KINDS
def test_what_is_not_what_was_published_is_deleted(shelf: Shelf, kind: str, tmp_path: Path) -> None:
    shelf.spoils = True
    source = source_of(shelf, kind, sha256="0123abcd")
    with pytest.raises(FetchError, match=r"has SHA-256 .{8}\.\.\., and the one published is"):
        fetching.fetch(source)
    assert left(tmp_path) == []


def test_without_a_published_checksum_the_first_is_pinned(shelf: Shelf, tmp_path: Path) -> None:
    source = source_of(shelf, "address")
    first = fetching.fetch(source)
    assert first.trust.startswith("no checksum is published;")
    assert "pinned here before" in fetching.fetch(source).trust
    first.path.unlink()
    source_of(shelf, "address", content=CONTENT[::-1])
    with pytest.raises(FetchError, match="the one pinned here before is"):
        fetching.fetch(source)
    assert left(tmp_path) == []


def test_the_hub_is_asked_again_where_it_broke_off(shelf: Shelf) -> None:
    shelf.cuts = 1
    large = bytes(24_000_000)  # the library writes in steps of 10 MB
    source = source_of(shelf, "hub", content=large)
    assert fetching.fetch(source).path.read_bytes() == large
    assert any(asked.startswith("GET bytes=") for asked in shelf.asked)


def test_a_plain_download_goes_on_where_it_broke_off(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = 1
    source = source_of(shelf, "address")
    with pytest.raises(FetchError, match="models get zhang"):
        fetching.fetch(source)
    assert left(tmp_path) == ["net.pth.part"]
    seen: list[tuple[int, int]] = []
    done = fetching.fetch(source, report=lambda there, total: seen.append((there, total)))
    assert done.path.read_bytes() == CONTENT
    assert f"GET bytes={len(CONTENT) // 2}-" in shelf.asked
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(tmp_path) == ["net.pth"]


@KINDS
def test_what_is_gone_is_said(shelf: Shelf, kind: str, tmp_path: Path) -> None:
    source = source_of(shelf, kind)
    shelf.files.clear()
    with pytest.raises(FetchError, match=r"is not there any more \(HTTP 404\)") as caught:
        fetching.fetch(source)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


@KINDS
def test_without_a_network_one_line_says_so(
    shelf: Shelf, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_of(shelf, kind)
    nobody = "http://127.0.0.1:9"  # the discard port: nothing listens there
    monkeypatch.setenv("HF_ENDPOINT", nobody)
    if not source.on_hub:
        source = replace(source, address=f"{nobody}/net.pth")
    with pytest.raises(FetchError, match=r"cannot be reached.*models get") as caught:
        fetching.fetch(source)
    assert "\n" not in str(caught.value)
    with pytest.raises(FetchError, match="--offline fetches nothing"):
        fetching.fetch(source, offline=True)
    assert left(tmp_path) == []


@KINDS
def test_a_full_disk_is_one_line_and_leaves_nothing(
    shelf: Shelf, kind: str, tmp_path: Path
) -> None:
    source = source_of(shelf, kind)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, hard))
    try:
        with pytest.raises(FetchError, match=r"there is no room for its \d+ MB"):
            fetching.fetch(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert left(tmp_path) == []


def test_a_name_without_its_file_says_the_one_command(shelf: Shelf) -> None:
    with pytest.raises(
        ModelNotFound, match=f"not on this machine yet: kinemacolor models get {NAME}"
    ):
        find_model(NAME)
    assert shelf.asked == []
    with pytest.raises(FetchError, match="no public network 'nope': known are ddcolor,"):
        hub.find("nope")


def test_every_source_says_what_it_is() -> None:
    for source in hub.SOURCES.values():
        assert source.good_at
        assert source.megabytes == pytest.approx(4 * source.parameters, rel=0.01)
        assert source.file.endswith((".pth", ".bin"))


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_line("models", *words),
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_one_command_makes_a_model_that_its_name_runs(shelf: Shelf, tmp_path: Path) -> None:
    weights = io.BytesIO()
    torch.save({"params": golden("ddcolor-mini")[0]}, weights)
    source_of(shelf, "hub", content=weights.getvalue())
    done = command("get", NAME)
    assert done.returncode == 0, done.stderr
    assert "licence Apache-2.0" in done.stderr
    assert "its SHA-256 is the one published" in done.stderr
    assert f"kinemacolor FILM --model {NAME} runs it" in done.stderr
    assert find_model(NAME) == tmp_path / "cache" / "kinemacolor" / "models" / f"{NAME}.onnx"
    (row,) = (line for line in command("get").stdout.splitlines() if line.startswith(f"{NAME} "))
    assert "512x512" in row
    assert "is there" in command("get", NAME).stderr
