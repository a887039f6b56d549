"""Weights read back from an exported model: the same colours, and a network that can learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from kinemacolor.engine.spec import find_model
from kinemacolor.export import checkpoint, exported, networks, onnx_export, train
from kinemacolor.export.errors import ExportError
from kinemacolor.export.options import ExportOptions, TrainOptions
from torch import nn

from tests.test_export_data import make_folder
from tests.test_export_train import TINY


def pictures(side: int = 64, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(6, 1, side // 8, side // 8, generator=generator) * 100
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def spread_out(network: nn.Module) -> None:
    """Gives batch norms statistics, scales and biases that a mistake would show in."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.3, 0.3)


@pytest.mark.parametrize("name", ["kinema", "zhang", "unet", "resnet18", "fusion"])
@torch.no_grad()
def test_weights_come_back_from_the_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = networks.build(name, pretrained=False)
    spread_out(network)
    entry = networks.entry(name)
    metadata = {"name": name, "height": "64", "width": "64", "multiple": str(entry.multiple)}
    file = onnx_export.write(network, tmp_path / "n.onnx", metadata=metadata, fp16_weights=False)
    torch.manual_seed(1)
    other = networks.build(name, pretrained=False)
    L = pictures()
    exported.load(file, other, L)
    wanted = network.eval()(L)
    assert float(wanted.std()) > 0
    torch.testing.assert_close(other.eval()(L), wanted, atol=2e-3, rtol=1e-3)


def names_in(file: Path) -> list[str]:
    return [tensor.name for tensor in onnx.load(str(file)).graph.initializer]


@torch.no_grad()
def test_the_packaged_model_can_be_trained_on() -> None:
    network = networks.build("kinema", pretrained=False)
    file = find_model("kinema")
    L = pictures(96)
    exported.load(file, network, L)
    session = ort.InferenceSession(str(file))
    other = pictures(96, seed=2)
    wanted = session.run(["ab"], {"L": other.numpy()})[0]
    ab = network.eval()(other).numpy()
    saturation = float((wanted * ab).sum() / (ab * ab).sum())  # a choice of the export
    assert 0.9 < saturation < 1.5
    np.testing.assert_allclose(saturation * ab, wanted, atol=0.02)


def test_a_run_begins_with_an_exported_model(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    options = TrainOptions(pictures=4, crops=TINY, device="cpu", threads=1)
    first = train.train("resnet18", [data], tmp_path / "a", options)
    file = onnx_export.export(first, tmp_path / "a.onnx", ExportOptions(side=32))
    second = train.train(
        "resnet18", [data], tmp_path / "b", replace(options, start=file, learning_rate=1e-9)
    )
    begun, ended = (checkpoint.part(checkpoint.read(p)[1], "network") for p in (first, second))
    stored = {name.removesuffix(".float16") for name in names_in(file)}
    same = [key for key in begun if key in stored and begun[key].ndim == 4]
    assert same  # no batch norm was folded into these
    average = checkpoint.part(checkpoint.read(first)[1], "average")
    for key in same:
        assert torch.allclose(average[key], ended[key], atol=2e-3), key


def test_a_file_of_another_network_or_none_is_refused(tmp_path: Path) -> None:
    network = networks.build("resnet18", pretrained=False)
    with pytest.raises(ExportError, match="was not exported from this network"):
        exported.load(find_model("kinema"), network, pictures())
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ExportError, match="not a readable ONNX model"):
        exported.load(broken, network, pictures())
