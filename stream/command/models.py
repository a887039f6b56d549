"""`kinemacolor models`: list, inspect and build what is packaged or made."""

from __future__ import annotations

from typing import Annotated

import typer
from kinemacolor.stream.command.console import console

app = typer.Typer(help="List, inspect, import, export and build models.")


@app.command("list")
def models_list() -> None:
    """Lists the packaged models."""
    from kinemacolor.engine.spec import MODELS, read_spec

    for path in sorted(MODELS.glob("*.onnx")):
        spec = read_spec(path)
        size = path.stat().st_size / 1e6
        print(f"{path.stem:<12} {spec.version:<8} {spec.architecture:<28} {size:5.1f} MB")


@app.command("info")
def models_info(model: Annotated[str, typer.Argument()] = "kinema") -> None:
    """Prints what a model file says of itself."""
    from kinemacolor.engine.spec import find_model, read_spec

    spec = read_spec(find_model(model))
    size = f"{spec.height}x{spec.width}{'' if not spec.fixed_size else ' (fixed)'}"
    for name, value in (
        ("file", spec.path),
        ("name", spec.name),
        ("version", spec.version),
        ("architecture", spec.architecture),
        ("size", size),
        ("license", spec.license),
        ("training data", spec.training_data),
        ("quantization", spec.quantization or "none"),
        *((f"score {key}", value) for key, value in spec.scores.items()),
    ):
        print(f"{name:<22} {value}")


@app.command("build")
def models_build(
    model: Annotated[str, typer.Argument()] = "kinema",
    device: Annotated[int, typer.Option(min=0, help="Number of the GPU.")] = 0,
    precision: Annotated[str, typer.Option(help="fp16, fp32")] = "fp16",
    again: Annotated[bool, typer.Option("--again", help="Even if it is there.")] = False,
) -> None:
    """Compiles a TensorRT engine ahead of time, and prints what FP16 costs in colour."""
    from kinemacolor.engine.spec import find_model, read_spec
    from kinemacolor.engine.tensorrt.build import BuildProgress
    from kinemacolor.engine.tensorrt.prepare import prepare
    from rich.progress import Progress

    if precision not in ("fp16", "fp32"):
        raise typer.BadParameter(f"unknown precision {precision!r}: one of fp16, fp32")
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("building", total=1.0)

        def show(progress: BuildProgress) -> None:
            bar.update(task, description=progress.phase, completed=progress.fraction)

        made = prepare(
            read_spec(find_model(model)),
            precision=precision,  # type: ignore[arg-type]
            device=device,
            again=again,
            on_progress=show,
        )
    print(f"engine      {made.path}")
    print(f"made by     {made.module}, {made.precision}, for {made.target}")
    print(f"takes       {made.profile}")
    print(f"{'built now  ' if made.was_built else 'was there  '} {made.reason}")
    if made.cost:
        print(made.cost)
