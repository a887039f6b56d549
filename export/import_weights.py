"""Turns the well-known public weights of other colorizers into model files of our contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kinemacolor.export import foreign_onnx, onnx_export, published, weights, zhang_caffe
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.foreign_onnx import Told
from kinemacolor.export.published import Published

CHECK = "Check the licence that came with your file."
KNOWN = ".caffemodel, .pth, .pt, .bin, .safetensors, .onnx"


@dataclass(frozen=True)
class Imported:
    """What was made of a foreign file."""

    path: Path
    architecture: str
    notice: str  # origin and licence, for the user
    facts: tuple[str, ...] = ()  # what was found or assumed, and how sizes differ


def import_model(
    source: Path,
    out: Path,
    *,
    points: Path | None = None,
    told: Told | None = None,
    side: int | None = None,
    fp16: bool = False,
    name: str | None = None,
) -> Imported:
    """Writes a contract-keeping ONNX file from a foreign file of weights.

    Args:
        source: Zhang's .caffemodel (any release); eccv16, siggraph17, DDColor or DeOldify as
            .pth, .pt, .bin or .safetensors; or an ONNX colorizer.
        points: pts_in_hull.npy, if the bins should come from the file; a .caffemodel does not
            carry them, and the published ones are built in.
        told: what the user knows of a foreign ONNX file; the rest is found by trying.
        side: of the square whose area the network prefers, pixels; default: see `Published`.
        fp16: store the weights as float16, which halves the file.
        name: of the model; default: the file's.

    Raises BadWeights when the file is not what its name says, or does not fit.
    """
    if not source.is_file():
        raise BadWeights(f"no file {source}")
    match source.suffix.lower():
        case ".caffemodel":
            found = _caffe(source, points)
        case ".pth" | ".pt" | ".bin" | ".safetensors":
            found = published.recognize(source, weights.read(source))
        case ".onnx":
            return _foreign(source, out, told or Told(), side, name or source.stem)
        case suffix:
            raise BadWeights(f"{source}: {suffix or 'no suffix'}; known: {KNOWN}")
    side = side or found.side
    if side % found.multiple:
        raise BadWeights(
            f"{found.architecture} takes sides of a multiple of {found.multiple}, not of {side}"
        )
    metadata = _metadata(
        name or source.stem, found.architecture, side, found.license, found.multiple
    )
    network = found.network.eval()
    onnx_export.write(network, out, metadata=metadata, fixed=found.fixed, fp16_weights=fp16)
    return Imported(out, found.architecture, f"{found.license} {CHECK}", (found.size(side),))


def _caffe(source: Path, points: Path | None) -> Published:
    network = zhang_caffe.load(source, points)
    license = published.ZHANG_LICENSE
    return Published(network, "zhang", license, side=224, theirs=224, multiple=8)


def _metadata(
    name: str, architecture: str, side: int, license: str, multiple: int
) -> dict[str, str]:
    return {
        "name": name,
        "version": "imported",
        "architecture": architecture,
        "height": str(side),
        "width": str(side),
        "multiple": str(multiple),
        "license": license,
        "training_data": "see its authors",
        "scores": "{}",
    }


def _foreign(source: Path, out: Path, told: Told, side: int | None, name: str) -> Imported:
    graph = foreign_onnx.open_graph(source)
    convention, facts = foreign_onnx.settle(graph, told)
    kind, license = foreign_onnx.origin(graph)
    side = side or (512 if kind == "ddcolor" else 256)
    metadata = _metadata(name, kind, side, license, 32)
    foreign_onnx.wrap(graph, out, convention, metadata=metadata)
    return Imported(out, kind, f"Licence: {license}. {CHECK}", facts)
