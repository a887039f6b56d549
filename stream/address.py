"""What SOURCE and SINK mean: parsed once into frozen values; everything after matches on them.

`str()` of an address is what may be printed and reported: without password, token or stream key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import ClassVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from kinemacolor.stream.errors import BadSink, BadSource, NotYetError, StreamError

# Suffixes of still pictures, and what the library that codes them calls their formats.
STILLS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
    ".heic": "HEIF",
    ".heif": "HEIF",
}
# Suffixes of pictures that may be numbered, and then are a film.
PICTURES = frozenset(STILLS) | {".dpx", ".exr", ".tga", ".bmp", ".jp2", ".pgm", ".ppm"}
SOURCE_KINDS = (
    "a file, a folder, -, test:, webcam:, v4l2:, avfoundation:, dshow:, screen:, rtsp://, rtmp://,"
    " http://, udp://, srt:// and tcp:// are"
)
SINK_KINDS = (
    "a file, -, null:, rtsp://, rtmp://, window:, virtualcam:, hls:, mpegts: and udp:// are"
)
_CAMERA = re.compile(r"(webcam|v4l2|avfoundation|dshow|screen):(.*)", re.DOTALL)
_STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|srt|tcp)://")
_NUMBER = re.compile(r"%0?(\d*)d")
_RTMP_PORTS = {"rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True)
class Address:
    """Any source or sink; what holds for most kinds is the default."""

    text: str = field(repr=False)  # as it was given

    live: ClassVar[bool] = False  # frames come at the source's own pace
    has_viewers: ClassVar[bool] = False  # watched as it is sent, so pictures must come in time
    follows_keys: ClassVar[bool] = False  # viewers ask for key frames, or need none

    @property
    def place(self) -> Path | None:
        """The file or folder of this machine that an output of this kind writes."""
        return None

    def __str__(self) -> str:
        return shown_url(self.text)


@dataclass(frozen=True)
class LocalFile(Address):
    """A file by its path; a folder until its films are listed."""

    path: Path

    @property
    def place(self) -> Path:
        return self.path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_still(self) -> bool:
        """Whether the name is that of a still picture."""
        return self.path.suffix.lower() in STILLS


@dataclass(frozen=True)
class ImageSequence(Address):
    """`frames/%06d.dpx`, `frames/*.tif` or the pictures of a folder: one film.

    Attributes:
        name: of the files, with `%06d` where the number stands, or a glob's wildcards.
    """

    folder: Path
    name: str

    @property
    def is_numbered(self) -> bool:
        """Whether the name says where a number stands."""
        return _NUMBER.search(self.name) is not None

    def file(self, number: int) -> Path:
        """The path of one picture by its number."""
        return self.folder / _NUMBER.sub(lambda m: str(number).zfill(int(m[1] or 0)), self.name)

    def files(self) -> list[tuple[int, Path]]:
        """The pictures that there are, in order, with their numbers from 0 on."""
        paths = [p for p in self.folder.glob("*") if p.suffix.lower() in PICTURES]
        if self.is_numbered:
            before, after = _NUMBER.split(self.name)[::2]
            wanted = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
            numbers = {int(m[1]): p for p in paths if (m := wanted.fullmatch(p.name))}
            first = min(numbers, default=0)
            return [(number - first, numbers[number]) for number in sorted(numbers)]
        named = sorted(p for p in paths if fnmatchcase(p.name, self.name))
        return list(enumerate(named))


@dataclass(frozen=True)
class Pipe(Address):
    """`-`: standard input, or Y4M on standard output."""


@dataclass(frozen=True)
class TestPicture(Address):
    """`test:WIDTHxHEIGHT@RATE#SECONDS`: FFmpeg's testsrc2, in grey."""

    __test__ = False  # pytest would collect it

    width: int
    height: int
    rate: Fraction
    seconds: float

    @property
    def graph(self) -> str:
        """FFmpeg's filter graph for it."""
        size = f"size={self.width}x{self.height}"
        return f"testsrc2={size}:rate={self.rate}:duration={self.seconds},format=gray"


@dataclass(frozen=True)
class Camera(Address):
    """`webcam:0`, `v4l2:/dev/video0`, `avfoundation:`, `dshow:` or `screen:`."""

    kind: str
    name: str

    live = True


@dataclass(frozen=True)
class NetworkStream(Address):
    """A URL that FFmpeg reads: RTSP, RTMP, HTTP, UDP, SRT or TCP.

    RTSP runs over TCP unless `?udp` stands at the end of its URL.
    """

    scheme: str
    url: str = field(repr=False)
    transport: str  # of RTSP: tcp or udp

    live = True


@dataclass(frozen=True)
class Null(Address):
    """`null:`: everything is taken and nothing is kept."""


@dataclass(frozen=True)
class Window(Address):
    """`window:`: a window on this machine's screen."""


@dataclass(frozen=True)
class VirtualCamera(Address):
    """`virtualcam:[DEVICE]`: a camera that other programs can choose."""

    device: str

    has_viewers = True


@dataclass(frozen=True)
class Hls(Address):
    """`hls:FOLDER`: a playlist with segments."""

    folder: Path

    @property
    def place(self) -> Path:
        return self.folder


