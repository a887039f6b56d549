"""Runs the networks of their authors' own code: authors_code.py FOLDER NAME OUT [NESTING].

FOLDER is what `benchmarks/originals.py fetch` made. OUT holds pictures.npy, L (N, 1, H, W), and
gets ab.npy, the names and shapes of the tensors, and the file of weights as it is distributed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))
from kinemacolor.engine.color import lab_to_rgb, rgb_to_lab

from tests import seeded

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def grey(L: Tensor) -> Tensor:
    """L (1, 1, H, W) to RGB (1, 3, H, W), 0..1."""
    plane = L[0, 0].numpy()
    rgb = lab_to_rgb(np.stack([plane, 0 * plane, 0 * plane], -1))
    return torch.from_numpy(np.float32(rgb).transpose(2, 0, 1)[None])


def zhang(folder: Path, name: str) -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    sys.path.insert(0, str(folder / "zhang"))
    sys.modules["IPython"] = types.ModuleType("IPython")  # they load its `embed` and never use it
    sys.modules["IPython"].embed = None  # type: ignore[attr-defined]
    colorizers = importlib.import_module(f"colorizers.{name}")
    net = getattr(colorizers, name)(pretrained=False)
    if name == "eccv16":
        net.upsample4 = nn.Identity()  # ours answers at the network's own size
    return net, lambda net, L: net(L)


def ddcolor(folder: Path, name: str) -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    root = folder / "ddcolor"
    for package in ("basicsr", "basicsr.archs"):  # their __init__ loads training, and much with it
        module = types.ModuleType(package)
        module.__path__ = [str(root / package.replace(".", "/"))]
        sys.modules[package] = module
    spec = importlib.util.spec_from_file_location("ddcolor_model", root / "ddcolor" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    code: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    options: dict[str, Any] = {"num_output_channels": 2, "last_norm": "Spectral", "dec_layers": 9}
    if name == "ddcolor-mini":
        whole = code.ConvNeXt
        code.ConvNeXt = lambda **_: whole(depths=[1, 1, 2, 1], dims=[8, 16, 24, 32])
        net = code.DDColor("convnext-t", num_queries=10, nf=32, **options)
        net.decoder.color_decoder = code.MultiScaleColorDecoder(
            [32, 32, 16], hidden_dim=32, num_queries=10, dim_feedforward=64, color_embed_dim=16
        )
    else:
        encoder = "convnext-t" if name == "ddcolor-tiny" else "convnext-l"
        net = code.DDColor(encoder, num_queries=100, **options)
    return net, lambda net, L: net(grey(L))


def deoldify(folder: Path, name: str) -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    sys.path.insert(0, str(folder / "deoldify"))
    # torchvision's compiled part wants the torch that it was built with; ResNet needs none of it.
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("none")
    from deoldify.unet import DynamicUnetDeep, DynamicUnetWide
    from fastai.layers import NormType
    from fastai.vision.learner import create_body
    from torchvision import models

    bodies = {
        "deoldify-artistic": lambda: create_body(models.resnet34, False),
        "deoldify-stable": lambda: create_body(models.resnet101, False),
        "deoldify-deep-mini": partial(_mini_body, models.resnet.BasicBlock),
        "deoldify-wide-mini": partial(_mini_body, models.resnet.Bottleneck),
    }
    deep = name in ("deoldify-artistic", "deoldify-deep-mini")
    factor = 1.5 if deep else 1 if name.endswith("mini") else 2
    net = (DynamicUnetDeep if deep else DynamicUnetWide)(
        bodies[name](), n_classes=3, blur=True, blur_final=True, self_attention=True,
        y_range=(-3.0, 3.0), norm_type=NormType.Spectral, last_cross=True, bottle=False,
        nf_factor=factor,
    )  # fmt: skip
    return net, _deoldify_ab


def _deoldify_ab(net: nn.Module, L: Tensor) -> Tensor:
    rgb = net((grey(L) - MEAN) / STD) * STD + MEAN
    lab = rgb_to_lab(rgb[0].permute(1, 2, 0).clamp(0, 1).numpy())
    return torch.from_numpy(np.float32(lab[..., 1:]).transpose(2, 0, 1)[None])


def _mini_body(block: Any) -> nn.Sequential:
    """ResNet's stem and four stages of one block each, eight channels wide."""
    from torchvision.models.resnet import conv1x1

    stages, width = [], 8
    for i, inner in enumerate((8, 8, 16, 16)):
        stride, out = 2 if i else 1, inner * block.expansion
        shortcut = None
        if stride > 1 or width != out:
            shortcut = nn.Sequential(conv1x1(width, out, stride), nn.BatchNorm2d(out))
        stages.append(nn.Sequential(block(width, inner, stride, shortcut)))
        width = out
    stem = [nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(True)]
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *stages)


def main(folder: Path, name: str, out: Path, nesting: str = "") -> None:
    make = {"ddcolor": ddcolor, "deoldify": deoldify}.get(name.split("-")[0], zhang)
    net, run = make(folder, name)
    net.eval()
    shapes = {key: list(tensor.shape) for key, tensor in net.state_dict().items()}
    (out / "shapes.json").write_text(json.dumps(shapes))
    state = seeded.state(shapes)
    net.load_state_dict(state)
    with torch.no_grad():
        pictures = torch.from_numpy(np.load(out / "pictures.npy"))
        np.save(out / "ab.npy", np.concatenate([run(net, L[None]).numpy() for L in pictures]))
    if nesting.endswith("."):
        state = {nesting + key: value for key, value in state.items()}
    torch.save({nesting: state} if nesting.isalpha() else state, out / f"{name}.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
