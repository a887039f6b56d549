"""How fast is the GPU path, where does each millisecond go, and are its colours right?

    python -m benchmarks.gpu [--film FILE] [--heights 480,720,1080,2160] [--json FILE]

Measures on one NVIDIA GPU: the engine alone at batch 1, 4 and 8, as a CUDA graph and without,
beside PyTorch in FP16 and the time of the copies alone; the whole path into `null:` and into x264,
decoded by the processor and by NVDEC; FP16 against FP32, on the processor and on the GPU; the
GPU's colours, and those of NVDEC and the kernels, against the processor's. What is known is
written after each section, and a section that fails is a row.

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
from kinemacolor.engine.backend import Backend
from kinemacolor.engine.cuda.device import PyCudaDevice
from kinemacolor.engine.cuda.driver import NoGpu, find_gpu
from kinemacolor.engine.spec import ModelSpec, find_model, read_spec
from kinemacolor.engine.tensorrt.backend import find_plan, open_plan
from kinemacolor.engine.tensorrt.build import make_logger, module_name
from kinemacolor.engine.tensorrt.engine import LoadedEngine
from kinemacolor.engine.tensorrt.plans import Plan
from kinemacolor.engine.tensorrt.prepare import measure_fp16
from kinemacolor.stream.color.colorizer import Colorizer
from kinemacolor.stream.color.cuda_painter import CudaPainter
from kinemacolor.stream.measure.stats import Stats
from kinemacolor.stream.pipeline import run
from kinemacolor.stream.sinks.open import open_sink
from kinemacolor.stream.sources.nvdec import nvenc_problem, open_cuda_source
from kinemacolor.stream.sources.open import open_source
from kinemacolor.stream.steady.smoothing import make_steady

from benchmarks.gpu_parity import fp16_rows, parity_rows

BATCHES = (1, 4, 8)
WARM_UP_SECONDS, ROUNDS = 2.0, 200  # clocks rise, and kernels are chosen, within a second
CLIP_FRAMES = 600
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

    def section(title: str, rows: Iterator[Row]) -> list[Row]:
        results[title] = show(title, rows)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2) + "\n")
        return results[title]

    engine = section("engine alone", engine_rows(plan))
    section("PyTorch, FP16", torch_rows(spec))
    fastest = max((row.get("pictures/s", 0.0) for row in engine), default=0.0)
    heights = [int(height) for height in arguments.heights.split(",")]
    backend = open_plan(plan, batch=8)
    try:
        with tempfile.TemporaryDirectory() as folder:
            clips = [make_clip(arguments.film, height, Path(folder)) for height in heights]
            section("FP16 on the GPU", fp16_rows(backend))
            section("against the processor", parity_rows(backend, clips[0], arguments.device))
            section("decoded by NVDEC", cuda_rows(backend, clips, arguments.device, fastest))
            section("decoded by the processor", path_rows(backend, clips))
    finally:
        backend.close()
    section("NVENC", iter([{"NVENC": nvenc_problem(device=arguments.device) or "usable"}]))


def engine_rows(plan: Plan) -> Iterator[Row]:
    """The engine at each batch size, without the pipeline around it."""
    for graphs in (True, False):
        engine = LoadedEngine(
            plan.trt,
            plan.load_or_build(),
            PyCudaDevice(plan.gpu.index),
            logger=make_logger(plan.trt),
            graphs=graphs,
        )
        try:
            for batch in BATCHES:
                row = time_engine(engine, batch, plan.spec.height, plan.spec.width)
                yield {"CUDA graph": graphs} | row
        finally:
            engine.close()


def time_engine(
    engine: LoadedEngine,
    batch: int,
    height: int,
    width: int,
    *,
    rounds: int = ROUNDS,
    warm_up_seconds: float = WARM_UP_SECONDS,
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
        computing = timed(lambda _: compute(), engine.compute.synchronize, rounds, warm_up_seconds)
        copying = timed(lambda _: copy(), engine.compute.synchronize, rounds, warm_up_seconds)
        for slot in slots:
            slot.downloaded.record(engine.compute)

    def finish() -> None:
        for slot in slots:
            engine.wait(slot)

    overlapped = timed(both, finish, rounds, warm_up_seconds)
    scale = 1e3 / batch
    return {
        "batch": batch,
        "compute ms/picture": computing * scale,
        "copies alone ms/picture": copying * scale,
        "overlapped ms/picture": overlapped * scale,
        "pictures/s": batch / overlapped,
    }


def timed(
    work: Callable[[int], None],
    finish: Callable[[], None],
    rounds: int,
    warm_up_seconds: float = WARM_UP_SECONDS,
) -> float:
    """Seconds for one call of `work`, once it has been called for so long."""
    begin, number = time.perf_counter(), 0
    while number < 4 or time.perf_counter() - begin < warm_up_seconds:
        for _ in range(4):
            work(number)
            number += 1
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
        from kinemacolor.export.networks import NAMES, build
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


def cuda_rows(backend: Backend, clips: list[Path], device: int, engine_fps: float) -> Iterator[Row]:
    """The whole path with frames that stay on the GPU, beside NVDEC alone.

    Args:
        engine_fps: of the engine alone: the path is no faster than the slower of the two.
    """
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
                lambda pix_fmts: Colorizer(
                    backend, steady=make_steady("live"), painter=CudaPainter(pix_fmts, index=device)
                ),
            )
            slower = min(nvdec, engine_fps or nvdec)
            yield row | {"NVDEC alone fps": nvdec, "of the slower part": row["fps"] / slower}


def path_rows(backend: Backend, clips: list[Path]) -> Iterator[Row]:
    """The whole path with frames decoded and coloured on the processor."""
    for clip in clips:
        for sink in ("null:", f"{clip.with_suffix('')}-cpu.mkv"):
            yield path_row(
                clip,
                sink,
                lambda: open_source(clip),  # noqa: B023  (called at once)
                lambda pix_fmts: Colorizer(backend, steady=make_steady("live"), pix_fmts=pix_fmts),
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
        colorizer.close()
    finally:
        source.close()
    stages = {f"{name} ms": ms for name, ms in stats.stage_ms().items()}
    sink_name = "null:" if sink_uri == "null:" else "x264"
    return {"clip": clip.stem, "sink": sink_name, "fps": stats.fps, **stages}


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
    except Exception as error:  # the sections after it are still worth their time
        reason = f"{type(error).__name__}: {error}"
        print(f"  not measured: {reason}", flush=True)
        shown.append({"not measured": reason})
    return shown


if __name__ == "__main__":
    main()
