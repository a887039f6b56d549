"""Makes the picture that stands in while a live source is away."""

from __future__ import annotations

import av
import cv2
import numpy as np
from kinemacolor.stream.color.frames import copy_luma, new_frame, plane_view, to_luma_format

_BACKGROUND, _TEXT = 40, 128  # luma of 255


def held_frame(frame: av.VideoFrame, pts: int) -> av.VideoFrame:
    """Makes the same picture at another time; its chroma is neutral."""
    frame = to_luma_format(frame)
    held = blank_frame(frame)
    copy_luma(frame, held)
    held.pts = pts
    return held


def slate_frame(like: av.VideoFrame, pts: int, text: str = "no signal") -> av.VideoFrame:
    """Makes a dark picture with a line of text, in the size and format of another frame."""
    slate = blank_frame(to_luma_format(like))
    luma = plane_view(slate, 0)
    canvas = np.full(luma.shape, _BACKGROUND, np.uint8)  # OpenCV writes on 8 bits only
    scale = slate.height / 240
    thickness = max(1, round(scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, scale, thickness)
    corner = ((slate.width - width) // 2, (slate.height + height) // 2)
    cv2.putText(canvas, text, corner, font, scale, _TEXT, thickness, cv2.LINE_AA)
    luma[:] = canvas.astype(luma.dtype) << (slate.format.components[0].bits - 8)
    slate.pts = pts
    return slate


def blank_frame(like: av.VideoFrame) -> av.VideoFrame:
    """Makes a frame of the same size, format, time and tags: neutral chroma, luma not yet drawn.

    Args:
        like: has a luma plane (`to_luma_format`).
    """
    frame = new_frame(like, like.format.name)
    depth = like.format.components[0].bits
    for plane in list(frame.planes)[1:]:
        samples = np.frombuffer(memoryview(plane), np.uint8 if depth == 8 else np.uint16)
        samples[:] = 2 ** (depth - 1)
    return frame
