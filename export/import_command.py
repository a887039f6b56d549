"""The commands that bring public networks in: models import, models get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from kinemacolor.export.errors import ExportError
from rich.console import Console

console = Console(stderr=True, highlight=False, markup=False)


def add_to(models: typer.Typer) -> None:
    """Adds the commands to `kinemacolor models`."""
    models.command("import")(import_)


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


@contextmanager
def torch_at_hand() -> Iterator[None]:
    """Says how to install what an import inside the block lacks."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExportError(
            f"this command needs {error.name}: pip install 'kinemacolor[train]'"
        ) from error
