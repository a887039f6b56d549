"""The commands that make and judge a model, from pictures to scores."""

from pathlib import Path

import pytest
import typer
from kinemacolor.engine.spec import read_spec
from kinemacolor.export import command as cli
from kinemacolor.export.errors import ExportError
from typer.testing import CliRunner

from tests.test_export_data import make_folder


@pytest.fixture
def app() -> typer.Typer:
    app, models = typer.Typer(), typer.Typer()
    app.add_typer(models, name="models")
    cli.add_to(app, models)
    return app


def run(app: typer.Typer, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_train_export_and_evaluate(app: typer.Typer, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 2)
    folder, model = tmp_path / "run", tmp_path / "resnet18.onnx"
    run(app, "train", "--network", "resnet18", "--data", data, "--out", folder, "--pictures", 1)
    run(app, "models", "export", folder, "-o", model, "--side", 64)
    assert (read_spec(model).name, read_spec(model).height) == ("resnet18", 64)
    sheet, scores = tmp_path / "sheet.png", tmp_path / "scores.json"
    run(
        app, "train", "--network", "resnet18", "--data", data, "--out", tmp_path / "on",
        "--pictures", 1, "--start", model,
    )  # fmt: skip
    output = run(
        app, "evaluate", "--model", model, "--data", data, "--sheet", sheet, "--json", scores
    )
    assert "| resnet18 |" in output
    assert sheet.stat().st_size
    assert scores.stat().st_size


def test_evaluate_needs_one_kind_of_data(app: typer.Typer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="either --data or --video"):
        run(app, "evaluate")
    with pytest.raises(ExportError, match="go with --data"):
        run(app, "evaluate", "--video", tmp_path / "a.mkv", "--sheet", tmp_path / "s.png")


def test_evaluate_tries_its_outputs_before_the_work(app: typer.Typer, tmp_path: Path) -> None:
    """The pictures do not exist, and are not what is complained of."""
    score = ("evaluate", "--data", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        run(app, *score, "--json", tmp_path / "no" / "scores.json")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        run(app, *score, "--sheet", tmp_path)
    with pytest.raises(ExportError, match="no picture format"):
        run(app, *score, "--sheet", tmp_path / "sheet.txt")
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept.json"
    kept.write_text("scores of before")
    with pytest.raises(ExportError):
        run(app, *score, "--json", kept)
    assert kept.read_text() == "scores of before"


def test_training_needs_a_budget(app: typer.Typer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="budget"):
        run(app, "train", "--data", tmp_path, "--out", tmp_path / "run")
