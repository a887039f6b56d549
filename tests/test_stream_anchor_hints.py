"""Hints: every entry that cannot be used is named, and none spills."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from kinemacolor.stream.anchor.hints import SCHEMA, Hint, Reach, check_apart, read_hints
from kinemacolor.stream.anchor.match import cells_of
from kinemacolor.stream.anchor.reach import hinted
from kinemacolor.stream.errors import BadHint

GOOD = {"frame": 120, "x": 0.28, "y": 0.39, "color": "#1c2a4a", "reach": "object"}


def file_of(tmp_path: Path, body: Any) -> Path:
    path = tmp_path / "hints.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    entries = [GOOD, {"time": 4.8, "x": 0, "y": 1, "color": "keep"}]
    found = read_hints(file_of(tmp_path, {"version": 1, "hints": entries}))
    assert found == [
        Hint(0.28, 0.39, "#1c2a4a", frame=120),
        Hint(0, 1, "keep", time=4.8),
    ]
    assert found[0].rgb == (0x1C / 255, 0x2A / 255, 0x4A / 255)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": 1.2}, "x is 1.2"),
        ({"y": -0.1}, "y is -0.1"),
        ({"x": float("nan")}, "x is nan"),
        ({"x": True}, "x is True"),
        ({"color": "navy"}, "color is 'navy'"),
        ({"color": "#12345"}, "color is"),
        ({"color": 7}, "color is 7"),
        ({"reach": "far"}, "reach is 'far'"),
        ({"frame": -1}, "frame is -1"),
        ({"frame": 1.5}, "frame is 1.5"),
        ({"time": 1.0}, "only one"),
        ({"frame": None}, "frame or a time"),
        ({"colour": "#000000"}, "unknown key 'colour'"),
    ],
)
def test_what_is_wrong_with_an_entry_is_one_line_that_names_it(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = file_of(tmp_path, {"version": 1, "hints": [GOOD, {**GOOD, **change}]})
    with pytest.raises(BadHint) as caught:
        read_hints(path)
    assert "hints[1]" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "no JSON"),
        ([], "no file of hints"),
        ({"hints": []}, "no file of hints"),
        ({"version": 2, "hints": []}, "version 2"),
        ({"version": True, "hints": []}, "version True"),
        ({"version": 1}, "has to be a list"),
        ({"version": 1, "hints": [3]}, "hints[0]"),
        ({"version": 1, "hints": [{"x": 0, "y": 0}]}, "has no color"),
        ({"version": 1, "hints": [], "more": 1}, "unknown key 'more'"),
    ],
)
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, body: Any, said: str) -> None:
    with pytest.raises(BadHint) as caught:
        read_hints(file_of(tmp_path, body))
    assert said in str(caught.value)


def test_two_colours_of_one_point_contradict_each_other() -> None:
    hint = Hint(0.5, 0.5, "#102030", frame=1)
    check_apart([hint, hint])
    with pytest.raises(BadHint, match="contradict"):
        check_apart([hint, Hint(0.5, 0.5, "#302010", frame=1)])


def test_the_published_schema_knows_the_same_words() -> None:
    entry = json.loads(SCHEMA.read_text())["properties"]["hints"]["items"]
    assert set(entry["properties"]) == {each.name for each in fields(Hint)}
    assert entry["properties"]["reach"]["enum"] == list(get_args(Reach))


def two_halves() -> tuple[np.ndarray, np.ndarray]:
    """L of a dark and a bright half, and features that tell them apart as well."""
    L = np.full((96, 144), 30, np.float32)
    L[:, 72:] = 70
    features = np.random.default_rng(0).normal(0, 0.1, (12, 12, 18)).astype(np.float32)
    features[:6, :, :9] += 1
    return L, features


@pytest.mark.parametrize("reach", ["object", "spot"])
def test_a_hint_never_spills_over_an_edge(reach: Reach) -> None:
    L, features = two_halves()
    ab = np.zeros((2, *L.shape), np.float32)
    hint = Hint(0.25, 0.5, "#1c2a4a", frame=0, reach=reach)
    known, shares = hinted([hint], L, ab, cells_of(features, (12,), L))
    assert known.sure[48, 36] == 1
    assert known.sure[:, 76:].max() < 0.02
    assert known.ab[1, 48, 36] < -10  # blue
    if reach == "object":
        assert known.sure[:, 4:66].mean() > 0.8
    else:
        assert known.sure[:, :66].mean() < 0.1
    assert shares == [pytest.approx(float(known.sure.mean()), rel=0.01)]


def test_of_two_hints_each_has_its_own_thing() -> None:
    L, features = two_halves()
    ab = np.zeros((2, *L.shape), np.float32)
    hints = [Hint(0.25, 0.5, "#1c2a4a", frame=0), Hint(0.75, 0.5, "#c04030", frame=0)]
    known, _ = hinted(hints, L, ab, cells_of(features, (12,), L))
    assert known.ab[1, 48, 30] < -10
    assert known.ab[0, 48, 110] > 20


def test_keep_and_grey_are_colours_too() -> None:
    L, features = two_halves()
    ab = np.full((2, *L.shape), 20, np.float32)
    hints = [Hint(0.25, 0.5, "keep", frame=0), Hint(0.75, 0.5, "grey", frame=0)]
    known, _ = hinted(hints, L, ab, cells_of(features, (12,), L))
    assert known.ab[:, 48, 30] == pytest.approx([20, 20], abs=0.5)
    assert known.ab[:, 48, 110] == pytest.approx([0, 0], abs=0.5)
