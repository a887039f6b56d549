"""NVDEC's pictures as what the kernels take: where each component lies, and what its codes mean."""

from __future__ import annotations

from dataclasses import dataclass

import av
from kinemacolor.engine.cuda import dlpack
from kinemacolor.engine.cuda.kernels import Surface
from kinemacolor.stream.color.frames import FrameEncoding, frame_encoding
from kinemacolor.stream.errors import BadSource


@dataclass(frozen=True)
class Layout:
    """How NVDEC lays a picture out, and what a copy of it is called on the processor."""

    shift: int  # codes lie in the upper bits
    copies: tuple[str, ...]  # the same codes, the format that costs least first


LAYOUTS = {
    "nv12": Layout(0, ("nv12", "yuv420p")),
    "p010le": Layout(6, ("yuv420p10le",)),
}


def layout_name(frame: av.VideoFrame) -> str:
    """The format of a frame's samples, wherever they lie."""
    return (frame.sw_format or frame.format).name


def encoding_of(frame: av.VideoFrame) -> FrameEncoding:
    """Reads the tags of a frame on the GPU. Raises BadSource for a layout that no kernel takes."""
    layout = layout_name(frame)
    if layout not in LAYOUTS:
        raise BadSource(
            f"--hwaccel cuda takes {', '.join(LAYOUTS)}, and NVDEC gives {layout}: "
            "leave --hwaccel out"
        )
    tagged = av.VideoFrame(16, frame.height, layout)  # `cuda` has no components to read
    tagged.colorspace, tagged.color_range = frame.colorspace, frame.color_range
    return frame_encoding(tagged)


def surfaces(frame: av.VideoFrame, memory: list[dlpack.Tensor]) -> list[Surface]:
    """Y, Cb and Cr of a frame whose planes lie at these places."""
    name = layout_name(frame)
    pix_fmt = av.VideoFormat(name, frame.width, frame.height)
    found = []
    for number, component in enumerate(pix_fmt.components):
        tensor = memory[component.plane]
        second = number == 2  # Cb and Cr alternate
        found.append(
            Surface(
                tensor.address + second * tensor.item_bytes,
                tensor.strides[0] * tensor.item_bytes,
                # PyAV 18.1 halves an odd side downwards; the last sample is there all the same.
                width=component.width,
                height=component.height,
                wide=tensor.item_bytes == 2,
                shift=LAYOUTS[name].shift,
                step=tensor.strides[1],
            )
        )
    return found
