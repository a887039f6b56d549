"""The commands that bring public networks in: models import, models get."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from kinemacolor.engine import fetching, hub
from kinemacolor.export.errors import ExportError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def add_to(models: typer.Typer) -> None:
    """Adds the commands to `kinemacolor models`."""
    models.command("import")(import_)
    models.command("get")(get)


def import_(
    source: Annotated[
        Path, typer.Argument(help=".pth, .pt, .bin, .safetensors, .caffemodel, or an .onnx")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.onnx")],
    points: Annotated[
        Path | None, typer.Option(metavar="pts_in_hull.npy", help="The bins of a .caffemodel.")
    ] = None,
    input: Annotated[
        str | None, typer.Option(help="Of a foreign .onnx: 0..1, 0..255, imagenet, -1..1, L")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Of a foreign .onnx: rgb, ab, lab")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Of that output: rgb as --input has it; ab the factor to CIELAB."),
    ] = None,
    side: Annotated[
        int | None,
        typer.Option(min=32, max=1024, help="Of the square whose area it prefers, pixels."),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Store the weights as float16.")] = False,
) -> None:
    """Turns public weights into a model of this program."""
    with torch_at_hand():
        from kinemacolor.export.convention import Told
        from kinemacolor.export.import_weights import import_model
    if out.suffix.lower() != ".onnx":
        out = out.with_name(out.name + ".onnx")
    told = Told.of(input, output, scale)
    made = import_model(source, out, points=points, told=told, side=side, fp16=fp16)
    console.print(f"{made.path}: {made.architecture}. {made.notice}")
    for fact in made.facts:
        console.print(fact)


def get(
    name: Annotated[str | None, typer.Argument(help="Left out: lists what there is.")] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use what is on this machine, fetch nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make it anew, even if it is there.")
    ] = False,
) -> None:
    """Fetches a public network, and makes a model of it that --model NAME runs."""
    if name is None:
        _list()
        return
    source = hub.find(name)
    file = hub.model_file(name)
    if file.is_file() and not again:
        console.print(f"{name} is there: {file}; --again makes it anew")
        return
    with torch_at_hand():
        from kinemacolor.export.import_weights import import_model
    console.print(f"{name}: about {source.megabytes} MB, licence {source.license}")
    with _bytes_bar() as bar:
        task = bar.add_task(source.file, total=None)
        fetched = fetching.fetch(
            source,
            offline=offline,
            report=lambda done, total: bar.update(task, completed=done, total=total or None),
        )
    console.print(f"{fetched.path}: {fetched.trust}")
    made = import_model(fetched.path, file, name=name)
    for fact in (made.notice, *made.facts):
        console.print(fact)
    speed = _try(name, file)
    console.print(f"{file}: {speed}; kinemacolor FILM --model {name} runs it")


def _list() -> None:
    speeds = hub.remembered("speeds")
    print(f"{'name':<18}{'M parameters':>12}{'MB':>5}  {'licence':<13}{'ms a picture':<32}good at")
    for source in hub.SOURCES.values():
        there = hub.model_file(source.name).is_file()
        speed = speeds.get(source.name, "-") if there else "not here yet"
        print(
            f"{source.name:<18}{source.parameters:>12.0f}{source.megabytes:>5}  "
            f"{source.license:<13}{speed:<32}{source.good_at}; {source.place}"
        )


def _try(name: str, file: Path) -> str:
    """Builds the engine where there is a GPU, colours one picture, and remembers its time."""
    import numpy as np
    from kinemacolor.engine.load import choose, load
    from kinemacolor.engine.spec import read_spec
    from kinemacolor.engine.tensorrt.prepare import prepare

    spec = read_spec(file)
    chosen, why = choose()
    if chosen == "tensorrt":
        console.print(f"building for TensorRT: {why}")
        prepare(spec)
    backend = load(file, chosen)
    L = np.full((1, 1, spec.height, spec.width), 50, np.float32)
    try:
        backend(L)  # the first one prepares
        start = time.perf_counter()
        backend(L)
        milliseconds = 1000 * (time.perf_counter() - start)
    finally:
        backend.close()
    words = f"{milliseconds:.0f} ({chosen}, {spec.width}x{spec.height})"
    hub.remember("speeds", {name: words})
    return f"{milliseconds:.0f} ms a picture of {spec.width}x{spec.height} ({backend.description})"


def _bytes_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def torch_at_hand() -> Iterator[None]:
    """Says how to install what an import inside the block lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExportError(
            f"this command needs {error.name}: pip install 'kinemacolor[train]'"
        ) from error
