"""Exported files keep the model contract and compute what PyTorch computed."""

import copy
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import read_spec
from kinemacolor.export import bins, checkpoint, networks, onnx_export, parity
from kinemacolor.export.errors import CheckpointError, ExportError
from kinemacolor.export.options import ExportOptions


def save_checkpoint(path: Path, name: str) -> Path:
    torch.manual_seed(0)
    model = networks.build(name, pretrained=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = copy.deepcopy(model)
    checkpoint.save(path, checkpoint.Position(name, 7, 70, 1.0), model, average, optimizer)
    return path


@pytest.fixture(scope="module")
def kinema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinema")
    save_checkpoint(folder / "checkpoint.safetensors", "kinema")
    return onnx_export.export(
        folder,
        folder / "kinema.onnx",
        ExportOptions(
            version="9", license="CC0-1.0", temperature=0.8, saturation=1.3, rebalance=0.5
        ),
        scores={"auc": 90.5},
    )


def test_kinema_keeps_the_contract(kinema: Path) -> None:
    spec = read_spec(kinema)
    assert (spec.name, spec.version, spec.multiple) == ("kinema", "9", 32)
    assert (spec.height, spec.width, spec.fixed_size) == (192, 192, False)
    assert spec.scores == {"auc": 90.5}
    assert spec.license == "CC0-1.0"
    assert kinema.stat().st_size < 10_000_000
    backend = load(kinema, backend="onnxruntime")
    for shape in ((3, 1, 64, 96), (1, 1, 288, 32)):
        ab = backend(np.full(shape, 50, np.float32))
        assert ab.shape == (shape[0], 2, shape[2] // 4, shape[3] // 4)


def test_a_file_has_the_tuning_it_was_exported_with(kinema: Path) -> None:
    _, model = checkpoint.load_average(kinema.parent / "checkpoint.safetensors")
    L = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(0)) * 100
    weights = torch.from_numpy(bins.rebalancing_weights(bins.prior(), power=0.5))
    with torch.no_grad():
        logits = model.eval().logits(L) + weights.log()[:, None, None]  # type: ignore[operator]
    expected = 1.3 * bins.annealed_mean(logits, temperature=0.8).numpy()
    ours = load(kinema, backend="onnxruntime", precision="fp32")(L.numpy())
    assert np.abs(ours - expected).mean() < parity.MEAN_TOLERANCE


def test_large_weights_are_stored_as_float16(kinema: Path) -> None:
    for tensor in onnx.load(str(kinema)).graph.initializer:
        count = int(np.prod(tensor.dims))
        assert count < onnx_export.SMALL or tensor.data_type != onnx.TensorProto.FLOAT, tensor.name


def test_the_packaged_model_keeps_the_contract() -> None:
    file = Path(onnx_export.__file__).parents[1] / "engine" / "models" / "kinema.onnx"
    spec = read_spec(file)
    assert (spec.name, spec.height, spec.width, spec.multiple) == ("kinema", 192, 192, 32)
    assert file.stat().st_size < 10_000_000


@pytest.mark.parametrize("name", ["zhang", "unet", "resnet18", "fusion"])
def test_every_network_exports(name: str, tmp_path: Path) -> None:
    file = save_checkpoint(tmp_path / "checkpoint.safetensors", name)
    out = onnx_export.export(file, tmp_path / f"{name}.onnx", ExportOptions(side=64))
    spec = read_spec(out)
    assert (spec.name, spec.height) == (name, 64)
    assert not list(tmp_path.glob("*.part"))


def test_parity_finds_a_file_of_other_weights(tmp_path: Path) -> None:
    out = tmp_path / "unet.onnx"
    metadata = {"name": "unet", "height": "64", "width": "64", "scores": json.dumps({})}
    torch.manual_seed(1)
    first, second = networks.build("unet"), networks.build("unet")
    onnx_export.write(first, out, metadata=metadata)
    assert parity.check(first.eval(), out)[0] < parity.MEAN_TOLERANCE
    with pytest.raises(ExportError, match="differs from PyTorch"):
        parity.check(second.eval(), out)


def test_a_model_has_the_name_it_is_given(tmp_path: Path) -> None:
    source = save_checkpoint(tmp_path / "run", "resnet18")
    file = onnx_export.export(source, tmp_path / "a.onnx", ExportOptions(name="mine", side=64))
    assert read_spec(file).name == "mine"


def test_only_what_a_network_has_can_be_chosen(tmp_path: Path) -> None:
    unet, zhang = (save_checkpoint(tmp_path / name, name) for name in ("unet", "zhang"))
    with pytest.raises(ExportError, match="unet has no temperature to choose"):
        onnx_export.export(unet, tmp_path / "a.onnx", ExportOptions(temperature=0.5))
    with pytest.raises(ExportError, match="zhang has no saturation to choose"):
        onnx_export.export(zhang, tmp_path / "a.onnx", ExportOptions(saturation=1.2))
    with pytest.raises(ExportError, match="temperature must be more than 0"):
        onnx_export.export(zhang, tmp_path / "a.onnx", ExportOptions(temperature=0))
    assert not (tmp_path / "a.onnx").exists()


def test_a_folder_without_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        onnx_export.export(tmp_path, tmp_path / "out.onnx")


def test_a_side_that_the_network_does_not_take_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoint.safetensors", "kinema")
    with pytest.raises(ExportError, match="sides of a multiple of 32, not of 100"):
        onnx_export.export(path, tmp_path / "out.onnx", ExportOptions(side=100))
    assert not (tmp_path / "out.onnx").exists()
