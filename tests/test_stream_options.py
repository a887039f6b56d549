"""Options: each stands once, means the same in Python and on the command line, and is checked."""

from __future__ import annotations

import math
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from kinemacolor.stream.command.colorize import takes_options
from kinemacolor.stream.options import Options, parse_every, parse_rate, parse_seconds, parse_size
from typer.testing import CliRunner

from kinemacolor.checked import described, flag_of
from kinemacolor.errors import BadOption

GROUPS = get_type_hints(Options)
FLAGS = {name: flag_of(group, name) for group in GROUPS.values() for name, _ in described(group)}
# Of each option: what is written, and the value that it means.
WRITTEN: dict[str, tuple[str | None, Any]] = {
    "model": ("zhang.onnx", "zhang.onnx"),
    "backend": ("onnxruntime", "onnxruntime"),
    "precision": ("fp32", "fp32"),
    "device": ("1", 1),
    "hwaccel": ("cuda", "cuda"),
    "steady": ("live", "live"),
    "steady_strength": ("0.5", 0.5),
    "every": ("5", 5),
    "cuts": ("cuts.csv", Path("cuts.csv")),
    "saturation": ("1.1", 1.1),
    "upsample": ("bilinear", "bilinear"),
    "compare": (None, True),
    "references": ("stills", (Path("stills"),)),
    "reference_strength": ("0.5", 0.5),
    "hints": ("hints.json", Path("hints.json")),
    "codec": ("ffv1", "ffv1"),
    "encoder": ("x264", "x264"),
    "crf": ("20.5", 20.5),
    "preset": ("slow", "slow"),
    "intra_refresh": (None, True),
    "start_seconds": ("1:30", 90.0),
    "copy_times": (None, True),
    "duration_seconds": ("00:00:02.5", 2.5),
    "size": ("1280x720", (1280, 720)),
    "fps": ("30000/1001", Fraction(30000, 1001)),
    "input_format": ("mjpeg", "mjpeg"),
    "realtime": (None, True),
    "loop": (None, True),
    "give_up_seconds": ("30", 30.0),
    "wait": (None, True),
    "max_latency_ms": ("150", 150.0),
    "degrade": (None, False),
    "deinterlace": (None, True),
    "inverse_telecine": (None, True),
    "sequence": (None, True),
    "overwrite": (None, True),
    "metrics": (":9100", ":9100"),
    "user": ("eve", "eve"),
    "tls_cert": ("cert.pem", Path("cert.pem")),
    "tls_key": ("key.pem", Path("key.pem")),
}


