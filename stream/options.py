"""Every option of a run, once: its default, its range, its check, its words on a command line.

The command line, Python, the browser and workers take options from these classes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_type_hints

from kinemacolor.engine.backend import BackendName, Precision

from kinemacolor.checked import Checked, option
from kinemacolor.errors import BadOption

_LONGEST_SECONDS = 1e9  # 30 years; FFmpeg counts microseconds in 64 bits

SteadyMode = Literal["off", "live", "film"]
Upsample = Literal["guided", "bilinear"]
Encoder = Literal["auto", "x264", "nvenc", "qsv", "amf"]
Preset = Literal[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
]


def parse_seconds(text: str) -> float:
    """`90`, `1:30` or `00:01:30.5`, as FFmpeg reads them. Raises BadOption."""
    wrong = BadOption(f"{text!r} is no time: use seconds or HH:MM:SS")
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        raise wrong from None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    if len(parts) > 3 or min(parts) < 0 or not total <= _LONGEST_SECONDS:  # nan is on no side
        raise wrong
    return total


def parse_size(text: str) -> tuple[int, int]:
    """`1280x720` to (width, height). Raises BadOption."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise BadOption(f"{text!r} is no size: expected WIDTHxHEIGHT, such as 1280x720")
    return int(match[1]), int(match[2])


def parse_every(text: str) -> int | Literal["auto"]:
    """A number from 1, or `auto`. Raises BadOption."""
    if text == "auto":
        return "auto"
    # isdigit() takes ² as well, which int() does not; nor does it take thousands of digits.
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise BadOption(f"{text!r} is no distance: use auto, or a number from 1")
    return int(text)


def parse_rate(text: str) -> Fraction:
    """Frames a second: `25`, `29.97` or `30000/1001`. Raises BadOption."""
    # Fraction() takes 1e999999999 as well, and computes it for hours.
    if re.fullmatch(r"\d{1,9}(\.\d{1,9}|/0*[1-9]\d{0,8})?", text, re.ASCII) is None:
        raise BadOption(f"{text!r} is no rate: use frames a second, such as 25")
    return Fraction(text).limit_denominator(1001)


@dataclass(frozen=True)
class ColorOptions(Checked):
    """Which network colours, by what, and what becomes of its colours."""

    model: str = option("kinema", "Packaged model, or an .onnx file.")
    backend: BackendName = option("auto", "auto, tensorrt, openvino, onnxruntime")
    precision: Precision = option("auto", "auto, fp32, bf16, fp16")
    device: int = option(0, "Number of the GPU.", low=0)
    hwaccel: Literal["none", "cuda"] = option(
        "none", "none; cuda keeps frames on the GPU (no GPU has run it yet)."
    )
    steady: Literal["auto"] | SteadyMode = option(
        "auto", "Temporal smoothing: off, live, film; auto is film for files."
    )
    steady_strength: float = option(1.0, "1 is normal.", low=0.0)
    every: int | Literal["auto"] | None = option(  # None: 1, and live as few as it takes
        None,
        "Infer every so many frames at least (1); auto keeps the film's rate.",
        parse=parse_every,
        low=1,
    )
    cuts: Path | None = option(
        None, "Cuts from PySceneDetect (.csv) or an .edl.", metavar="FILE", parse=Path
    )
    saturation: float = option(1.0, "Multiplies colour.", low=0.0, high=4.0)
    upsample: Upsample = option("guided", "guided, bilinear")
    compare: bool = option(False, "Grey and colour side by side.")
    references: tuple[Path, ...] = option(
        (),
        "Colour stills, or folders of them; frame-000120.png, 00h01m20.5s.jpg are of that frame.",
        metavar="PATH",
        parse=Path,
    )
    reference_strength: float = option(1.0, "How much they count.", low=0.0, high=1.0)
    hints: Path | None = option(
        None, "Colours of points of frames.", metavar="FILE.json", parse=Path
    )

    @property
    def knows(self) -> bool:
        """Whether there are colours that somebody knows."""
        return bool(self.references) or self.hints is not None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steady == "off" or self.steady_strength == 0:
            self._check_unsteady()

    def _check_unsteady(self) -> None:
        """Raises BadOption for options that have no meaning without steady colour."""
        cause = "--steady off" if self.steady == "off" else "--steady-strength 0"
        if self.every not in (None, 1):
            raise BadOption(
                f"--every {self.every} carries colours from frame to frame, and {cause} carries"
                " none: leave one of them out"
            )
        if self.cuts is not None:
            raise BadOption(
                f"--cuts says where steady colour starts anew, and with {cause} there is none:"
                " leave one of them out"
            )


@dataclass(frozen=True)
class EncodeOptions(Checked):
    """What becomes of the coloured frames; None is the encoder's own default."""

    codec: str | None = option(None, "h264, hevc, av1, vp9, ffv1, prores, or an FFmpeg encoder.")
    encoder: Encoder = option("auto", "auto, x264, nvenc, qsv, amf")
    crf: float = option(18.0, "Quality; lower is better.", low=0, high=63)
    preset: Preset = option("veryfast", "x264's speed names.")
    # live: a column of intra blocks that moves, in place of key frames
    intra_refresh: bool = option(False, "Live, x264: no large key frames.")


