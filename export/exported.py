"""Reads a network's weights back from the ONNX file that it was exported to.

A packaged model can be trained further in this way, without the checkpoint that it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from kinemacolor.export.errors import ExportError
from onnx import numpy_helper
from torch import Tensor, nn

LAYERS = ("Conv", "ConvTranspose", "Gemm")
NORM = "BatchNormalization"


# A batch norm that the export folded into the convolution before it, and the bias of the two.
_Folded = tuple[nn.Module, Tensor]


@torch.no_grad()
def load(path: Path, network: nn.Module, L: Tensor) -> None:
    """Fills a network with the weights of an ONNX file that was exported from the same network.

    Layers are matched by the order in which they run. A batch norm that was folded gets the
    statistics of the given pictures, and the scale and bias that undo them: the network predicts
    what the file does, and learns as if nothing had been folded.

    Args:
        path: the .onnx file.
        L: (N, 1, H, W), 0..100: pictures like those to train on.

    Raises ExportError when the file is not readable or holds another network.
    """
    try:
        graph = onnx.load(str(path)).graph
    except (OSError, DecodeError) as error:
        raise ExportError(f"{path} is not a readable ONNX model: {error}") from error
    network.eval()
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        # Casts halve the file, identities stand for what is equal to another.
        if node.op_type in ("Cast", "Identity") and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]].astype(np.float32)
    nodes = [node for node in graph.node if node.op_type in (*LAYERS, NORM)]
    try:
        folded = list(_fill(nodes, arrays, _layers_as_they_run(network, L[:1])))
    except (KeyError, IndexError, RuntimeError) as error:
        raise ExportError(
            f"{path} was not exported from this network, or was changed since: {error}"
        ) from error
    _unfold(folded, network, L)


def _layers_as_they_run(network: nn.Module, L: Tensor) -> list[nn.Module]:
    layers: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: layers.append(module))
        for module in network.modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
    ]
    network(L)
    for hook in hooks:
        hook.remove()
    return layers


def _fill(
    nodes: list[onnx.NodeProto], arrays: dict[str, np.ndarray], layers: list[nn.Module]
) -> Iterator[_Folded]:
    """Copies the weights; yields the batch norms that have no node of their own."""
    place = 0
    bias = torch.zeros(0)
    for layer in layers:
        tensors = [torch.tensor(arrays[name]) for name in nodes[place].input[1:]]
        own: list[Any]
        if isinstance(layer, nn.BatchNorm2d):
            if nodes[place].op_type != NORM:
                yield layer, bias
                continue
            own = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        else:
            bias = tensors[-1]
            own = [layer.weight]
            if getattr(layer, "bias", None) is not None:
                own.append(layer.bias)
                bias = torch.zeros_like(bias)  # it is the layer's own now
            if isinstance(scale := getattr(layer, "scale", None), Tensor):
                scale.fill_(1)  # it is in the weights
        place += 1
        for target, value in zip(own, tensors, strict=False):
            if target.shape != value.shape:
                raise RuntimeError(f"{tuple(value.shape)} where {tuple(target.shape)} was expected")
            target.copy_(value)
    if len(nodes) - place > 1:  # the last may be the mean over the bins
        raise RuntimeError(f"{len(nodes) - place} layers are left over")


def _unfold(folded: list[_Folded], network: nn.Module, L: Tensor) -> None:
    statistics: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        statistics[norm] = inputs[0].mean((0, 2, 3)), inputs[0].var((0, 2, 3))

    norm: Any
    for norm, bias in folded:  # the identity and the bias, while the statistics are taken
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(bias)
    hooks = [norm.register_forward_pre_hook(measure) for norm, _ in folded]
    network(L)
    for hook in hooks:
        hook.remove()
    for norm, bias in folded:
        mean, variance = statistics[norm]
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(bias + mean)
