"""Are the GPU's colours right? What `benchmarks.gpu` holds against the processor.

No GPU has run this yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.color import ciede2000, dequantise, rgb_to_lab, ycbcr_to_rgb
from kinemacolor.engine.graphs.color_error import MEAN_LIMIT, sample_pictures
from kinemacolor.engine.onnxruntime_backend import OnnxRuntimeBackend
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.cuda_painter import CudaPainter
from kinemacolor.stream.color.frames import frame_encoding, plane_view
from kinemacolor.stream.sources.nvdec import open_cuda_source
from kinemacolor.stream.sources.open import open_source

PARITY_FRAMES = 48
PARITY_LIMIT = 0.5  # CIEDE2000; a difference of 1 is about what an eye can just see
Row = dict[str, Any]


def fp16_rows(backend: Backend) -> Iterator[Row]:
    """The GPU's own ab against ONNX Runtime's in FP32; it may also add up in FP16."""
    spec = backend.spec
    reference = OnnxRuntimeBackend(spec)
    try:
        L = np.stack(sample_pictures(spec.height, spec.width))[:, None]
        ab, expected = backend(L), reference(L)
    finally:
        reference.close()
    rows, columns = L.shape[2] // ab.shape[2], L.shape[3] // ab.shape[3]
    small = L[:, 0].reshape(len(L), ab.shape[2], rows, ab.shape[3], columns).mean((2, 4))
    colors = (np.stack([small, *np.moveaxis(planes, 1, 0)], -1) for planes in (expected, ab))
    difference = np.nan_to_num(ciede2000(*colors), nan=100.0, posinf=100.0)
    yield {
        "precision": backend.precision,
        "CIEDE2000 mean": float(difference.mean()),
        "99th percentile": float(np.percentile(difference, 99)),
        "in bounds": bool(difference.mean() < MEAN_LIMIT),
    }


def parity_rows(backend: Backend, clip: Path, device: int = 0) -> Iterator[Row]:
    """The same frames by this backend and by ONNX Runtime in FP32; then by NVDEC and kernels."""
    reference = OnnxRuntimeBackend(backend.spec)
    try:
        plain, other = (
            list(
                islice(
                    colored(open_source(clip), Colorizer(network, pix_fmts={"yuv420p"})),
                    PARITY_FRAMES,
                )
            )
            for network in (backend, reference)
        )
    finally:
        reference.close()
    yield {"what": "the network"} | compared(plain, other)
    on_gpu = Colorizer(backend, painter=CudaPainter({"yuv420p"}, index=device))
    try:
        source = open_cuda_source(clip, device=device)
        frames = list(islice(colored(source, on_gpu), PARITY_FRAMES))
    finally:
        on_gpu.close()
    yield {"what": "NVDEC and kernels"} | compared(frames, plain)


def compared(frames: list[av.VideoFrame], others: list[av.VideoFrame]) -> Row:
    """Whether the luma is equal, and how far the colours are apart."""
    differences, same = [], True
    for one, other in zip(frames, others, strict=True):
        same = same and np.array_equal(plane_view(one, 0), plane_view(other, 0))
        differences.append(ciede2000(lab(one), lab(other)).mean())
    mean = float(np.mean(differences))
    return {
        "frames": len(differences),
        "luma equal": same,
        "CIEDE2000 mean": mean,
        "in bounds": same and mean < PARITY_LIMIT,
    }


def colored(source: Any, colorizer: Colorizer) -> Iterator[av.VideoFrame]:
    try:
        for item in colorizer.colorize(source):
            if isinstance(item, av.VideoFrame):
                yield item
    finally:
        source.close()


def lab(frame: av.VideoFrame) -> np.ndarray:
    """CIELAB (H/2, W/2, 3) of a 4:2:0 frame, at the size of its chroma."""
    encoding = frame_encoding(frame).encoding
    height, width = plane_view(frame, 1).shape
    luma = plane_view(frame, 0)[: 2 * height : 2, : 2 * width : 2]
    codes = np.stack([luma, plane_view(frame, 1), plane_view(frame, 2)], -1)
    ycbcr = dequantise(codes[: luma.shape[0], : luma.shape[1]], encoding)
    return rgb_to_lab(ycbcr_to_rgb(ycbcr, encoding.colorspace))
