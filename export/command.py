"""The commands that make and judge models: train, evaluate, models export, tune, ..."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from kinemacolor.export import import_command
from kinemacolor.export.errors import ExportError
from kinemacolor.export.import_command import torch_at_hand
from kinemacolor.export.options import ExportOptions, TrainOptions
from rich import progress as bars
from rich.console import Console

from kinemacolor.flags import takes

console = Console(stderr=True, highlight=False, markup=False)


def add_to(app: typer.Typer, models: typer.Typer) -> None:
    """Adds the commands to the program's own."""
    app.command()(train)
    app.command()(evaluate)
    models.command("export")(export)
    models.command("tune")(tune)
    import_command.add_to(models)
    models.command("quantize")(quantize)


@takes([TrainOptions], TrainOptions)
def train(
    data: Annotated[list[Path], typer.Option(help="Zip file or folder of colour pictures.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an earlier run there goes on.")],
    network: Annotated[str, typer.Option(help="kinema, zhang, unet, resnet18, fusion")] = "kinema",
    *,
    options: TrainOptions,
) -> None:
    """Trains a network; interrupted, the same command goes on where it was."""
    if options.hours is None and options.pictures is None:
        raise ExportError("give the run a budget: --hours or --pictures")
    with torch_at_hand():
        from kinemacolor.export.train import Progress as Step
        from kinemacolor.export.train import train as run

    with _bar("loss {task.fields[loss]:.3f}") as bar:
        task = bar.add_task(network, total=1.0, loss=float("nan"))

        def show(step: Step) -> None:
            bar.update(task, completed=step.share, loss=step.loss)
            if step.scores is not None:
                s = step.scores
                bar.console.print(
                    f"{step.pictures} pictures: AuC {s.auc:.2f}, CIEDE2000 {s.ciede2000:.2f}, "
                    f"chroma {s.chroma:.1f} of {s.true_chroma:.1f}"
                )

        checkpoint = run(network, data, out, options, report=show)
    console.print(f"{checkpoint}; next: kinemacolor models export {out} -o {network}.onnx")


def evaluate(
    data: Annotated[
        list[Path] | None, typer.Option(help="Zip file or folder of colour pictures.")
    ] = None,
    video: Annotated[list[Path] | None, typer.Option(help="Colour clip.")] = None,
    colored: Annotated[
        list[Path] | None,
        typer.Option(help="That clip, coloured by anything: --steady film, another program."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Packaged name or .onnx file.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="That many pictures, spread out; frames of a clip.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, tensorrt, openvino, onnxruntime")] = "auto",
    time: Annotated[list[str] | None, typer.Option(help="Also time this backend.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE.json")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Contact sheet.")] = None,
) -> None:
    """Scores models on colour pictures or clips, and coloured files, beside "grey" and "truth"."""
    from kinemacolor.engine.spec import find_model

    if bool(data) == bool(video):
        raise ExportError("give what to score on: either --data or --video")
    models = [find_model(name) for name in model or ["kinema"]]
    if video:
        if time or sheet:
            raise ExportError("--time and --sheet go with --data, not with --video")
        colored = colored or []
        _evaluate_video(
            models, video, colored=colored, json=json, backend=backend, frames=limit or 120
        )
        return
    if colored:
        raise ExportError("--colored goes with --video")
    with torch_at_hand():
        from kinemacolor.export.evaluate import evaluate as score
        from kinemacolor.export.evaluate import table

    with _bar() as bar:
        results = score(
            models,
            data or [],
            json_file=json,
            contact_sheet=sheet,
            limit=limit,
            backend=backend,
            backends_timed=time or (),
            report=_counter(bar),
        )
    print(table(results))


def _evaluate_video(
    models: list[Path],
    clips: list[Path],
    *,
    colored: list[Path],
    json: Path | None,
    backend: str,
    frames: int,
) -> None:
    with torch_at_hand():
        from kinemacolor.export.evaluate_video import evaluate_video, table

    with _bar() as bar:
        count = _counter(bar)
        results = evaluate_video(
            models,
            clips,
            colored=colored,
            json_file=json,
            max_frames=frames,
            backend=backend,
            report=lambda name, done, total: count("clips", done, total),
        )
    print(table(results))


@takes([ExportOptions], ExportOptions)
def export(
    source: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint.safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.onnx")],
    *,
    options: ExportOptions,
) -> None:
    """Writes a checkpoint as an ONNX model and checks it against PyTorch."""
    with torch_at_hand():
        from kinemacolor.export.onnx_export import export as write
    path = write(source, output, options)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, equal to PyTorch")


def tune(
    source: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint.safetensors.")],
    data: Annotated[list[Path], typer.Option(help="Held-out pictures to choose on.")],
    temperature: Annotated[list[float] | None, typer.Option(help="0.38")] = None,
    rebalance: Annotated[list[float] | None, typer.Option(help="0")] = None,
    saturation: Annotated[list[float] | None, typer.Option(help="0.9 to 1.3")] = None,
    limit: Annotated[int, typer.Option(min=1, help="That many pictures, spread out.")] = 200,
    side: Annotated[
        int | None,
        typer.Option(min=32, max=1024, help="Of the square whose area the network sees."),
    ] = None,
) -> None:
    """Scores what can be chosen after training, before `models export` fixes it."""
    with torch_at_hand():
        from kinemacolor.export.bins import TEMPERATURE
        from kinemacolor.export.tune import SATURATIONS, measure, table

    with _bar() as bar:
        count = _counter(bar)
        settings = measure(
            source,
            data,
            temperatures=temperature or (TEMPERATURE,),
            rebalances=rebalance or (0.0,),
            saturations=saturation or SATURATIONS,
            limit=limit,
            side=side,
            report=lambda done, total: count("settings", done, total),
        )
    print(table(settings))


def quantize(
    model: Annotated[str, typer.Argument(help="Packaged name or .onnx file.")],
    data: Annotated[list[Path], typer.Option(help="Zip file or folder of pictures.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.onnx")],
) -> None:
    """Writes a model with INT8 convolutions, and prints what that costs in colour."""
    from kinemacolor.engine.spec import find_model

    with torch_at_hand():
        from kinemacolor.export.quantize import quantize as run

    with _bar() as bar:
        made = run(find_model(model), data, output, report=_counter(bar))
    size = made.path.stat().st_size / 1e6
    console.print(f"{made.path}: {size:.1f} MB, {made.convolutions} convolutions in INT8")
    if made.in_float:
        console.print(f"left in float for their cost: {', '.join(made.in_float)}")
    print(made.error)


def _bar(field: str | None = None) -> bars.Progress:
    how_far: list[bars.ProgressColumn] = [bars.MofNCompleteColumn()]
    if field:
        how_far = [bars.TaskProgressColumn(), bars.TextColumn(field)]
    start = (bars.TextColumn("{task.description}"), bars.BarColumn())
    end = (bars.TimeElapsedColumn(), bars.TextColumn("eta"), bars.TimeRemainingColumn())
    return bars.Progress(*start, *how_far, *end, console=console, disable=not console.is_terminal)


def _counter(bar: bars.Progress) -> Callable[[str, int, int], None]:
    """Returns a function that shows how many of how many are done, in a row for each name."""
    rows: dict[str, bars.TaskID] = {}

    def show(name: str, done: int, total: int) -> None:
        if name not in rows:
            rows[name] = bar.add_task(name, total=total)
        bar.update(rows[name], completed=done, total=total)

    return show