def from_command_line(*arguments: str) -> Options:
    """What a command gets that takes all options."""
    given: list[Options] = []
    app = typer.Typer(add_completion=False)

    @takes_options
    def color(film: str, output: str = "", *, options: Options) -> None:
        given.append(options)

    app.command()(color)
    done = CliRunner().invoke(app, ["film.mkv", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert given, done.output
    return given[0]


def test_every_option_stands_in_one_group_and_has_one_flag() -> None:
    names = [field.name for group in GROUPS.values() for field in fields(group)]
    assert sorted(names) == sorted(set(names)) == sorted(Options().flat())
    flags = [
        flag
        for group in GROUPS.values()
        for name, words in described(group)
        for flag in words.flags or (flag_of(group, name),)
    ]
    assert len(flags) == len(set(flags))


def test_every_option_is_tried_below() -> None:
    assert WRITTEN.keys() == FLAGS.keys()


def test_without_options_the_command_line_has_the_defaults_of_python() -> None:
    assert from_command_line() == Options() == Options.of()


@pytest.mark.parametrize("name", WRITTEN)
def test_the_command_line_and_python_give_the_same_values(name: str) -> None:
    written, value = WRITTEN[name]
    options = from_command_line(FLAGS[name], *([] if written is None else [written]))
    assert options == Options.of(**{name: value})
    assert options != Options()


def test_all_options_at_once() -> None:
    arguments = [
        word for name, (text, _) in WRITTEN.items() for word in (FLAGS[name], text) if word
    ]
    values = {name: value for name, (_, value) in WRITTEN.items()}
    assert from_command_line(*arguments) == Options.of(**values)


NUMBERS = ("steady_strength", "saturation", "crf", "start_seconds", "duration_seconds", "fps")
NUMBERS += ("give_up_seconds", "max_latency_ms")
WHOLE_NUMBERS = ("device", "every")
CHOICES = ("backend", "precision", "hwaccel", "steady", "upsample", "encoder", "preset")
TEXTS = ("model", "codec", "input_format", "metrics", "user")
SWITCHES = ("compare", "intra_refresh", "realtime", "loop", "wait", "degrade", "overwrite")
WRONG = [
    *((name, value) for name in NUMBERS for value in (math.nan, math.inf, -1, "7", True, [1])),
    *((name, value) for name in WHOLE_NUMBERS for value in (math.nan, 1.5, -1, "7", True)),
    *((name, value) for name in CHOICES for value in ("nonesuch", "", 1, None, True)),
    *((name, value) for name in TEXTS for value in (1, True, b"text")),
    *((name, value) for name in SWITCHES for value in (1, "yes", None)),
    *(("size", value) for value in ((0, 480), (-640, 480), (640,), (1, 2, 3), (640.5, 480))),
    *(("size", value) for value in (("640", "480"), (True, True), "640x480", 640)),
    *(("cuts", value) for value in (1, True)),
    *(("start_seconds", 1e300), ("duration_seconds", 0), ("duration_seconds", 1e300)),
    *(("saturation", 4.01), ("crf", 63.5), ("fps", 0), ("fps", 1001), ("max_latency_ms", 0)),
    *(("every", 0), ("every", "never")),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_the_flag_that_it_is_for(name: str, value: Any) -> None:
    with pytest.raises(BadOption, match=FLAGS[name]):
        Options.of(**{name: value})
    with pytest.raises(BadOption, match=FLAGS[name]):
        Options().replace(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("device", True, "--device True is no whole number"),
        ("every", 2.5, "--every 2.5 is no whole number or auto"),
        ("saturation", "1.1", "--saturation '1.1' is no number"),
        ("size", (640,), r"--size \(640,\) is no pair of whole numbers"),
        ("size", (0, 480), "--size 0 is too small: 1 is the least"),
        ("crf", 99, "--crf 99 is too large: 63 is the most"),
        ("crf", math.nan, "--crf nan is not a finite number"),
        ("compare", 1, "--compare 1 is no True or False"),
        ("upsample", "cubic", "unknown --upsample 'cubic': one of guided, bilinear"),
    ],
)
def test_what_is_wrong_with_a_value_is_said(name: str, value: Any, said: str) -> None:
    with pytest.raises(BadOption, match=f"^{said}$"):
        Options.of(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("crf", 20), ("fps", 25), ("fps", 29.97), ("saturation", 0), ("every", 3)]
)
def test_whole_numbers_are_numbers(name: str, value: Any) -> None:
    assert Options.of(**{name: value}).flat()[name] == value


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("saturaton", "saturation"), ("codecs", "codec"), ("start_second", "start_seconds")],
)
def test_an_option_that_is_none_says_which_was_meant(wrong: str, near: str) -> None:
    with pytest.raises(TypeError, match=f"no option '{wrong}'; did you mean {near}[?]"):
        Options.of(**{wrong: 1})


def test_an_option_like_no_other() -> None:
    with pytest.raises(TypeError, match=r"^there is no option 'zzz'$"):
        Options().replace(zzz=1)


@pytest.mark.parametrize("off", [{"steady": "off"}, {"steady_strength": 0}])
@pytest.mark.parametrize("option", [{"every": 5}, {"every": "auto"}, {"cuts": Path("cuts.csv")}])
def test_options_that_mean_nothing_without_steady_colour(off: dict, option: dict) -> None:
    (name,) = option
    with pytest.raises(BadOption, match=rf"--{name} .* --steady.*leave one of them out"):
        Options.of(**off, **option)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_seconds, "90", 90.0),
        (parse_seconds, "1:30", 90.0),
        (parse_seconds, "00:01:30.5", 90.5),
        (parse_size, "1280x720", (1280, 720)),
        (parse_every, "auto", "auto"),
        (parse_every, "12", 12),
        (parse_rate, "30000/1001", Fraction(30000, 1001)),
        (parse_rate, "29.97", Fraction(2997, 100)),
    ],
)
def test_what_is_written_is_read(parse: Any, text: str, value: Any) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (parse_seconds, ("", "soon", "-1", "nan", "inf", "1e300", "1:2:3:4", "1:-2")),
        (parse_size, ("", "640", "640x", "x480", "640x480x3", "-1x2", "123456x1", "6 x4")),
        (parse_every, ("", "0", "-1", "1.5", "²", "1" * 5000, "never")),
        (parse_rate, ("", "fast", "1/0", "nan", "inf", "-25", "1/2/3")),
        (parse_rate, ("1e999999999",)),  # would be computed for hours
    ],
)
def test_what_means_nothing_is_refused(parse: Any, texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(BadOption):
            parse(text)


def test_options_cannot_be_changed_behind_the_back() -> None:
    with pytest.raises(AttributeError):
        Options().color.saturation = 2.0  # type: ignore[misc]
    changed = Options.of(crf=20).replace(saturation=1.1)
    assert changed == Options.of(crf=20, saturation=1.1)
