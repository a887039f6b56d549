"""INT8 models: what stays in float, that colours hold, and that every runtime takes the file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import typer
from kinemacolor.engine.errors import BackendUnavailable
from kinemacolor.engine.graphs.fp16 import unpack
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import find_model, read_spec
from kinemacolor.engine.tensorrt.build import Profile, build_plan, graph_for, load_tensorrt
from kinemacolor.engine.tensorrt.cache import PlanCache
from kinemacolor.engine.tensorrt.prepare import prepare
from kinemacolor.export import command as cli
from kinemacolor.export.errors import DataError, ExportError
from kinemacolor.export.quantize import MEAN_LIMIT, inner_convolutions, quantize
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from tests.conftest import has_nvidia_gpu
from tests.networks import annealed_model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft random pictures, as varied as a small network needs."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(12):
        coarse = random.integers(0, 256, (6, 6, 3)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), cv2.resize(coarse, (96, 96)))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "annealed.onnx"
    model = annealed_model()
    props = {"name": "annealed", "version": "7", "height": "64", "width": "64", "scores": "{}"}
    helper.set_model_props(model, props)
    onnx.save(model, str(path))
    return path


def test_the_first_layer_and_those_that_make_ab_stay_in_float(source: Path) -> None:
    assert inner_convolutions(unpack(onnx.load(str(source)))) == ["wide"]


def test_the_packaged_model_keeps_its_ends() -> None:
    names = inner_convolutions(unpack(onnx.load(str(find_model("kinema")))))
    assert len(names) == 57
    assert not [name for name in names if "stem" in name or name in ("/conv/Conv", "/Conv")]


def test_colours_and_contract_hold(source: Path, data: Path, tmp_path: Path) -> None:
    made = quantize(source, [data], tmp_path / "made" / "int8.onnx")
    assert (made.convolutions, made.in_float) == (1, ())
    assert 0 < made.error.mean < MEAN_LIMIT
    assert made.error.pictures == 6
    spec = read_spec(made.path)
    assert (spec.name, spec.version, spec.height) == ("annealed-int8", "7", 64)
    assert spec.quantization.startswith("1 convolutions; INT8 against FP32 on 6 pictures")
    assert "scores" not in {entry.key for entry in onnx.load(str(made.path)).metadata_props}
    weights = {t.name: t.data_type for t in onnx.load(str(made.path)).graph.initializer}
    assert weights["wide.weight_quantized"] == TensorProto.INT8
    assert weights["stem.weight"] == weights["logits.weight"] == TensorProto.FLOAT
    assert [p.name for p in made.path.parent.iterdir()] == ["int8.onnx"]


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_backends_run_it_and_say_so(source: Path, data: Path, tmp_path: Path, name: str) -> None:
    made = quantize(source, [data], tmp_path / "int8.onnx")
    try:
        plain, coded = load(source, backend=name), load(made.path, backend=name)  # type: ignore[arg-type]
    except (BackendUnavailable, ModuleNotFoundError) as error:
        pytest.skip(str(error))
    assert coded.precision == "int8"
    assert "int8 and " in coded.description
    L = np.linspace(0, 100, 2 * 64 * 96, dtype=np.float32).reshape(2, 1, 64, 96)
    assert np.abs(coded(L) - plain(L)).mean() < 1
    plain.close()
    coded.close()


def test_tensorrt_builds_an_engine_from_it(source: Path, data: Path, tmp_path: Path) -> None:
    try:
        trt = load_tensorrt(["tensorrt_rtx"])
    except BackendUnavailable as error:
        pytest.skip(str(error))
    spec = read_spec(quantize(source, [data], tmp_path / "int8.onnx").path)
    profile = Profile(heights=(64,) * 3, widths=(64,) * 3)
    built = build_plan(trt, graph_for(spec, "int8"), profile)
    assert built.tensors["L"] == ("float", (-1, 1, -1, -1))
    if not has_nvidia_gpu():
        prepared = prepare(spec, cache=PlanCache(tmp_path / "plans"))
        assert prepared.precision == "int8"
        assert prepared.cost.startswith("1 convolutions; INT8 against FP32")
        assert "signed codes" in prepared.cost


def deeper(dead_weight: float) -> onnx.ModelProto:
    """Four layers that pass features on; the second has large weights for a channel of zeros."""
    model = annealed_model()
    nodes = {node.name: node for node in model.graph.node}
    place = [node.name for node in model.graph.node].index("wide")
    source = "relu.out"
    for i in range(4):
        weight = np.eye(16, dtype=np.float32)
        if i == 0:
            weight[15] = 0
        if i == 1:
            weight[:15, 15] = dead_weight
        tensor = numpy_helper.from_array(weight[..., None, None], f"layer{i}.weight")
        model.graph.initializer.append(tensor)
        names = ([source, tensor.name], [f"layer{i}.out"])
        model.graph.node.insert(place + i, helper.make_node("Conv", *names, name=f"layer{i}"))
        source = f"layer{i}.out"
    nodes["wide"].input[0] = source
    helper.set_model_props(model, {"height": "64", "width": "64"})
    return model


def test_the_layer_that_costs_most_stays_in_float(data: Path, tmp_path: Path) -> None:
    """A channel's eight bits are spent on weights that meet nothing but zeros."""
    onnx.save(deeper(300), str(tmp_path / "deep.onnx"))
    made = quantize(tmp_path / "deep.onnx", [data], tmp_path / "int8.onnx")
    assert made.in_float == ("layer1",)
    assert made.convolutions == 4
    assert made.error.mean < MEAN_LIMIT


def test_a_model_that_does_not_bear_it_is_refused_and_nothing_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kinemacolor.export.quantize.MEAN_LIMIT", 1e-6)
    onnx.save(deeper(0), str(tmp_path / "deep.onnx"))
    with pytest.raises(ExportError, match=r"does not bear INT8: .* 1 of 5 convolutions in float"):
        quantize(tmp_path / "deep.onnx", [data], tmp_path / "out" / "int8.onnx")
    assert not (tmp_path / "out").exists()


def test_a_second_time_is_refused(source: Path, data: Path, tmp_path: Path) -> None:
    made = quantize(source, [data], tmp_path / "int8.onnx")
    with pytest.raises(ExportError, match="is in INT8 already"):
        quantize(made.path, [data], tmp_path / "again.onnx")


def test_too_few_pictures_are_one_clear_error(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(DataError, match="two pictures at the least"):
        quantize(source, [folder], tmp_path / "int8.onnx")


def test_the_command_prints_the_error(source: Path, data: Path, tmp_path: Path) -> None:
    app, models = typer.Typer(), typer.Typer()
    app.add_typer(models, name="models")
    cli.add_to(app, models)
    out = tmp_path / "int8.onnx"
    words = ["models", "quantize", str(source), "--data", str(data), "-o", str(out)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "INT8 against FP32 on 6 pictures: CIEDE2000 mean 0." in result.output
    assert out.is_file()
