"""The command `colorize`: its options, its jobs one by one, and its report."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stream.console import console, fail, start_log
from stream.errors import StreamError

_LONGEST_SECONDS = 1e9  # 30 years


def _finite(value: float | None) -> float | None:
    """Typer's `min` lets inf through, and in some versions nan."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def colorize(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="film.mkv, picture.jpg, folder/, -, test:"),
    ],
    output: Annotated[
        list[str] | None,
        typer.Option("-o", "--output", metavar="SINK", help="Given again: several at once."),
    ] = None,
    model: Annotated[str, typer.Option(help="Packaged model, or an .onnx file.")] = "kinema",
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16")] = "auto",
    device: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    hwaccel: Annotated[
        str, typer.Option(help="none; cuda keeps frames on the GPU (no GPU has run it yet).")
    ] = "none",
    steady: Annotated[
        str, typer.Option(help="Temporal smoothing: off, live, film; auto is film for files.")
    ] = "auto",
    steady_strength: Annotated[
        float, typer.Option(min=0.0, callback=_finite, help="1 is normal.")
    ] = 1.0,
    every: Annotated[
        str | None,
        typer.Option(help="Infer every so many frames at least (1); auto keeps the film's rate."),
    ] = None,
    cuts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cuts from PySceneDetect (.csv) or an .edl.")
    ] = None,
    saturation: Annotated[
        float, typer.Option(min=0.0, max=4.0, callback=_finite, help="Multiplies colour.")
    ] = 1.0,
    upsample: Annotated[str, typer.Option(help="guided, bilinear")] = "guided",
    compare: Annotated[
        bool, typer.Option("--compare", help="Grey and colour side by side.")
    ] = False,
    codec: Annotated[
        str | None, typer.Option(help="h264, hevc, av1, vp9, ffv1, prores, or an FFmpeg encoder.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="auto, x264, nvenc, qsv, amf")] = "auto",
    crf: Annotated[
        float, typer.Option(min=0, max=63, callback=_finite, help="Quality; lower is better.")
    ] = 18.0,
    preset: Annotated[str, typer.Option(help="x264's speed names.")] = "veryfast",
    intra_refresh: Annotated[
        bool, typer.Option("--intra-refresh", help="Live, x264: no large key frames.")
    ] = False,
    start: Annotated[
        str, typer.Option(help="Also -ss: skip to this time (seconds or HH:MM:SS).")
    ] = "0",
    duration: Annotated[
        str | None, typer.Option("-t", "--duration", help="Stop after this much film.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("-y", "--overwrite", help="Replace an output.")
    ] = False,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="Asked of a camera.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000.0, callback=_finite, help="Asked of a camera.")
    ] = None,
    input_format: Annotated[str | None, typer.Option(help="Asked of a camera: mjpeg, ...")] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="A film as if live.")] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Again and again, as if live.")] = False,
    give_up: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0.0, callback=_finite, help="Stop waiting for a lost source."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="For a network source that is not there yet.")
    ] = False,
    max_latency: Annotated[
        float,
        typer.Option(
            metavar="MS", min=1.0, callback=_finite, help="Live frames older than that are dropped."
        ),
    ] = 200.0,
    no_degrade: Annotated[
        bool,
        typer.Option("--no-degrade", help="Live: every frame inferred in full size, or dropped."),
    ] = False,
    metrics: Annotated[
        str | None, typer.Option(metavar="[HOST]:PORT", help="Counters for Prometheus.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(help="Login for RTSP viewers; password from KINEMACOLOR_PASSWORD[_FILE]."),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
    no_progress: Annotated[bool, typer.Option("--no-progress")] = False,
) -> None:
    """Colorizes films and pictures: SOURCE in, SINK out."""
    start_log(quiet)
    from stream.jobs import Stopped, check_stills, open_network, run_job
    from stream.live.uri import LiveOptions, is_live, size_of
    from stream.plan import plan_jobs
    from stream.report import check_report, unfinished_report
    from stream.settings import Settings

    settings = Settings(
        model=model,
        backend=backend,
        precision=precision,
        device=device,
        hwaccel=hwaccel,
        steady=steady,
        steady_strength=steady_strength,
        every=_every(every),
        cuts=cuts,
        saturation=saturation,
        upsample=upsample,
        compare=compare,
        codec=codec,
        encoder=encoder,
        crf=crf,
        preset=preset,
        intra_refresh=intra_refresh,
        start_seconds=_seconds(start),
        duration_seconds=None if duration is None else _seconds(duration),
        overwrite=overwrite,
        live=LiveOptions(
            size=None if size is None else size_of(size),
            fps=None if fps is None else Fraction(fps).limit_denominator(1001),
            input_format=input_format,
            realtime=realtime or loop,
            loop=loop,
            give_up_seconds=give_up,
            wait=wait,
        ),
        max_latency_ms=max_latency,
        degrade=not no_degrade,
        metrics=metrics,
        user=user,
    )
    outputs = output or []
    jobs = plan_jobs(sources, outputs[0] if outputs else None, more=outputs[1:], cuts=cuts)
    check_stills(jobs, settings)
    if report is not None:
        inputs = [Path(model), *([] if cuts is None else [cuts])]
        check_report(report, jobs, inputs=inputs, overwrite=overwrite)
    reports: list[dict[str, Any]] = []
    failures: list[str] = []
    live = any(is_live(job.source, settings.live) for job in jobs)
    try:
        with open_network(settings, live=live) as network:
            for job in jobs:
                try:
                    reports.append(
                        run_job(
                            job,
                            network,
                            settings,
                            console=None if quiet else console,
                            progress=not (quiet or no_progress),
                        )
                    )
                except StreamError as error:
                    if len(jobs) == 1:
                        raise
                    reports.append(unfinished_report(job, "failed", str(error)))
                    failures.append(_about(job.source, error))
                    console.print(f"failed: {failures[-1]}", soft_wrap=True)
                except Stopped as stopped:
                    reports.append(stopped.report)
                    raise
                except KeyboardInterrupt:
                    reports.append(unfinished_report(job, "stopped"))
                    raise
    finally:
        if report is not None and reports:  # also after Ctrl-C, the only end of a live run
            body = reports[0] if len(jobs) == 1 else reports
            report.write_text(json.dumps(body, indent=2) + "\n")
    if failures:
        fail(f"{len(failures)} of {len(jobs)} failed; first: {failures[0]}")


def _about(source: str, error: StreamError) -> str:
    """What went wrong, with the source's name once."""
    message = " ".join(str(error).split())
    return message if source in message else f"{source}: {message}"


def _every(text: str | None) -> int | Literal["auto"] | None:
    if text is None or text == "auto":
        return text  # type: ignore[return-value]  # mypy does not narrow to the literal
    # isdigit() takes ² as well, which int() does not; nor does it take thousands of digits.
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is no distance: use auto, or a number from 1")
    return int(text)


def _seconds(text: str) -> float:
    """`90`, `1:30` or `00:01:30.5`, as FFmpeg reads them."""
    try:
        parts = [float(part) for part in text.split(":")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or HH:MM:SS") from None
    total = 0.0
    for part in parts:
        total = total * 60 + part
    # FFmpeg counts microseconds in 64 bits; nan is on no side of anything.
    if len(parts) > 3 or min(parts) < 0 or not total <= _LONGEST_SECONDS:
        raise typer.BadParameter(f"{text!r} is no time: use seconds or HH:MM:SS")
    return total