@dataclass(frozen=True)
class TransportStream(Address):
    """`mpegts:-`: MPEG-TS on standard output."""

    follows_keys = True


@dataclass(frozen=True)
class Datagrams(Address):
    """`udp://HOST:PORT`: MPEG-TS in datagrams."""

    url: str = field(repr=False)  # FFmpeg's, with datagrams of whole packets

    has_viewers = True


@dataclass(frozen=True)
class RtspServer(Address):
    """`rtsp(s)://@[HOST]:PORT/PATH`: served here, at 127.0.0.1 unless a host is named."""

    host: str
    port: int
    path: str
    secure: bool = False  # RTSPS

    has_viewers = True
    follows_keys = True


@dataclass(frozen=True)
class RtspPush(Address):
    """`rtsp://HOST[:PORT]/PATH`: published to a server, over TCP or, with `?udp`, over UDP."""

    url: str = field(repr=False)  # without the transport
    transport: str

    has_viewers = True


@dataclass(frozen=True)
class RtmpPush(Address):
    """`rtmp(s)://HOST[:PORT]/APPLICATION/KEY`: published to a server."""

    scheme: str
    host: str
    port: int
    application: str
    key: str = field(repr=False)  # whoever has it can publish

    has_viewers = True


SourceAddress = LocalFile | ImageSequence | Pipe | TestPicture | Camera | NetworkStream
StreamAddress = Hls | TransportStream | Datagrams | RtspServer | RtspPush | RtmpPush
SinkAddress = LocalFile | ImageSequence | Pipe | Null | Window | VirtualCamera | StreamAddress


def parse_source(text: str | Path) -> SourceAddress:
    """Parses SOURCE. What it names need not be there.

    Raises BadSource: it is empty, of no kind known here, or not of its kind's form.
    """
    if isinstance(text, Path):
        return LocalFile(str(text), text)
    if not text:  # to Path it would be the current folder
        raise BadSource("a source is an empty name: is a variable not set?")
    if text == "-":
        return Pipe(text)
    if text.startswith("test:"):
        return _test_picture(text)
    if camera := _CAMERA.fullmatch(text):
        return Camera(text, camera[1], camera[2])
    if _STREAM.match(text):
        return _network_stream(text)
    path = _local_path(text)
    if "://" in path and not Path(path).exists():
        raise BadSource(f"there is no source {path.split('://', 1)[0]}://; {SOURCE_KINDS}")
    return _sequence(path) or LocalFile(path, Path(path))


def parse_sink(text: str | Path) -> SinkAddress:
    """Parses SINK.

    Raises:
        BadSink: it is empty, of no kind known here, or not of its kind's form.
        NotYetError: a kind of sink that this version does not write.
    """
    if isinstance(text, Path):
        return LocalFile(str(text), text)
    if not text:
        raise BadSink("the output is an empty name: is a variable not set?")
    kind, colon, rest = text.partition(":")
    match kind if colon else text:
        case "-":
            return Pipe(text)
        case "null" if not rest:
            return Null(text)
        case "window":
            return Window(text)
        case "virtualcam":
            return VirtualCamera(text, rest)
        case "hls" if not rest:
            raise BadSink("hls: needs a folder, such as hls:public/live")
        case "hls":
            return Hls(text, Path(rest))
        case "mpegts" if rest != "-":
            raise BadSink("mpegts: writes to a pipe: mpegts:-; for a file give its name, film.ts")
        case "mpegts":
            return TransportStream(text)
        case "web":
            raise _not_yet(kind)
        case _ if "://" not in text:
            numbered = _sequence(text)
            return numbered if numbered and numbered.is_numbered else LocalFile(text, Path(text))
        case "udp":
            return _datagrams(text)
        case "rtsps" if rest.startswith("//@"):
            return _rtsp_server(text)
        case "rtsp":
            return _rtsp_server(text) if rest.startswith("//@") else _rtsp_push(text)
        case "rtmp" | "rtmps":
            return _rtmp_push(text)
        case "srt":
            raise _not_yet(kind)
        case _:
            raise BadSink(f"there is no sink {kind}://; {SINK_KINDS}")


def _sequence(text: str) -> ImageSequence | None:
    """The pictures that a pattern names; None where it is none, or a file of that very name."""
    path = Path(text)
    patterned = _NUMBER.search(path.name) or any(c in path.name for c in "*?[")
    if not patterned or path.suffix.lower() not in PICTURES or path.exists():
        return None
    return ImageSequence(text, path.parent, path.name)


def is_still(name: str | Path) -> bool:
    """Whether a file's name is that of a still picture."""
    return Path(name).suffix.lower() in STILLS


def file_url(path: str | Path) -> str:
    """Returns FFmpeg's name of a file: by itself 12:30:05.mkv would be of the protocol "12"."""
    return f"file:{path}"


