"""The commands that make and judge models: train, evaluate, models export, tune, ..."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from kinemacolor.export import import_command
from kinemacolor.export.errors import ExportError
from kinemacolor.export.import_command import torch_at_hand
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False, markup=False)


def add_to(app: typer.Typer, models: typer.Typer) -> None:
    """Adds the commands to the program's own."""
    app.command()(train)
    app.command()(evaluate)
    models.command("export")(export)
    models.command("tune")(tune)
    import_command.add_to(models)
    models.command("quantize")(quantize)


def train(
    data: Annotated[list[Path], typer.Option(help="Zip file or folder of colour pictures.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; an earlier run there goes on.")],
    network: Annotated[str, typer.Option(help="kinema, zhang, unet, resnet18, fusion")] = "kinema",
    validate_on: Annotated[
        list[Path] | None, typer.Option(help="Held-out pictures for scores and samples.")
    ] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Budget of time.")] = None,
    pictures: Annotated[int | None, typer.Option(min=1, help="Budget of pictures seen.")] = None,
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WIDTHxHEIGHT:BATCH",
            help="Crops to draw, 128:32 for a square; default: six shapes around 224x224.",
        ),
    ] = None,
    rebalance: Annotated[
        float | None,
        typer.Option(help="Power of the rare-colour weights; kinema 0.3, zhang 0; paper's: 1."),
    ] = None,
    vivid: Annotated[
        float, typer.Option(min=0.0, help="Least share of the truth's colorfulness; 0 is off.")
    ] = 0.0,
    saturation: Annotated[
        float, typer.Option(min=0.0, help="Factor on ab that the export will have, for --vivid.")
    ] = 1.0,
    start: Annotated[
        str | None,
        typer.Option(help="What a new run begins with: a checkpoint, an .onnx model, or kinema."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU cores to use.")] = None,
) -> None:
    """Trains a network; interrupted, the same command goes on where it was."""
    if hours is None and pictures is None:
        raise ExportError("give the run a budget: --hours or --pictures")
    from kinemacolor.engine.spec import find_model

    with torch_at_hand():
        from kinemacolor.export.train import CROPS
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

        checkpoint = run(
            network,
            data,
            out,
            validate_on=validate_on or (),
            hours=hours,
            pictures=pictures,
            crops=[_crop(text) for text in crop] if crop else CROPS,
            rebalance=rebalance,
            vivid=vivid,
            saturation=saturation,
            start=find_model(start) if start is not None else None,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
            threads=threads,
            report=show,
        )
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
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        results = score(
            models,
            data or [],
            json_file=json,
            contact_sheet=sheet,
            limit=limit,
            backend=backend,
            backends_timed=time or (),
            report=show,
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
        task = bar.add_task("clips", total=len(clips))
        results = evaluate_video(
            models,
            clips,
            colored=colored,
            json_file=json,
            max_frames=frames,
            backend=backend,
            report=lambda name, done, total: bar.update(task, completed=done),
        )
    print(table(results))


def export(
    source: Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint.safetensors.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.onnx")],
    name: Annotated[
        str | None, typer.Option(help="Of the model, in its file; the network's.")
    ] = None,
    version: Annotated[str, typer.Option()] = "1",
    temperature: Annotated[
        float | None,
        typer.Option(help="Of the annealed mean, 0.38; 1 is the mean, towards 0 the mode."),
    ] = None,
    saturation: Annotated[float | None, typer.Option(help="Factor on ab, 1.")] = None,
    rebalance: Annotated[
        float | None, typer.Option(help="Power of the rare-colour weights, 0.")
    ] = None,
    side: Annotated[
        int | None,
        typer.Option(min=32, max=1024, help="Of the square whose area it prefers, pixels."),
    ] = None,
    license: Annotated[str, typer.Option(help="Kept in the file.")] = "not stated",
    training_data: Annotated[
        str, typer.Option(help="What it was trained on, kept in the file.")
    ] = "",
) -> None:
    """Writes a checkpoint as an ONNX model and checks it against PyTorch."""
    with torch_at_hand():
        from kinemacolor.export.onnx_export import export as write
    path = write(
        source,
        output,
        name=name,
        version=version,
        temperature=temperature,
        saturation=saturation,
        rebalance=rebalance,
        height=side,
        width=side,
        license=license,
        training_data=training_data,
    )
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
        task = bar.add_task("settings", total=None)
        settings = measure(
            source,
            data,
            temperatures=temperature or (TEMPERATURE,),
            rebalances=rebalance or (0.0,),
            saturations=saturation or SATURATIONS,
            limit=limit,
            side=side,
            report=lambda done, total: bar.update(task, completed=done, total=total),
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
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done)

        made = run(find_model(model), data, output, report=show)
    size = made.path.stat().st_size / 1e6
    console.print(f"{made.path}: {size:.1f} MB, {made.convolutions} convolutions in INT8")
    if made.in_float:
        console.print(f"left in float for their cost: {', '.join(made.in_float)}")
    print(made.error)


def _crop(text: str) -> tuple[int, int, int]:
    """Reads "256x192:18" or "192:24" as (width, height, pictures)."""
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?:([1-9]\d{0,4})", text)
    if match is None:
        raise ExportError(f"{text!r} is no crop: give WIDTHxHEIGHT:BATCH, for example 256x192:18")
    width, height, count = match.groups()
    return int(width), int(height or width), int(count)


def _bar(field: str | None = None) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn()]
    columns += [TaskProgressColumn(), TextColumn(field)] if field else [MofNCompleteColumn()]
    elapsed = (TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn())
    return Progress(*columns, *elapsed, console=console, disable=not console.is_terminal)
