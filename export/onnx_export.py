"""Writes a trained network as one ONNX file that keeps the model contract (`L` in, `ab` out)."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from kinemacolor.engine.graphs.edit import set_nodes
from kinemacolor.engine.graphs.features import add_features, has_taps
from kinemacolor.engine.outputs import replacing
from kinemacolor.engine.spec import read_spec
from kinemacolor.export import checkpoint, networks, parity
from kinemacolor.export.errors import ExportError
from kinemacolor.export.networks.head import BinHead
from kinemacolor.export.options import ExportOptions
from onnx import helper, numpy_helper
from torch import nn

OPSET = 17
DEFAULTS = ExportOptions()
SMALL = 64  # a tensor of fewer numbers stays float32: constants of the arithmetic, bin centres


def export(
    source: Path,
    out: Path,
    options: ExportOptions = DEFAULTS,
    *,
    scores: Mapping[str, float] | None = None,
) -> Path:
    """Exports the averaged weights of a training checkpoint and checks the file against PyTorch.

    Args:
        source: checkpoint.safetensors of a run, or the run's folder.
        out: the .onnx file; replaced when whole and checked.
        scores: what the file was released with, by name.

    Raises CheckpointError, or ExportError for a choice that the network does not have, and when
    ONNX Runtime and PyTorch disagree.
    """
    position, model = checkpoint.load_average(checkpoint.file_of(source))
    entry = networks.entry(position.network)
    _tune(position.network, model, options)
    side = options.side or entry.size
    entry.check_sides(position.network, side)
    model.eval()
    if isinstance(head := getattr(model, "head", None), BinHead):
        with torch.no_grad():
            head.center(model.logits(_clouds(entry.size)))  # type: ignore[operator]
    metadata = {
        "name": options.name or position.network,
        "version": options.version,
        "architecture": entry.architecture,
        "height": str(side),
        "width": str(side),
        "multiple": str(entry.multiple),
        "license": options.license,
        "training_data": options.training_data
        or f"{position.pictures} crops of colour photographs",
        "scores": json.dumps(dict(scores or {})),
    }
    return write(model, out, metadata=metadata)


def _tune(network: str, model: nn.Module, options: ExportOptions) -> None:
    """Sets what can be chosen after training. Raises ExportError where there is no choice."""
    wanted = {key: getattr(options, key) for key in ("temperature", "saturation", "rebalance")}
    chosen = {key: value for key, value in wanted.items() if value is not None}
    last: Any = getattr(model, "head", model)
    for key in chosen:
        if key not in getattr(last, "choices", ()):
            raise ExportError(f"{network} has no {key} to choose")
    if not chosen.get("temperature", 1) > 0:
        raise ExportError(f"the temperature must be more than 0, got {chosen['temperature']}")
    if chosen:
        last.tune(**chosen)


def write(
    model: nn.Module,
    out: Path,
    *,
    metadata: Mapping[str, str],
    fixed: bool = False,
    fp16_weights: bool = True,
) -> Path:
    """Exports any module that maps L to ab, checks it, and moves it to its place.

    Args:
        metadata: the contract's entries; height and width are the traced size.
        fixed: the graph takes this height and width only.
    """
    model = model.eval()
    L = torch.rand(1, 1, int(metadata["height"]), int(metadata["width"])) * 100
    axes = {0: "N"} if fixed else {0: "N", 2: "H", 3: "W"}
    out_axes = {0: "N"} if fixed else {0: "N", 2: "h", 3: "w"}
    with replacing(out) as partial:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The TorchScript exporter: it folds batch norm and needs no second package.
            torch.onnx.export(
                model, (L,), str(partial), input_names=["L"], output_names=["ab"],
                opset_version=OPSET, dynamo=False, do_constant_folding=True,
                dynamic_axes={"L": axes, "ab": out_axes},
            )  # fmt: skip
        graph = onnx.load(str(partial))
        if fp16_weights:
            halve_weights(graph)
        graph.producer_name = "kinemacolor"
        graph.producer_version = ""
        graph.doc_string = ""
        for node in graph.graph.node:
            node.doc_string = ""
        helper.set_model_props(graph, dict(metadata))
        if has_taps(graph):
            graph = add_features(graph)
        onnx.save(graph, str(partial))
        read_spec(partial)
        parity.check(model, partial, fixed=fixed)
    return out


def _clouds(side: int) -> torch.Tensor:
    """Returns L (4, 1, side, side) of soft random shapes, as a stand-in for pictures."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 1, side // 32, side // 32, generator=random) * 100
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 100)


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores large float32 initializers as float16 behind a Cast, which every runtime folds."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < SMALL or np.abs(array).max() > 65504:
            kept.append(tensor)
            continue
        name = tensor.name + ".float16"
        kept.append(numpy_helper.from_array(array.astype(np.float16), name))
        casts.append(
            helper.make_node(
                "Cast", [name], [tensor.name], name + ".cast", to=onnx.TensorProto.FLOAT
            )
        )
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    set_nodes(model.graph, casts + list(model.graph.node))