def shown_url(text: str) -> str:
    """Returns an address as it may be shown; without `://` it holds no secret.

    User and password are left out, and so is what may hold a token: the values of a query, a
    fragment, the end of an RTMP path, which is a stream key. Where a stray `@` leaves open where
    a password ends, the scheme is all that is shown.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    match = re.fullmatch(r"(@?)([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", rest, re.DOTALL)
    assert match is not None
    serves, place, path, query, fragment = match.groups(default="")
    if "@" in path + query + fragment:
        return f"{scheme}://..."
    place = serves + place.rpartition("@")[2]
    if scheme in _RTMP_PORTS:
        application, _, key = path.strip("/").partition("/")
        return f"{scheme}://{place}/{application}/..." if key else f"{scheme}://{place}/..."
    if query not in ("", "?tcp", "?udp"):
        query = "?..."
    return f"{scheme}://{place}{path}{query}"


def _local_path(text: str) -> str:
    """Turns `file:///film.mkv` into the path that it names; everything else stays as it is."""
    if not text.startswith("file:") or Path(text).exists():
        return text
    parts = _split(text, BadSource)
    if parts.netloc not in ("", "localhost"):
        raise BadSource(
            f"{shown_url(text)} is on another machine: mount it, or give its path as file:///PATH"
        )
    return url2pathname(parts.path) if text.startswith("file://") else text.removeprefix("file:")


def _test_picture(text: str) -> TestPicture:
    rest, _, seconds = text.removeprefix("test:").partition("#")
    size, _, rate = rest.partition("@")
    try:
        width, height = (int(n) for n in (size or "640x480").split("x"))
        return TestPicture(text, width, height, Fraction(rate or 25), float(seconds or 10))
    except (ValueError, ZeroDivisionError) as error:
        raise BadSource(f"{text}: expected test:WIDTHxHEIGHT@RATE#SECONDS") from error


def _network_stream(text: str) -> NetworkStream:
    parts = _split(text, BadSource)
    if not parts.netloc:
        raise BadSource(f"{shown_url(text)}: expected {parts.scheme}://HOST and what follows it")
    url, transport = _rtsp_transport(text) if parts.scheme.startswith("rtsp") else (text, "")
    return NetworkStream(text, parts.scheme, url, transport)


def _rtsp_transport(url: str) -> tuple[str, str]:
    """Takes FFmpeg's `?tcp` or `?udp` off the end of an RTSP URL: (URL, transport)."""
    for transport in ("tcp", "udp"):
        if url.endswith("?" + transport):
            return url[: -len(transport) - 1], transport
    return url, "tcp"


def _datagrams(text: str) -> Datagrams:
    parts = _split(text, BadSink)
    if not (parts.hostname and _port(parts)):
        raise BadSink(f"{shown_url(text)}: expected udp://HOST:PORT")
    query = f"{parts.query}&" if parts.query else ""
    datagram_bytes = 7 * 188  # as many of MPEG-TS's packets as Ethernet takes at once
    return Datagrams(text, f"udp://{parts.netloc}?{query}pkt_size={datagram_bytes}")


def _rtsp_server(text: str) -> RtspServer:
    parts = _split(text, BadSink)
    scheme = parts.scheme
    if "@" in text.removeprefix(f"{scheme}://@"):
        raise BadSink(
            f"{scheme}://@ serves from here: --user names who may watch, its URL does not"
        )
    try:
        port = {"rtsp": 8554, "rtsps": 8322}[scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise BadSink(f"{shown_url(text)}: expected {scheme}://@:PORT/PATH") from error
    host = parts.hostname or "127.0.0.1"
    return RtspServer(text, host, port, parts.path.strip("/") or "live", scheme == "rtsps")


def _rtsp_push(text: str) -> RtspPush:
    parts = _split(text, BadSink)
    if not (parts.hostname and _port(parts, 554)):
        raise BadSink(f"{shown_url(text)}: expected rtsp://HOST[:PORT]/PATH")
    return RtspPush(text, *_rtsp_transport(text))


def _rtmp_push(text: str) -> RtmpPush:
    parts = _split(text, BadSink)
    application, _, key = parts.path.strip("/").rpartition("/")
    port = _port(parts, _RTMP_PORTS[parts.scheme])
    shape = f"{parts.scheme}://HOST[:PORT]/APPLICATION/KEY"
    if not (parts.hostname and application and key and port):
        raise BadSink(f"expected {shape}")  # what was given may hold a key
    if parts.username is not None:
        raise BadSink(f"RTMP has no logins here: {shape}, with the key that the server gave you")
    key = f"{key}?{parts.query}" if parts.query else key
    return RtmpPush(text, parts.scheme, parts.hostname, port, application, key)


def _split(text: str, error: type[StreamError]) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as cause:  # which names what it minds, and that may be a password
        raise error(
            f"{shown_url(text)} is no URL: [ ] stand around IPv6 hosts only, and a user and a "
            "password need % for what is no letter or digit"
        ) from cause


def _port(parts: SplitResult, default: int = 0) -> int:
    """Returns the port of a URL; 0 where it is none."""
    try:
        return parts.port or default
    except ValueError:
        return 0


def _not_yet(kind: str) -> NotYetError:
    return NotYetError(f"{kind}: sinks are not part of this version yet; {SINK_KINDS}")
