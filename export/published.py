"""Knows the published networks by the names and shapes of their tensors, and builds each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from kinemacolor.export import bins
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.fitting import fit
from kinemacolor.export.networks import ddcolor, deoldify
from kinemacolor.export.networks.siggraph17 import Siggraph17
from kinemacolor.export.networks.zhang import BLOCKS, Zhang
from kinemacolor.export.weights import Weights
from torch import nn

ZHANG_LICENSE = "Weights by R. Zhang, P. Isola and A. Efros (BSD 2-Clause where published)."
SIGGRAPH_LICENSE = "Weights by R. Zhang et al., 2017 (BSD 2-Clause where published)."
DDCOLOR_LICENSE = "Weights by X. Kang et al., 2023 (Apache-2.0 where published)."
DEOLDIFY_LICENSE = "Weights by J. Antic (MIT where published)."


@dataclass(frozen=True)
class Published:
    """A network with its public weights.

    Attributes:
        architecture: kept in the model file.
        side: of the square whose area it prefers here, pixels.
        theirs: of the square at which its authors run it.
        multiple: of which its sides must be.
        fixed: it takes that square only.
    """

    network: nn.Module
    architecture: str
    license: str
    side: int
    theirs: int
    multiple: int
    fixed: bool = False

    def size(self, side: int) -> str:
        """At which size it runs, in words."""
        theirs = f"its authors squeeze pictures to {self.theirs}x{self.theirs}; here "
        why = "" if side == self.theirs else f" (sides are multiples of {self.multiple})"
        if self.fixed:
            return f"{theirs}they are squeezed to {side}x{side}{why}"
        return f"{theirs}they keep their shape, at the area of {side}x{side}{why}"


def recognize(source: Path, weights: Weights) -> Published:
    """Builds the network that the tensors are of. Raises BadWeights where it knows none."""
    for mark, build in BUILDERS.items():
        if any(name.startswith(mark) for name in weights):
            return build(source, weights)
    if any(name.startswith("average.") for name in weights):
        raise BadWeights(
            f"{source} is a checkpoint of kinemacolor train: kinemacolor models export {source} "
            "-o FILE.onnx makes a model of it"
        )
    raise BadWeights(
        f"{source} is neither eccv16 nor siggraph17, DDColor or DeOldify, which are known here: "
        f"it holds {len(weights)} tensors ({', '.join(list(weights)[:3])}, ...)"
    )


def _siggraph17(source: Path, weights: Weights) -> Published:
    network = Siggraph17()
    fit(source, network, weights, title="siggraph17")
    return Published(network, "siggraph17", SIGGRAPH_LICENSE, side=256, theirs=256, multiple=8)


def _eccv16(source: Path, weights: Weights) -> Published:
    """The same network as the .caffemodel's; there the softmax is not sharpened."""
    network = Zhang(temperature=1.0)
    weights, points = dict(weights), weights.get("model_out.weight")
    shape = (2, bins.COUNT, 1, 1)
    if points is not None and points.shape == shape:
        weights["model_out.weight"] = points.reshape(shape[:2]).T * 110
    elif points is not None:
        raise BadWeights(
            f"{source} has another layout: model_out.weight has shape {tuple(points.shape)}, "
            f"and eccv16 has {shape} there"
        )
    fit(source, network, weights, title="eccv16", names=_eccv16_names(network))
    return Published(network, "zhang", ZHANG_LICENSE, side=256, theirs=256, multiple=8)


def _eccv16_names(network: Zhang) -> dict[str, str]:
    """Our names of tensors to the published ones, which count the layers of each block."""
    places: dict[str, str] = {}
    start = 0
    for number, block in enumerate(BLOCKS, 1):
        length = 2 * block.convolutions + 1  # convolutions with ReLU, batch norm
        places |= {f"trunk.{start + i}": f"model{number}.{i}" for i in range(length)}
        start += length
    names = {"points": "model_out.weight"}
    for name in network.state_dict():
        layer, _, kind = name.rpartition(".")
        if layer:
            theirs = places.get(layer) or layer.replace("up.", "model8.")
            names[name] = f"{theirs}.{kind}"
    return names


def _ddcolor(source: Path, weights: Weights) -> Published:
    if any(name.startswith("decoder.color_decoder.transformer.") for name in weights):
        raise BadWeights(
            f"{source} is a DDColor with the single-scale colour decoder, of which its authors "
            "publish no weights; known here is the one with three scales"
        )
    plan = _sizes(source, "DDColor", lambda: ddcolor.Plan.of(weights))
    with torch.device("meta"):
        network = ddcolor.DDColor(plan)
    fit(source, network, weights, title="DDColor", ignored=ddcolor.UNUSED)
    size = {(3, 3, 9, 3): "tiny", (3, 3, 27, 3): "large"}.get(plan.depths, "of another size")
    return Published(
        network, f"ddcolor, {size}", DDCOLOR_LICENSE, side=512, theirs=512, multiple=32
    )


def _deoldify(source: Path, weights: Weights) -> Published:
    plan = _sizes(source, "DeOldify", lambda: deoldify.Plan.of(weights))
    with torch.device("meta"):
        network = deoldify.DeOldify(plan)
    fit(source, network, weights, title="DeOldify")
    # Stable and video differ in their weights alone; the published names tell them apart.
    video = not plan.deep and "video" in source.stem.lower()
    kind = "artistic" if plan.deep else "video" if video else "stable"
    side, theirs = (320, 336) if video else (544, 560)  # render factors 21 and 35
    return Published(
        network,
        f"deoldify, {kind}",
        DEOLDIFY_LICENSE,
        side=side,
        theirs=theirs,
        multiple=32,
        # Its authors found that a stretch to the square "makes a big difference", and a TensorRT
        # plan for every shape of eight pictures would need 5 GB for the attention.
        fixed=True,
    )


def _sizes(source: Path, title: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (KeyError, ValueError) as error:
        name = error.args[0] if isinstance(error, KeyError) else "the queries"
        raise BadWeights(
            f"{source} has no tensor {name}, which {title} has: it is incomplete"
        ) from error


# A name, or the beginning of one, that a network has and those further down do not.
BUILDERS: dict[str, Callable[[Path, Weights], Published]] = {
    "decoder.color_decoder.": _ddcolor,
    "layers.10.layers.": _deoldify,
    "model3short8.": _siggraph17,
    "model8.6.": _eccv16,
}
