"""Cut lists of other programs, as those write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from kinemacolor.stream.steady.cutlist import BadCutList, read_cuts

SCENES = """\
Timecode List:,00:00:04.000,00:00:10.000
Scene Number,Start Frame,Start Timecode,Start Time (seconds),End Frame,End Timecode
1,{0},00:00:00.000,0.000,100,00:00:04.000
2,{1},00:00:04.000,4.000,250,00:00:10.000
3,{2},00:00:10.000,10.000,300,00:00:12.000
"""

EDL = """\
TITLE: a film
FCM: NON-DROP FRAME

001  AX       V     C        00:00:00:00 00:00:04:00 01:00:00:00 01:00:04:00
* FROM CLIP NAME: one
002  AX       A     C        00:00:00:00 00:00:02:00 01:00:02:00 01:00:04:00
003  AX       AA/V  C        00:00:04:00 00:00:10:00 01:00:04:00 01:00:10:00
004  AX       V     C        00:00:10:00 00:00:10:00 01:00:10:00 01:00:10:00
004  BX       V     D    012 00:01:00:00 00:01:02:00 01:00:10:00 01:00:12:00
005  BX       B     C        00:01:05:12 00:01:06:00 01:00:12:12 01:00:13:00
"""


@pytest.fixture
def write(tmp_path):
    def write(name: str, text: str):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("head", [0, 1])
def test_scenes_of_pyscenedetect_count_from_one_or_from_zero(write, base, head):
    text = SCENES.format(base, 100 + base, 250 + base).split("\n", head)[-1]
    assert read_cuts(write("film-Scenes.csv", text), rate=None) == {100, 250}


def test_hard_cuts_of_an_edl_by_their_place_in_the_film(write):
    assert read_cuts(write("film.edl", EDL), rate=Fraction(25)) == {100, 312}


def test_drop_frame_timecode_skips_numbers_not_frames(write):
    text = "001 AX V C 00:00:00;00 00:00:01;00 00:00:00;00 00:01:00;02\n"
    text += "002 AX V C 00:00:00;00 00:00:01;00 00:01:00;02 00:10:00;00\n"
    text += "003 AX V C 00:00:00;00 00:00:01;00 00:10:00;00 00:11:00;02\n"
    cuts = read_cuts(write("film.edl", text), rate=Fraction(30000, 1001))
    assert cuts == {1800, 17982}  # 10 minutes of 29.97 frames a second: 17982.02


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "", "Start Frame"),
        ("a.csv", "one,two\n1,2\n", "Start Frame"),
        ("a.csv", "Scene Number,Start Frame\n1,x\n", "whole number"),
        ("a.csv", "Scene Number,Start Frame\n1\n", "whole number"),
        ("a.csv", "Scene Number,Start Frame\n1,90\n2,5\n", "order"),
        ("a.edl", "TITLE: nothing\n", "no event"),
        ("a.edl", EDL.replace("01:00:10:00", "01:00:10:29"), "line 7"),
        ("a.edl", "\x00\xff\n", "no event"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_says_where(write, name, text, says):
    with pytest.raises(BadCutList, match=says):
        read_cuts(write(name, text), rate=Fraction(25))


def test_an_edl_needs_a_rate(write):
    with pytest.raises(BadCutList, match="rate"):
        read_cuts(write("film.edl", EDL), rate=None)
