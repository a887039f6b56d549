"""What this machine can do, and what to install for more."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import av
from kinemacolor.engine.load import choose
from kinemacolor.engine.spec import MODELS
from kinemacolor.engine.tensorrt.findings import Finding, examine_gpu


def examine() -> Iterator[Finding]:
    """Looks at processor, GPU, backends, encoders and models."""
    yield Finding("processor", True, f"{processor()}, {os.cpu_count()} cores")
    yield from examine_gpu()
    yield from _backends()
    name, why = choose()
    yield Finding("auto backend", True, f"{name}: {why}")
    yield from _encoders()
    yield _package("PyAV", "av", f"FFmpeg {av.ffmpeg_version_info}")
    yield _package("torch", "torch", "kinemacolor train", extra="train")
    models = sorted(path.stem for path in MODELS.glob("*.onnx"))
    yield Finding("models", bool(models), ", ".join(models) or "none packaged")


def _backends() -> Iterator[Finding]:
    if find_spec("openvino") is None:
        yield Finding("openvino", False, "not installed: pip install openvino (x86-64)")
    else:
        from kinemacolor.engine import openvino_backend

        yield Finding("openvino", True, openvino_backend.abilities())
    if find_spec("onnxruntime") is None:
        yield Finding("onnxruntime", False, "not installed: pip install onnxruntime")
    else:
        from kinemacolor.engine import onnxruntime_backend

        yield Finding("onnxruntime", True, onnxruntime_backend.abilities())


def _encoders() -> Iterator[Finding]:
    for label, names in (
        ("encoders", ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")),
        ("GPU encoders", ("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "h264_amf")),
    ):
        built = [name for name in names if name in av.codecs_available]
        note = "; usable where the hardware and its driver are" if "GPU" in label else ""
        yield Finding(label, bool(built), ", ".join(built) + note)


def _package(subject: str, package: str, use: str, extra: str | None = None) -> Finding:
    try:
        return Finding(subject, True, f"{version(package)}, {use}")
    except PackageNotFoundError:
        how = f'pip install "kinemacolor[{extra}]"' if extra else f"pip install {package}"
        return Finding(subject, False, f"not installed: {how} for {use}")


def processor() -> str:
    """The processor's name in the words of the system."""
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
