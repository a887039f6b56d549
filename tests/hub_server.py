"""Plays the answers of the Hub, and of a plain web server, to downloads of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

COMMIT = "a" * 40


@dataclass
class Shelf:
    """What the server has, and how it misbehaves.

    Attributes:
        files: by path.
        cuts: so many times the connection breaks in the middle of a file.
        spoils: what is sent is not what the published checksum is of.
        publishes: the SHA-256 is sent along, as the Hub does for large files.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: int = 0
    spoils: bool = False
    publishes: bool = True
    asked: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(shelf: Shelf) -> Iterator[Shelf]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._head()

        def do_GET(self) -> None:
            if (content := self._head()) is None:
                return
            if shelf.cuts > 0:
                shelf.cuts -= 1
                content = content[: len(content) // 2]
            self.wfile.write(bytes(reversed(content)) if shelf.spoils else content)

        def _head(self) -> bytes | None:
            wanted = self.headers.get("Range", "")
            shelf.asked.append(f"{self.command} {wanted}".strip())
            content = shelf.files.get(urlsplit(self.path).path)
            if content is None:
                self.send_error(404)
                return None
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if start else 200)
            digest = hashlib.sha256(content).hexdigest()
            self.send_header("ETag", f'"{digest if shelf.publishes else "short"}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                end = f"{start}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", f"bytes {end}")
            self.end_headers()
            return content[start:]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = Thread(target=server.serve_forever, name="hub server", kwargs={"poll_interval": 0.05})
    thread.start()
    shelf.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield shelf
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
