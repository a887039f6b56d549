"""What a film's tags say: the colours' meaning, rotation, shape, light, and fields."""

from __future__ import annotations

from typing import Any

import av
from av.sidedata.sidedata import Type
from kinemacolor.stream.proof.check import Check
from kinemacolor.stream.proof.luma import RGB_MATRIX, UNSPECIFIED, has_rgb, is_full
from kinemacolor.stream.proof.sidedata import data_of, light_of, looks_interlaced, rotation_of

# Codecs whose bitstreams know no full range: a full source is brought to limited for them.
CANNOT_SAY_FULL = frozenset(
    ("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v3", "wmv2", "prores", "dnxhd", "dvvideo")
)
_WITHOUT_FIELDS = frozenset(("vp8", "vp9", "av1", "gif"))
_NEAR = 0.01  # of light's numbers, which containers round


def check_tags(
    streams: list[Any], ours: av.VideoFrame, theirs: av.VideoFrame, *, says_full: bool
) -> Check:
    """Compares what both films say of their pictures, by the first frame of each."""
    differing = [*_colors(ours, theirs, says_full=says_full)]
    before, after = rotation_of(ours), rotation_of(theirs)
    if before[0] != after[0]:
        differing.append(f"rotation {before[0]} became {after[0]}")
    if before[1] != after[1]:
        differing.append("the mirroring is lost" if before[1] else "a mirroring is new")
    aspects = [stream.sample_aspect_ratio or 1 for stream in streams]
    if aspects[0] != aspects[1]:
        differing.append(f"sample aspect ratio {aspects[0]} became {aspects[1]}")
    for name, wanted in light_of(ours).items():
        found = light_of(theirs).get(name)
        if found is None:
            differing.append(f"{name} lost")
        elif any(
            abs(a - b) > _NEAR * max(abs(a), 0.01) for a, b in zip(wanted, found, strict=True)
        ):
            differing.append(f"{name} {wanted} became {found}")
    profile = data_of(ours, Type.ICC_PROFILE)
    kept = profile is None or data_of(theirs, Type.ICC_PROFILE) == profile
    if not kept and not has_rgb(ours):
        differing.append("ICC profile lost")
    return Check("tags", not differing, "; ".join(differing) or "the same")


def _colors(ours: av.VideoFrame, theirs: av.VideoFrame, *, says_full: bool) -> list[str]:
    differing = []
    wanted, found = int(ours.colorspace), int(theirs.colorspace)
    if has_rgb(ours) or wanted == RGB_MATRIX:
        if found == RGB_MATRIX and not has_rgb(theirs):
            differing.append("colorspace is that of RGB, and the picture is none")
    elif wanted != found and not has_rgb(theirs):
        guessed = wanted == UNSPECIFIED and _family(wanted, ours) == _family(found, theirs)
        if not guessed:
            differing.append(f"colorspace {wanted} became {found}")
    before, after = is_full(ours), is_full(theirs)
    converted = has_rgb(ours) or has_rgb(theirs) or (before and not says_full)
    if before != after and not converted:
        names = ["full" if full else "limited" for full in (before, after)]
        differing.append(f"color_range {names[0]} became {names[1]}")
    for name in ("color_primaries", "color_trc"):
        wanted, found = int(getattr(ours, name)), int(getattr(theirs, name))
        if wanted != found:
            differing.append(f"{name} {wanted} became {found}")
    return differing


def _family(colorspace: int, frame: av.VideoFrame) -> int:
    """Which matrix a tag means: BT.601 has several, and one that is missing follows the size."""
    if colorspace == UNSPECIFIED:
        colorspace = 5 if frame.height < 720 else 1
    return {4: 5, 6: 5, 10: 9}.get(colorspace, colorspace)


def check_fields(
    ours: tuple[str, int], theirs: tuple[str, int], begin: list[av.VideoFrame], codec: str
) -> Check:
    """Compares the order of fields.

    Args:
        ours, theirs: the order, and how many frames are interlaced.
        begin: of the source, to look at where its flags say that there are no fields.
    """
    if ours[0] == theirs[0] and ours[1] == theirs[1]:
        return Check("fields", True, f"{ours[0]}, in {ours[1]} frames")
    became = f"{ours[0]} ({ours[1]} frames) became {theirs[0]} ({theirs[1]} frames)"
    if not ours[1]:
        if looks_interlaced(begin):
            return Check("fields", True, f"{theirs[0]}, as its frames look; the source did not say")
        return Check("fields", False, became)
    if not theirs[1] and codec in _WITHOUT_FIELDS:
        return Check("fields", True, f"{ours[0]}, of which {codec} says nothing")
    return Check("fields", False, became)
