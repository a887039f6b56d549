"""Networks with random weights: one that has every kind of layer, and those of `export`."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def annealed_model(bins: int = 40, seed: int = 0) -> onnx.ModelProto:
    """Encoder, decoder and annealed mean in small: L (N, 1, H, W) to ab (N, 2, H/4, W/4)."""
    rng = np.random.default_rng(seed)
    weights: list[onnx.TensorProto] = []

    def weight(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(name: str, source: str, inputs: int, outputs: int, *, stride: int = 1) -> None:
        spread = 1 / np.sqrt(inputs * 9)
        names = [
            source,
            weight(f"{name}.weight", rng.normal(0, spread, (outputs, inputs, 3, 3))),
            weight(f"{name}.bias", rng.normal(0, 0.1, outputs)),
        ]
        add("Conv", names, name, pads=[1, 1, 1, 1], strides=[stride, stride])

    nodes: list[onnx.NodeProto] = []

    def add(op_type: str, inputs: list[str], name: str, **attributes: object) -> None:
        nodes.append(helper.make_node(op_type, inputs, [f"{name}.out"], name=name, **attributes))

    def vector(name: str, value: float, length: int) -> str:
        return weight(name, np.full(length, value))

    add("Mul", ["L", weight("scale.by", np.array(0.02))], "scale")
    add("Sub", ["scale.out", weight("shift.by", np.array(1.0))], "shift")
    conv("stem", "shift.out", 1, 16, stride=2)
    add("Relu", ["stem.out"], "relu")
    conv("wide", "relu.out", 16, 16, stride=4)
    add(
        "Resize",
        ["wide.out", "", weight("up.by", np.array([1, 1, 2, 2]))],
        "up",
        mode="linear",
    )
    statistics = [vector(f"normalise.{i}", value, 16) for i, value in enumerate((1, 0, 0, 1))]
    add("BatchNormalization", ["up.out", *statistics], "normalise")
    conv("logits", "normalise.out", 16, bins)
    add("Mul", ["logits.out", weight("sharpen.by", np.array(8.0))], "sharpen")
    add("Exp", ["sharpen.out"], "exp")
    points = np.concatenate([rng.uniform(-90, 90, (2, bins)), np.ones((1, bins))])
    add("Conv", ["exp.out", weight("sums.weight", points[..., None, None])], "sums")
    for name, start, end in (("ab_sum", 0, 2), ("total", 2, 3)):
        limits = []
        for part, value in (("start", start), ("end", end), ("axis", 1)):
            weights.append(numpy_helper.from_array(np.array([value]), f"{name}.{part}"))
            limits.append(f"{name}.{part}")
        add("Slice", ["sums.out", *limits], name)
    nodes.append(helper.make_node("Div", ["ab_sum.out", "total.out"], ["ab"], name="divide"))
    graph = helper.make_graph(
        nodes,
        "annealed",
        [helper.make_tensor_value_info("L", FLOAT, ["N", 1, "H", "W"])],
        [helper.make_tensor_value_info("ab", FLOAT, ["N", 2, "h", "w"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def tiny_value() -> onnx.ModelProto:
    """(L + 1) - 1 in float16."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["L"], ["half"], to=HALF),
            helper.make_node("Add", ["half", "one"], ["sum"]),
            helper.make_node("Sub", ["sum", "one"], ["difference"]),
            helper.make_node("Cast", ["difference"], ["ab"], to=FLOAT),
        ],
        "tiny",
        [helper.make_tensor_value_info("L", FLOAT, [1])],
        [helper.make_tensor_value_info("ab", FLOAT, [1])],
        [numpy_helper.from_array(np.float16([1]), "one")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def random_network(name: str, path: Path) -> Path:
    """Writes a network of `export.networks` with random weights, traced as its exporter does."""
    import torch
    from kinemacolor.export.networks import build, entry

    torch.manual_seed(0)
    network, size = build(name, pretrained=False).eval(), entry(name).size
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own tracing
        torch.onnx.export(
            network,
            (torch.rand(1, 1, size, size) * 100,),
            str(path),
            input_names=["L"],
            output_names=["ab"],
            opset_version=17,
            dynamo=False,
            dynamic_axes={"L": {0: "N", 2: "H", 3: "W"}, "ab": {0: "N", 2: "h", 3: "w"}},
        )
    return path
