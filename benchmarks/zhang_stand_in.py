"""Zhang, Isola and Efros's 2016 network as an ONNX file with random weights, for timing only.

    python -m benchmarks.zhang_stand_in zhang-stand-in.onnx

The layers are those of the authors' `colorization_deploy_v2.prototxt` (release v2, 2016), which the
OpenCV samples load; the time a frame takes does not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from kinemacolor.export.networks.zhang import Zhang
from torch import Tensor, nn

SIZE = 224  # of the input; ab comes out at a quarter of it
SCALE = 2.606  # of the logits before softmax, in the prototxt: 1 / 0.38 and a little less


class Published(nn.Module):
    """The network as the prototxt has it, from L - 50 to ab at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        ours = Zhang()
        self.logits = nn.Sequential(ours.trunk, ours.up)
        self.to_ab = nn.Conv2d(len(ours.points), 2, 1)
        self.register_buffer("scale", torch.tensor(SCALE))
        for value in self.state_dict().values():
            if value.ndim == 1:  # the exporter would make one of all vectors that are equal
                value.uniform_(0.5, 1.0)

    def forward(self, L: Tensor) -> Tensor:
        return self.to_ab(torch.softmax(self.logits(L) * self.scale, dim=1))


def zhang_stand_in() -> onnx.ModelProto:
    """Input `L`: float32 (1, 1, 224, 224), L - 50. Output `ab`: float32 (1, 2, 56, 56)."""
    torch.manual_seed(2016)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Published().eval(), (torch.zeros(1, 1, SIZE, SIZE),), file, input_names=["L"],
            output_names=["ab"], opset_version=17, dynamo=False, do_constant_folding=False,
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def parameter_count(model: onnx.ModelProto) -> int:
    return sum(int(np.prod(weight.dims)) for weight in model.graph.initializer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    network = zhang_stand_in()
    onnx.save(network, arguments.path)
    print(f"{arguments.path}: {parameter_count(network):,} parameters")
