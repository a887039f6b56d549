"""Reads what a model file promises, and checks it before anything runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx
from kinemacolor.engine import hub
from kinemacolor.engine.errors import BadModel, ModelNotFound
from kinemacolor.engine.graphs.features import OUTPUT, FeatureSpec, read_features
from kinemacolor.engine.graphs.int8 import is_quantized

MODELS = Path(__file__).parent / "models"
DEFAULT_MODEL = "kinema"
WEIGHTS = (".pth", ".pt", ".bin", ".safetensors", ".caffemodel")  # what `models import` takes


@dataclass(frozen=True)
class ModelSpec:
    """The contract of one model file.

    Input `L`: float32 (N, 1, H, W), CIELAB lightness 0..100.
    Output `ab`: float32 (N, 2, h, w), CIELAB units; h and w are a fraction of H and W.
    Output `features`, optional: float16 (N, C, H/8, W/8), what the network saw (`graphs.features`).
    """

    path: Path
    name: str
    version: str = ""
    architecture: str = ""
    height: int = 256  # preferred H, pixels
    width: int = 256  # preferred W, pixels
    fixed_size: bool = False  # the graph takes no other H and W than the preferred ones
    multiple: int = 32  # H and W must be multiples of this
    license: str = ""
    training_data: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    features: FeatureSpec | None = None  # of the optional output
    quantization: str = ""  # what is in INT8 and what that costs; empty for a float model

    def input_size(
        self, width: int, height: int, *, turns: int = 0, share: float = 1.0
    ) -> tuple[int, int]:
        """Returns the (H, W) at which a picture enters the network, nearest to its own shape.

        The area is at most the preferred one, or a share of it, and at least 0.8 of that, so that
        every shape costs the same; more than 4:1 is squeezed.

        Args:
            width, height: of the picture as it lies, pixels.
            turns: quarter turns that set it upright.
            share: of the preferred area.
        """
        if self.fixed_size:
            return self.height, self.width
        if turns % 2:
            width, height = height, width
        area = round(share * self.height * self.width)
        own = (self.height, self.width) if share == 1 else None
        return size_like(width, height, area=area, multiple=self.multiple, otherwise=own)


def size_like(
    width: int, height: int, *, area: int, multiple: int, otherwise: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Returns (H, W), multiples, of 0.8 to 1 of the area, nearest to the shape of a picture.

    Args:
        otherwise: (H, W) where the multiple is too coarse for that; default: the largest that the
            area has room for.
    """
    aspect = min(max(width / height, 1 / 4), 4.0)
    rows = range(multiple, max(multiple, int((area * 4) ** 0.5)) + 1, multiple)
    sizes = [(h, max(multiple, w)) for h in rows for w in (area // h // multiple * multiple,)]
    sizes += [(h, w - multiple) for h, w in sizes if w > multiple]
    near = [(h, w) for h, w in sizes if 0.8 * area <= h * w <= area]
    if not near and otherwise:
        return otherwise
    if not near:
        within = [(h, w) for h, w in sizes if h * w <= area]
        near = [max(within, key=math.prod, default=(multiple, multiple))]
    return min(near, key=lambda size: abs(math.log(size[1] / size[0] / aspect)))


def find_model(name: str | Path) -> Path:
    """Returns the file of a packaged model's name or of a path.

    Raises ModelNotFound, and names the packaged models or the command that fetches a public one.
    """
    path = Path(name)
    if path.suffix == ".onnx" or path.is_file():
        if path.is_file():
            return path
        raise ModelNotFound(f"no model file {path}")
    packaged = MODELS / f"{name}.onnx"
    if packaged.is_file():
        return packaged
    if name in hub.SOURCES:
        if (fetched := hub.model_file(str(name))).is_file():
            return fetched
        raise ModelNotFound(f"{name} is not on this machine yet: kinemacolor models get {name}")
    known = ", ".join(sorted(p.stem for p in MODELS.glob("*.onnx"))) or "none"
    raise ModelNotFound(f"no model {str(name)!r}: packaged are {known}; or give an .onnx file")


def read_spec(path: Path) -> ModelSpec:
    """Reads and checks a model file's contract.

    Raises BadModel with the reason when the file is not ONNX or has other inputs and outputs.
    """
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and checker raise unrelated classes
        if path.suffix.lower() in WEIGHTS:
            raise BadModel(
                f"{path} holds weights, not a model yet: kinemacolor models import {path} -o "
                f"{path.stem}.onnx (models export for a checkpoint of kinemacolor train)"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(f"{path} is not a readable ONNX model: {reason}") from error

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    input_shape = _check_value(path, "input", inputs, "L", channels=1)
    outputs = [value for value in model.graph.output if value.name != OUTPUT]
    _check_value(path, "output", outputs, "ab", channels=2)

    props = {entry.key: entry.value for entry in model.metadata_props}
    fixed = all(isinstance(size, int) for size in input_shape[2:])
    try:
        height = int(input_shape[2]) if fixed else int(props.get("height", 256))
        width = int(input_shape[3]) if fixed else int(props.get("width", 256))
        multiple = int(props.get("multiple", 32))
        scores = json.loads(props.get("scores", "{}"))
        for key, number in (("height", height), ("width", width), ("multiple", multiple)):
            if number < 1:
                raise ValueError(f"{key} must be at least 1, not {number}")
        if not isinstance(scores, dict):
            raise ValueError(f"scores must be a JSON object, not {props['scores']}")
        return ModelSpec(
            path=path,
            name=props.get("name", path.stem),
            version=props.get("version", ""),
            architecture=props.get("architecture", ""),
            height=height,
            width=width,
            fixed_size=fixed,
            multiple=multiple,
            license=props.get("license", ""),
            training_data=props.get("training_data", ""),
            scores=scores,
            features=read_features(props) if len(outputs) < len(model.graph.output) else None,
            quantization=props.get("quantization", "INT8") if is_quantized(model) else "",
        )
    except ValueError as error:
        raise BadModel(f"{path} has unreadable metadata: {error}") from error


def _check_value(
    path: Path, kind: str, values: list[onnx.ValueInfoProto], name: str, *, channels: int
) -> list[int | str]:
    """Returns the shape, a string standing for a dynamic axis; raises BadModel."""
    wanted = f"float32 {name!r} of shape (N, {channels}, H, W)"
    if [value.name for value in values] != [name]:
        found = ", ".join(value.name for value in values) or "nothing"
        raise BadModel(f"{path} breaks the model contract: {kind} must be {wanted}, found {found}")
    tensor = values[0].type.tensor_type
    shape: list[int | str] = [
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
        for dim in tensor.shape.dim
    ]
    type_name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4 or shape[1] != channels:
        found = f"{type_name} {tuple(shape)}"
        raise BadModel(f"{path} breaks the model contract: {kind} must be {wanted}, found {found}")
    return shape