@dataclass(frozen=True)
class Span(Checked):
    """The part of a film that is coloured."""

    start_seconds: float = option(
        0.0,
        "Also -ss: skip to this time (seconds or HH:MM:SS).",
        "--start",
        parse=parse_seconds,
        low=0.0,
        high=_LONGEST_SECONDS,
    )
    duration_seconds: float | None = option(
        None,
        "Stop after this much film.",
        "-t",
        "--duration",
        parse=parse_seconds,
        high=_LONGEST_SECONDS,
    )
    copy_times: bool = option(
        False, "A part keeps the film's times; else it begins at zero.", "--copyts"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.duration_seconds is not None and self.duration_seconds <= 0:
            raise BadOption(f"--duration {self.duration_seconds:g} leaves nothing of the film")

    @property
    def trims(self) -> bool:
        """Whether it is less than the whole film."""
        return self.start_seconds > 0 or self.duration_seconds is not None


@dataclass(frozen=True)
class LiveOptions(Checked):
    """What the user says of live sources; None is the source's own choice.

    `size`, `fps` and `input_format` are asked of a camera. `realtime` plays a film as if it were
    live, `loop` again and again. A lost source is tried for `give_up_seconds`; None is for ever;
    with `wait` so is a network source that is not there yet.
    """

    size: tuple[int, int] | None = option(
        None, "Asked of a camera.", metavar="WxH", parse=parse_size, low=1
    )
    fps: Fraction | None = option(
        None,
        "Asked of a camera; of numbered pictures.",
        metavar="FPS",
        parse=parse_rate,
        low=0.1,
        high=1000.0,
    )
    input_format: str | None = option(None, "Asked of a camera: mjpeg, ...")
    realtime: bool = option(False, "A film as if live.")
    loop: bool = option(False, "Again and again, as if live.")
    give_up_seconds: float | None = option(
        None, "Stop waiting for a lost source.", "--give-up", metavar="SECONDS", low=0.0
    )
    wait: bool = option(False, "For a network source that is not there yet.")
    max_latency_ms: float = option(
        200.0, "Live frames older than that are dropped.", "--max-latency", metavar="MS", low=1.0
    )
    degrade: bool = option(
        True, "Live: every frame inferred in full size, or dropped.", "--no-degrade"
    )

    @property
    def plays_films(self) -> bool:
        """Whether a film is played as if it were live."""
        return self.realtime or self.loop


@dataclass(frozen=True)
class FilmOptions(Checked):
    """What is done to a film's pictures before they are coloured."""

    deinterlace: bool = option(False, "Makes whole pictures of fields; changes the luma.")
    inverse_telecine: bool = option(False, "Takes film at 24 a second out of video at 30.")
    sequence: bool = option(False, "A folder's pictures are one film, at --fps.")


@dataclass(frozen=True)
class OutputOptions(Checked):
    """What may happen to files that are there, and who may look on."""

    overwrite: bool = option(False, "Replace an output.", "-y", "--overwrite")
    metrics: str | None = option(None, "Counters for Prometheus.", metavar="[HOST]:PORT")
    user: str | None = option(
        None, "Login for RTSP viewers; password from KINEMACOLOR_PASSWORD[_FILE]."
    )
    tls_cert: Path | None = option(
        None, "Certificate (PEM) of an rtsps://@ server.", metavar="FILE", parse=Path
    )
    tls_key: Path | None = option(None, "Its key (PEM).", metavar="FILE", parse=Path)


@dataclass(frozen=True)
class Options:
    """All the options of a run, in groups."""

    color: ColorOptions = ColorOptions()
    encode: EncodeOptions = EncodeOptions()
    span: Span = Span()
    live: LiveOptions = LiveOptions()
    film: FilmOptions = FilmOptions()
    output: OutputOptions = OutputOptions()

    @classmethod
    def of(cls, **values: Any) -> Options:
        """Sorts options into their groups by name: `Options.of(saturation=1.1, crf=20)`.

        Raises BadOption: a value is out of its range. TypeError: there is no such option.
        """
        groups = get_type_hints(cls)
        owner = {f.name: name for name, group in groups.items() for f in fields(group)}
        sorted_in: dict[str, dict[str, Any]] = {name: {} for name in groups}
        for name, value in values.items():
            if name not in owner:
                near = get_close_matches(name, owner, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise TypeError(f"there is no option {name!r}{hint}")
            sorted_in[owner[name]][name] = value
        return cls(**{name: group(**sorted_in[name]) for name, group in groups.items()})

    def replace(self, **values: Any) -> Options:
        """Returns the same options with some of them changed, by name."""
        return Options.of(**{**self.flat(), **values})

    def flat(self) -> dict[str, Any]:
        """All options by name."""
        groups = [getattr(self, f.name) for f in fields(self)]
        return {f.name: getattr(group, f.name) for group in groups for f in fields(group)}
