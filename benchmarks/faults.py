"""What does bad luck cost? Kills, signals, a full disk, strangers at the server: counted.

python -m benchmarks.faults --kills 50 --signals 15 --json benchmarks/results/faults.json
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.request import urlopen

import av
import av.error

from tests.command import command_line, environment
from tests.models import write_model

PATIENCE_SECONDS = 90.0
FPS = 25
# (suffix, codec, played as if live): a film is written as fast as it is coloured.
KINDS = [
    (".mp4", "h264", True),
    (".mkv", "h264", True),
    (".mov", "h264", True),
    (".mkv", "ffv1", True),
    (".mp4", "h264", False),
    (".mkv", "h264", False),
    (".mov", "h264", False),
    (".mkv", "ffv1", False),
]


@dataclass(frozen=True)
class Trial:
    """One kind of fault: how often it was tried, how often all held, and a remark."""

    name: str
    tried: int
    held: int
    remark: str = ""


class Process:
    """The command at work in a folder, with a tiny model and counters to ask."""

    def __init__(self, folder: Path, *arguments: str | Path, **variables: str) -> None:
        self.metrics = free_port()
        model = folder / "tiny.onnx"
        if not model.exists():
            write_model(model)
        options = ("--model", model, "--backend", "onnxruntime", "--steady", "off", "--no-progress")
        counters = ("--metrics", f":{self.metrics}")
        self._process = subprocess.Popen(
            command_line(*arguments, *options, *counters),
            cwd=folder,
            env={**environment(), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def frames(self) -> int:
        """Frames that the sink has taken; 0 while nobody answers."""
        with suppress(OSError):
            text = urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5).read().decode()
            if found := re.search(r"^kinemacolor_frames_out_total ([\d.e+]+)", text, re.MULTILINE):
                return int(float(found[1]))
        return 0

    def wait_for_frames(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.frames() < count:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no {count} frames: {self.end()[1]}")
            time.sleep(0.05)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self, number: int = signal.SIGKILL, *more: int) -> tuple[int, str]:
        """Sends signals, a tenth of a second apart; returns status and what was said."""
        for one in (number, *more):
            if self.is_alive:
                self._process.send_signal(one)
                time.sleep(0.1)
        with suppress(subprocess.TimeoutExpired):
            self.said = self._process.communicate(timeout=PATIENCE_SECONDS)[1]
        self._process.kill()
        return self._process.wait(), self.said


def kills(folder: Path, count: int, *, seed: int = 1908) -> list[Trial]:
    """SIGKILL at random moments: does the part play, and how much of it is missing?"""
    chance = random.Random(seed)
    film = still_film(folder)
    played, lost = 0, []
    for turn in range(count):
        suffix, codec, live = KINDS[turn % len(KINDS)]
        out = folder / f"kill-{turn}{suffix}"
        process = Process(
            folder, film, *(["--realtime"] if live else []), "-o", out, "--codec", codec
        )
        process.wait_for_frames(FPS)
        time.sleep(chance.uniform(0, 4))
        taken = process.frames()
        process.end(signal.SIGKILL)
        seen = playing_frames(out.with_name(f"{out.stem}.partial{suffix}"))
        played += seen > 0
        lost.append((max(0.0, (taken - seen) / FPS), suffix, codec, live))
    worst, *what = max(lost)
    second = sum(seconds <= 1.0 for seconds, *_ in lost)
    return [
        Trial("SIGKILL: the part plays", count, played),
        Trial(
            "SIGKILL: at most a second is missing", count, second, f"worst {worst:.2f} s, {what}"
        ),
    ]


def interrupts(folder: Path, count: int, *, seed: int = 1908) -> list[Trial]:
    """Signals at random moments: is every frame that was taken in the file?"""
    chance = random.Random(seed)
    film = still_film(folder)
    trials = []
    for name, sent in (
        ("two Ctrl-C within 200 ms", (signal.SIGINT, signal.SIGINT)),
        ("SIGHUP", (signal.SIGHUP,)),
        ("SIGTERM", (signal.SIGTERM,)),
    ):
        held = 0
        for turn in range(count):
            suffix, codec, live = KINDS[turn % len(KINDS)]
            out, report = folder / f"{sent[0]}-{turn}{suffix}", folder / f"{sent[0]}-{turn}.json"
            words = [*(["--realtime"] if live else []), "-o", out, "--codec", codec]
            process = Process(folder, film, *words, "--report", report)
            process.wait_for_frames(1)
            time.sleep(chance.uniform(0, 2))
            status, said = process.end(*sent)
            told = json.loads(report.read_text()) if report.exists() else {}
            file = Path(told.get("sink", out))
            seen = playing_frames(file)
            held += status == 128 + sent[0] and seen == told.get("frames_out") and seen > 0
            if not (status == 128 + sent[0] and seen == told.get("frames_out")):
                print("   ", name, suffix, live, status, seen, told.get("frames_out"), said[-300:])
        trials.append(Trial(f"{name}: no frame is missing", count, held))
    return trials


def full_disk(folder: Path) -> list[Trial]:
    """A recording's disk fills up, and has room again: what do viewers see?"""
    film = still_film(folder, noise=True)
    port = free_port()
    url = f"rtsp://127.0.0.1:{port}/live"
    report = folder / "full.json"
    with small_disk(folder / "disk", mebibytes=24) as disk:
        hog = disk / "hog"
        hog.write_bytes(bytes(22 << 20))
        process = Process(
            *(folder, film, "--loop", "-o", disk / "rec.mkv", "-o", f"rtsp://@:{port}/live"),
            *("--report", report),
        )
        process.wait_for_frames(1)
        viewer = Viewer(url)
        time.sleep(12)
        hog.unlink()
        time.sleep(14)
        longest, seen = viewer.close()
        status, said = process.end(signal.SIGINT)
        told = json.loads(report.read_text())["outputs"] if report.exists() else []
        first, second = playing_frames(disk / "rec.partial.mkv"), playing_frames(disk / "rec-2.mkv")
    states = [output["state"] for output in told]
    if states != ["resumed", "whole"]:
        print("   ", status, told, said[-500:])
    return [
        Trial(
            "disk full: the viewer plays on", 1, int(longest < 1 and seen > 400), f"{seen} frames"
        ),
        Trial("disk full: what was recorded plays", 1, int(first > 0), f"{first} frames"),
        Trial("room again: a second file plays", 1, int(second > 0), f"{second} frames"),
        Trial(
            "disk full: report and said once",
            1,
            int(states == ["resumed", "whole"] and said.count(" failed: ") == 1),
        ),
    ]


