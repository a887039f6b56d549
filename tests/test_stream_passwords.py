"""Passwords that stand on no command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from kinemacolor.stream.errors import StreamError
from kinemacolor.stream.passwords import OF_SOURCES, with_password


def test_a_source_that_names_a_user_alone_gets_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`ps` shows command lines to everybody."""
    monkeypatch.delenv(OF_SOURCES, raising=False)
    assert with_password("rtsp://cam@host/live") == "rtsp://cam@host/live"
    monkeypatch.setenv(OF_SOURCES, "p/w#?@")
    assert with_password("rtsp://cam@host:8554/live?udp") == (
        "rtsp://cam:p%2Fw%23%3F%40@host:8554/live?udp"
    )
    assert with_password("rtsp://cam:own@host/live") == "rtsp://cam:own@host/live"
    assert with_password("rtsp://host/live") == "rtsp://host/live"
    monkeypatch.delenv(OF_SOURCES)
    secret = tmp_path / "secret"
    monkeypatch.setenv(f"{OF_SOURCES}_FILE", str(secret))
    with pytest.raises(StreamError, match="cannot read"):
        with_password("rtsp://cam@host/live")
    secret.write_text("pw\n")
    assert with_password("http://cam@host/a.mp4") == "http://cam:pw@host/a.mp4"
