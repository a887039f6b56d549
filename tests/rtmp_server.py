"""nginx with its RTMP module as a peer: takes what is published and records it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIG = """
load_module {module};
daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log info;
events {{}}
rtmp {{
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
            record all;
            record_path {folder};
            record_unique on;
        }}
        application closed {{
            live on;
            deny publish all;
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class RtmpServer:
    """nginx on a port of its own, recording into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"rtmp://127.0.0.1:{self.port}/live/secret"
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(module=MODULE, folder=folder, port=self.port))
        self._command = ["nginx", "-e", str(folder / "start.log"), "-c", str(config)]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1),
            ):
                return
            time.sleep(0.02)
        raise TimeoutError((self.folder / "start.log").read_text())

    @property
    def is_up(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Ends at once and closes all connections."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def recordings(self) -> list[Path]:
        """The FLV files, in order of time."""
        return sorted(self.folder.glob("*.flv"), key=lambda path: path.stat().st_mtime_ns)