def folders(folder: Path) -> list[Trial]:
    """An HLS folder is removed and a recording's folder moved: what becomes of the others?"""
    film, port, report = still_film(folder, noise=True), free_port(), folder / "folders.json"
    live, recorded, moved = folder / "live", folder / "recorded", folder / "moved"
    recorded.mkdir()
    process = Process(
        *(folder, film, "--loop", "-o", f"hls:{live}", "-o", f"rtsp://@:{port}/live"),
        *("-o", recorded / "film.mkv", "--report", report),
    )
    process.wait_for_frames(1)
    viewer = Viewer(f"rtsp://127.0.0.1:{port}/live")
    until(lambda: viewer.frames > FPS and (live / "index.m3u8").exists(), 30)
    shutil.rmtree(live)
    recorded.rename(moved)
    until(lambda: (live / "index.m3u8").exists(), 30)
    longest, seen = viewer.close()
    process.end(signal.SIGINT)
    told = json.loads(report.read_text())
    states = [output["state"] for output in told["outputs"]]
    whole = playing_frames(moved / "film.mkv") == told["frames_out"]
    return [
        Trial("an HLS folder is removed: it is made again", 1, int(states[0] == "resumed")),
        Trial("a recording's folder is moved: no frame is missing", 1, int(whole)),
        Trial("beside that a viewer plays on", 1, int(longest < 1), f"{seen} frames"),
    ]


