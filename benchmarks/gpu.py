"""How fast is the GPU path, where does each millisecond go, and are its colours right?

    python -m benchmarks.gpu [--film FILE] [--heights 480,720,1080,2160] [--json FILE]

Measures on one NVIDIA GPU: the engine alone at batch 1, 4 and 8, beside PyTorch in FP16 and the
time of the copies alone; the whole path into `null:` and into x264, decoded by the processor and
by NVDEC; FP16 against FP32; the GPU's colours against the processor's.

No GPU has run this yet: there are no figures of ours to compare with.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine import Backend, EngineError, find_model, read_spec
from engine.build import make_logger, module_name
from engine.color import ciede2000, dequantise, rgb_to_lab, ycbcr_to_rgb
from engine.cuda import PyCudaDevice
from engine.driver import NoGpu, find_gpu
from engine.onnxruntime_backend import OnnxRuntimeBackend
from engine.plans import measure_fp16
from engine.spec import ModelSpec
from engine.tensorrt_backend import Plan, find_plan, open_plan
from engine.tensorrt_engine import LoadedEngine
from stream.colorizer import Colorizer
from stream.frames import frame_encoding, plane_view
from stream.hwaccel import CudaColorizer
from stream.nvdec import nvenc_problem, open_cuda_source
from stream.pipeline import run
from stream.sinks import open_sink
from stream.sources import open_source
from stream.stats import Stats
from stream.steady.smoothing import make_steady

BATCHES = (1, 4, 8)
WARM_UP, ROUNDS = 20, 200
CLIP_FRAMES = 600
PARITY_FRAMES = 48
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="kinema")
    parser.add_argument("--film", type=Path, default=Path("samples/film.mp4"))
    parser.add_argument("--heights", default="480,720,1080,2160")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    spec = read_spec(find_model(arguments.model))
    results: dict[str, Any] = {"fp16 on the processor": str(measure_fp16(spec))}
    print(results["fp16 on the processor"])
    try:
        gpu = find_gpu(arguments.device)
    except NoGpu as error:
        raise SystemExit(f"nothing else can be measured here: {error}") from None
    plan = find_plan(spec, device=arguments.device)
    print(f"{gpu}; {module_name(plan.trt)}")
    results |= {"gpu": str(gpu), "module": module_name(plan.trt)}
    results["engine"] = show("engine alone", engine_rows(plan))
    results["torch"] = show("PyTorch, FP16", torch_rows(spec))
    backend = open_plan(plan, batch=8)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clips = [
                make_clip(arguments.film, int(height), Path(folder))
                for height in arguments.heights.split(",")
            ]
            for title, rows in (
                ("decoded by NVDEC", cuda_rows(backend, clips, arguments.device)),
                ("decoded by the processor", path_rows(backend, clips)),
            ):
                results[title] = show(title, rows)
            results["parity"] = show("against the processor", parity_rows(backend, clips[0]))
    finally:
        backend.close()
    print(f"NVENC: {nvenc_problem(device=arguments.device) or 'usable'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def engine_rows(plan: Plan) -> Iterator[Row]:
    """The engine at each batch size, without the pipeline around it."""
    engine = LoadedEngine(
        plan.trt,
        plan.load_or_build(),
        PyCudaDevice(plan.gpu.index),
        logger=make_logger(plan.trt),
    )
    try:
        for batch in BATCHES:
            yield time_engine(engine, batch, plan.spec.height, plan.spec.width)
    finally:
        engine.close()


def time_engine(
    engine: LoadedEngine, batch: int, height: int, width: int, rounds: int = ROUNDS
) -> Row:
    """Milliseconds a picture: computation, copies, and both as the backend overlaps them."""
    engine.bind(batch, height, width)
    device, slots = engine.device, engine.slots
    for slot in slots:
        slot.L[:] = np.random.default_rng(0).uniform(0, 100, slot.L.shape)

    def compute() -> None:
        engine.run(slots[0], batch)

    def copy() -> None:
        device.upload(slots[0].L_device, slots[0].L, engine.compute)
        device.download(slots[0].ab, slots[0].ab_device, engine.compute)

    def both(number: int) -> None:
        engine.wait(slots[number % 2])
        engine.start(slots[number % 2], batch)

    with device.current():
        computing = timed(lambda _: compute(), engine.compute.synchronize, rounds)
        copying = timed(lambda _: copy(), engine.compute.synchronize, rounds)
        for slot in slots:
            slot.downloaded.record(engine.compute)

    def finish() -> None:
        for slot in slots:
            engine.wait(slot)

    overlapped = timed(both, finish, rounds)
    scale = 1e3 / batch
    return {
        "batch": batch,
        "compute ms/picture": computing * scale,
        "copies alone ms/picture": copying * scale,
        "overlapped ms/picture": overlapped * scale,
        "pictures/s": batch / overlapped,
    }


def timed(work: Callable[[int], None], finish: Callable[[], None], rounds: int) -> float:
    """Seconds for one call of `work`, after a warm-up."""
    for i in range(WARM_UP):
        work(i)
    finish()
    begin = time.perf_counter()
    for i in range(rounds):
        work(i)
    finish()
    return (time.perf_counter() - begin) / rounds


def torch_rows(spec: ModelSpec) -> Iterator[Row]:
    """The same architecture in PyTorch: half precision, channels last, as a CUDA graph."""
    try:
        import torch

        from export.networks import NAMES, build
    except ImportError as error:
        yield {"not measured": str(error)}
        return
    if not torch.cuda.is_available():
        yield {"not measured": "this PyTorch has no CUDA"}
        return
    if spec.name not in NAMES:
        yield {"not measured": f"there is no network {spec.name} in PyTorch"}
        return
    network: Any = build(spec.name, pretrained=False).eval().cuda().half()
    network = network.to(memory_format=torch.channels_last)
    for batch in BATCHES:
        L = torch.rand(batch, 1, spec.height, spec.width, device="cuda", dtype=torch.half) * 100
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            for _ in range(3):
                network(L)
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                network(L)
        seconds = timed(lambda _, graph=graph: graph.replay(), torch.cuda.synchronize, ROUNDS)
        yield {"batch": batch, "compute ms/picture": seconds * 1e3 / batch}


def cuda_rows(backend: Backend, clips: list[Path], device: int) -> Iterator[Row]:
    """The whole path with frames that stay on the GPU, beside NVDEC alone."""
    for clip in clips:
        source = open_cuda_source(clip, device=device)
        begin = time.perf_counter()
        number = sum(isinstance(item, av.VideoFrame) for item in source)
        nvdec = number / (time.perf_counter() - begin)
        source.close()
        for sink in ("null:", f"{clip.with_suffix('')}-cuda.mkv"):
            row = path_row(
                clip,
                sink,
                lambda: open_cuda_source(clip, device=device),  # noqa: B023  (called at once)
                lambda pix_fmts: CudaColorizer(
                    backend,
                    steady=make_steady("live"),
                    pix_fmts=pix_fmts,
                    overlap=getattr(backend, "overlap", None) or 3,
                    index=device,
                ),
            )
            yield row | {"NVDEC alone fps": nvdec}


def path_rows(backend: Backend, clips: list[Path]) -> Iterator[Row]:
    """The whole path with frames decoded and coloured on the processor."""
    for clip in clips:
        for sink in ("null:", f"{clip.with_suffix('')}-cpu.mkv"):
            yield path_row(
                clip,
                sink,
                lambda: open_source(clip),  # noqa: B023  (called at once)
                lambda pix_fmts: Colorizer(
                    backend,
                    steady=make_steady("live"),
                    pix_fmts=pix_fmts,
                    overlap=getattr(backend, "overlap", None) or 3,
                ),
            )


def path_row(
    clip: Path,
    sink_uri: str,
    open_clip: Callable[[], Any],
    make_colorizer: Callable[[set[str]], Colorizer],
) -> Row:
    source = open_clip()
    try:
        sink = open_sink(sink_uri, source, overwrite=True)
        colorizer = make_colorizer(sink.pix_fmts)
        stats = run(source, colorizer, sink, stats=Stats())
        sink.finish()
        if isinstance(colorizer, CudaColorizer):
            colorizer.close()
    finally:
        source.close()
    stages = {f"{name} ms": ms for name, ms in stats.stage_ms().items()}
    sink_name = "null:" if sink_uri == "null:" else "x264"
    return {"clip": clip.stem, "sink": sink_name, "fps": stats.fps, **stages}


def parity_rows(backend: Backend, clip: Path) -> Iterator[Row]:
    """The same frames by this backend and by ONNX Runtime in FP32."""
    reference = OnnxRuntimeBackend(backend.spec)
    try:
        frames = [
            list(islice(colored(network, clip), PARITY_FRAMES)) for network in (backend, reference)
        ]
    finally:
        reference.close()
    differences, same = [], True
    for one, other in zip(*frames, strict=True):
        same = same and np.array_equal(plane_view(one, 0), plane_view(other, 0))
        differences.append(ciede2000(lab(one), lab(other)).mean())
    yield {
        "frames": len(differences),
        "luma equal": same,
        "CIEDE2000 mean": float(np.mean(differences)),
    }


def colored(network: Backend, clip: Path) -> Iterator[av.VideoFrame]:
    source = open_source(clip)
    try:
        for item in Colorizer(network, pix_fmts={"yuv420p"}).colorize(source):
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


def make_clip(film: Path, height: int, folder: Path, frames: int = CLIP_FRAMES) -> Path:
    """The film in grey at this height, repeated until it has so many frames."""
    path = folder / f"{height}p.mkv"
    with av.open(str(film)) as source:
        first = next(source.decode(video=0))
        width = round(first.width * height / first.height / 2) * 2
        source.seek(0)
        pictures = [
            frame.reformat(width, height, "gray").reformat(format="yuv420p")
            for frame in islice(source.decode(video=0), 48)
        ]
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            # There and back again, so that the film never jumps.
            step = i % max(1, 2 * len(pictures) - 2)
            frame = pictures[min(step, 2 * len(pictures) - 2 - step)]
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def show(title: str, rows: Iterator[Row]) -> list[Row]:
    """Prints rows as they come, under a title. What cannot be measured says why."""
    print(f"\n{title}", flush=True)
    shown: list[Row] = []
    try:
        for row in rows:
            cells = [f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()]
            print("  " + "; ".join(cells), flush=True)
            shown.append(row)
    except (EngineError, OSError, ValueError) as error:
        print(f"  not measured: {error}", flush=True)
        shown.append({"not measured": str(error)})
    return shown


if __name__ == "__main__":
    main()
