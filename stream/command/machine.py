"""The commands that say what this machine has and can do: devices, doctor, bench."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from kinemacolor.stream.command.console import console, start_log
from rich.console import Console
from rich.table import Table


def devices() -> None:
    """Lists cameras with their modes."""
    from kinemacolor.stream.sources.camera import devices as cameras

    found = False
    for camera in cameras():
        found = True
        print(f"{camera.name}  {camera.description}")
        for mode in camera.modes:
            print(f"    {mode}")
    if not found:
        console.print("no camera was found")


def doctor() -> None:
    """Prints what this machine can do, and what to install for more."""
    from kinemacolor.stream.command.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in examine():
        table.add_row("ok" if finding.good else "-", finding.subject, finding.detail)
    _print(table)


def bench(
    model: Annotated[str, typer.Option(help="Packaged model, or an .onnx file.")] = "kinema",
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16")] = "auto",
    steady: Annotated[str, typer.Option(help="off, live, film")] = "live",
    frames: Annotated[int, typer.Option(min=1)] = 200,
) -> None:
    """Measures this machine: a test picture at three sizes, without an encoder."""
    start_log(quiet=False)
    # How the colours of a test picture are read is no news, and it is read six times.
    logging.getLogger("kinemacolor.stream.color").setLevel(logging.WARNING)
    from kinemacolor.stream.command.bench import measure
    from kinemacolor.stream.measure.stats import STAGES
    from kinemacolor.stream.options import Options
    from kinemacolor.stream.run.run import open_network

    options = Options.of(model=model, backend=backend, precision=precision, steady=steady)
    table = Table("size", "network", "fps", *(f"{stage} ms" for stage in STAGES[:-1]), box=None)
    with open_network(options) as network:
        console.print(network.description)
        for row in measure(network, frames=frames, steady=options.color.steady):  # type: ignore[arg-type]
            table.add_row(
                f"{row.width}x{row.height}",
                f"{row.network[1]}x{row.network[0]}",
                f"{row.fps:.1f}",
                *(f"{row.stage_ms[stage]:.2f}" for stage in STAGES[:-1]),
            )
    _print(table)


def _print(table: Table) -> None:
    """To standard output: a table is what was asked for."""
    Console(highlight=False, markup=False).print(table)