def strangers(folder: Path, count: int = 300, guesses: int = 1000) -> list[Trial]:
    """Silent clients, SETUPs without PLAY, wrong passwords and nonsense beside a viewer."""
    film = still_film(folder, noise=True)
    port = free_port()
    url = f"rtsp://ann:pw@127.0.0.1:{port}/live"
    words = (film, "--loop", "-o", f"rtsp://@:{port}/live", "--user", "ann")
    process = Process(folder, *words, KINEMACOLOR_PASSWORD="pw")
    process.wait_for_frames(1)
    viewer = Viewer(url)
    until(lambda: viewer.frames > 25, 30)
    trials = []
    served = tried = 0
    with ExitStack() as open_still:
        for number in range(count):
            with suppress(OSError):
                open_still.enter_context(stranger(port, 2 + number % 8))
            if number % 60 == 59:
                tried += 1
                served += plays(url)
    trials.append(Trial(f"{count} silent clients: a new viewer plays", tried, served))
    with ExitStack() as open_still:
        for _ in range(1000):
            with suppress(OSError):
                silent = socket.create_connection(("127.0.0.1", process.metrics), timeout=5)
                open_still.enter_context(silent)
        new = plays(url)
    trials.append(Trial("1000 silent clients of the counters: a new viewer plays", 1, int(new)))
    refused = sum(guess(port) for _ in range(guesses))
    trials.append(Trial("wrong passwords are refused", guesses, refused))
    trials.append(Trial("after that a viewer from elsewhere plays", 1, int(plays(url))))
    quick = sum(nonsense(port, seed) for seed in range(1000))
    trials.append(Trial("1000 malformed requests: none hangs over 10 s", 1000, quick))
    trials.append(Trial("after that a new viewer plays", 1, int(plays(url))))
    longest, seen = viewer.close()
    whole = int(longest < 2)
    trials.append(
        Trial("the viewer of before plays on", 1, whole, f"{seen} frames, gap {longest:.2f} s")
    )
    _, said = process.end(signal.SIGINT)
    trials.append(Trial("the log says who guesses", 1, int("wrong logins from 127.0.0.20" in said)))
    trials.append(Trial("no exception in the server", 1, int("Traceback" not in said)))
    return trials


HELLO = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
SDP = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: "
# What a server of RTSP says, one answer to each request; None: it hangs up.
HOSTILE: dict[str, list[bytes | None]] = {
    "says nothing": [],
    "hangs up at once": [None],
    "speaks HTTP": [b"HTTP/1.1 400 Bad Request\r\n\r\n", None],
    "talks nonsense": [b"\x00\xff" * 5000, None],
    "never ends a header": [b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 20000],
    "no SDP": [HELLO, SDP + b"0\r\n\r\n", None],
    "half an SDP": [HELLO, SDP + b"500\r\n\r\nv=0\r\n", None],
    "SDP without media": [HELLO, SDP + b"5\r\n\r\nv=0\r\n", None],
    "a negative length": [HELLO, SDP + b"-5\r\n\r\nv=0\r\n", None],
    "silence after OPTIONS": [HELLO],
    "wants a login": [HELLO, b"RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\n\r\n", None],
    "sends itself round": [
        HELLO,
        b"RTSP/1.0 302 Moved\r\nCSeq: 2\r\nLocation: rtsp://127.0.0.1:1/\r\n\r\n",
        None,
    ],
    "1.5 GB of SDP promised, 84 MB sent": [
        HELLO,
        SDP + b"1500000000\r\n\r\n" + b"a=x:yyyyyyyy\r\n" * 6_000_000,
        None,
    ],
}


def hostile(folder: Path) -> list[Trial]:
    """RTSP servers that mean no good: does the command end in a line, soon, in little memory?"""
    held, remarks = 0, []
    for name, answers in HOSTILE.items():
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_answer, args=(server, answers), daemon=True).start()
            url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/live"
            begun = time.monotonic()
            code = (
                "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024); "
                "sys.exit(done.returncode)"
            )
            words = command_line(url, "-o", "null:", "--quiet")
            with suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    [sys.executable, "-c", code, *words],
                    env=environment(),
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                seconds, megabytes = time.monotonic() - begun, int(done.stdout)
                lines = done.stderr.strip().splitlines()
                good = done.returncode == 1 and len(lines) == 1 and seconds < 30 and megabytes < 400
                held += good
                if good:
                    continue
                remarks.append(f"{name}: {done.returncode}, {megabytes} MB, {seconds:.0f} s")
                continue
            remarks.append(f"{name}: it hangs")
    return [Trial("hostile RTSP servers: one line, soon", len(HOSTILE), held, "; ".join(remarks))]


def _answer(server: socket.socket, answers: list[bytes | None]) -> None:
    """Takes one connection after the other; what has been said is followed by silence."""
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_talk, args=(client, answers), daemon=True).start()


def _talk(client: socket.socket, answers: list[bytes | None]) -> None:
    with client, suppress(OSError):
        for answer in answers:
            if answer is None:
                return
            client.recv(4096)
            client.sendall(answer)
        while client.recv(4096):
            pass


def stranger(port: int, last: int) -> socket.socket:
    """A connection from 127.0.0.`last`."""
    return socket.create_connection(
        ("127.0.0.1", port), timeout=5, source_address=(f"127.0.0.{last}", 0)
    )


def guess(port: int) -> bool:
    """Whether a wrong password is refused, in an answer or by a closed connection."""
    uri = f"rtsp://127.0.0.1:{port}/live"
    try:
        with stranger(port, 20) as client:
            client.sendall(f"DESCRIBE {uri} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            answer = client.recv(4096).decode()
            if found := re.search(r'Digest realm="([^"]+)", nonce="([^"]+)"', answer):
                login = (
                    f'Digest username="ann", realm="{found[1]}", nonce="{found[2]}", uri="{uri}", '
                    f'response="{"0" * 32}"'
                )
                client.sendall(
                    f"DESCRIBE {uri} RTSP/1.0\r\nCSeq: 2\r\nAuthorization: {login}\r\n\r\n".encode()
                )
                answer = client.recv(4096).decode()
            return " 200 " not in answer
    except OSError:
        return True


def nonsense(port: int, seed: int) -> bool:
    """Whether a malformed request is answered, or its connection closed, within 10 s."""
    chance = random.Random(seed)
    request = bytearray(b"SETUP rtsp://127.0.0.1/live/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n")
    request += b"Transport: RTP/AVP/TCP;interleaved=0-1\r\nSession: 12\r\nContent-Length: 5\r\n\r\n"
    for _ in range(chance.randrange(1, 12)):
        at = chance.randrange(len(request))
        request[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
    begun = time.monotonic()
    with suppress(OSError), stranger(port, 30 + seed % 100) as client:
        client.settimeout(12)
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    return time.monotonic() - begun < 10


def plays(url: str) -> bool:
    """Whether ffmpeg shows ten frames within twenty seconds."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", url]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*command, "-frames:v", "10", "-f", "null", "-"], capture_output=True, timeout=20
        )
        return done.returncode == 0
    return False


def until(true: Callable[[], bool], seconds: float) -> None:
    """Waits for something, so long at most."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


class Viewer:
    """An ffmpeg that watches, in a process of its own, and prints the time of each frame."""

    def __init__(self, url: str) -> None:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", url]
        command += ["-vf", "scale=16:16", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdout is not None
        self._times: list[float] = []
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @property
    def frames(self) -> int:
        return len(self._times)

    def _watch(self) -> None:
        assert self._process.stdout is not None
        while self._process.stdout.read(256):
            self._times.append(time.monotonic())

    def close(self) -> tuple[float, int]:
        """Returns the longest gap between two frames, also up to now, and their number."""
        self._times.append(time.monotonic())
        frames = len(self._times) - 1
        gaps = [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
        self._process.kill()
        self._thread.join()
        self._process.communicate()
        return max(gaps, default=float("inf")), frames


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[Path]:
    """A file system in memory that is soon full. Raises CalledProcessError without the right."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def still_film(folder: Path, *, noise: bool = False) -> Path:
    """A long film: nearly still, of which a second is a few hundred bytes, or noise."""
    film = folder / ("noise.mkv" if noise else "still.mkv")
    if not film.exists():
        filters = "color=gray:s=320x240:r=25:d=600"
        if noise:
            filters = "color=gray:s=320x240:r=25:d=20,noise=alls=60:allf=t"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", filters]
        subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", film], check=True)
    return film


def playing_frames(path: Path) -> int:
    """Frames that decode; the last may be cut in two."""
    count = 0
    with suppress(av.error.FFmpegError, OSError), av.open(str(path)) as film:
        for _ in film.decode(video=0):
            count += 1
    return count


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def table(trials: list[Trial]) -> str:
    """The trials as a table for the docs."""
    rows = [f"| {t.name} | {t.tried} | {t.held} | {t.remark} |" for t in trials]
    return "\n".join(["| fault | tried | held | |", "|---|---|---|---|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signals", type=int, default=15)
    parser.add_argument(
        "--only", nargs="*", default=["kills", "signals", "disk", "folders", "strangers", "hostile"]
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs: dict[str, Callable[[], list[Trial]]] = {
            "kills": lambda: kills(folder, options.kills),
            "signals": lambda: interrupts(folder, options.signals),
            "disk": lambda: full_disk(folder),
            "folders": lambda: folders(folder),
            "strangers": lambda: strangers(folder),
            "hostile": lambda: hostile(folder),
        }
        for kind, run in runs.items():
            if kind in options.only:
                trials += run()
    print(table(trials))
    if options.json:
        options.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=2) + "\n")
    sys.exit(any(trial.held < trial.tried for trial in trials))


if __name__ == "__main__":
    main()
