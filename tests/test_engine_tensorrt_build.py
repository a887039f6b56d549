"""Real plans, built by TensorRT for RTX, which compiles without a GPU."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
from kinemacolor.engine.errors import BackendUnavailable, BadModel
from kinemacolor.engine.graphs.fp16 import to_fp16
from kinemacolor.engine.spec import MODELS, ModelSpec, read_spec
from kinemacolor.engine.tensorrt.build import (
    BuildProgress,
    BuildStopped,
    Profile,
    build_plan,
    cuda_major,
    graph_for,
    load_tensorrt,
    profile_for,
)

from tests.networks import annealed_model, random_network

PACKAGED = sorted(MODELS.glob("*.onnx"))


@pytest.fixture(scope="module")
def trt() -> ModuleType:
    return pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx builds real plans")


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_the_fp16_plan_of_a_packaged_model_is_built(trt: ModuleType, path: Path) -> None:
    spec = read_spec(path)
    built = build_plan(trt, to_fp16(onnx.load(str(path))), profile_for(spec))
    assert len(built.plan) > path.stat().st_size / 4
    assert built.tensors["L"] == ("float", (-1, 1, -1, -1))
    assert built.tensors["ab"] == ("float", (-1, 2, -1, -1))


@pytest.mark.parametrize("name", ["kinema", "zhang", "unet", "resnet18", "fusion"])
def test_the_fp16_plan_of_every_network_is_built(
    trt: ModuleType, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("torch", reason="the networks are made with torch")
    spec = read_spec(random_network(name, tmp_path / f"{name}.onnx"))
    built = build_plan(trt, graph_for(spec, "fp16"), profile_for(spec))
    assert built.tensors["L"] == ("float", (-1, 1, -1, -1))
    kind, shape = built.tensors["ab"]
    assert (kind, len(shape), shape[1]) == ("float", 4, 2)


def test_every_network_of_the_exporter_is_among_them() -> None:
    pytest.importorskip("torch", reason="the networks are made with torch")
    from kinemacolor.export.networks import NAMES

    assert set(NAMES) == {"kinema", "zhang", "unet", "resnet18", "fusion"}


def test_progress_rises_to_the_end(trt: ModuleType) -> None:
    told: list[BuildProgress] = []
    build_plan(trt, to_fp16(annealed_model()), Profile(), on_progress=told.append)
    fractions = [p.fraction for p in told]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert told[0].fraction < 0.2
    assert told[-1].remaining_seconds == pytest.approx(0.0, abs=1e-6)


def test_what_is_in_float32_is_computed_in_float32(
    trt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's default is TF32, whose mantissa is that of FP16."""
    tf32 = []

    class Builder(trt.Builder):  # type: ignore[name-defined, misc]
        def build_serialized_network(self, network: Any, config: Any) -> Any:
            tf32.append(config.get_flag(trt.BuilderFlag.TF32))
            return super().build_serialized_network(network, config)

    monkeypatch.setattr(trt, "Builder", Builder)
    build_plan(trt, annealed_model(), Profile())
    assert tf32 == [False]


def test_a_build_can_be_given_up(trt: ModuleType) -> None:
    def stop(progress: BuildProgress) -> None:
        raise BuildStopped("no longer wanted")

    with pytest.raises(BuildStopped, match="no longer wanted"):
        build_plan(trt, to_fp16(annealed_model()), Profile(), on_progress=stop)


def test_an_operator_that_tensorrt_lacks_is_named(trt: ModuleType) -> None:
    model = annealed_model()
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = "Shine", "example.org"
    with pytest.raises(BadModel, match=r"tensorrt_rtx .* does not take the model: .*Shine"):
        build_plan(trt, model, Profile())


def test_sizes_that_the_network_cannot_take_are_an_error(trt: ModuleType) -> None:
    """The decoder halves and doubles: sizes that leave no pixel cannot be planned for."""
    fixed = annealed_model()
    fixed.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 64
    with pytest.raises(Exception, match=r"cannot build the engine|does not take the profile"):
        build_plan(trt, fixed, Profile())


def test_missing_modules_are_named_with_the_command_that_installs_them() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        load_tensorrt(["no_such_tensorrt"])
    assert str(caught.value) == (
        'no TensorRT: no_such_tensorrt is not installed: pip install "kinemacolor[gpu]"'
    )


def test_bindings_without_their_libraries_are_told_from_no_bindings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "raise ImportError('libnvonnxparser.so.11: cannot open shared object file')"
    (tmp_path / "trt_without_libraries.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendUnavailable, match=r"its libraries are not \(libnvonnxparser"):
        load_tensorrt(["trt_without_libraries"])


def test_the_cuda_version_of_the_installed_package_is_known(trt: ModuleType) -> None:
    assert cuda_major(trt) >= 12


SIDES = [(224, 224, 32), (256, 256, 32), (192, 320, 64), (512, 512, 32)]


@pytest.mark.parametrize(("height", "width", "multiple"), SIDES)
def test_the_profile_takes_every_shape_of_picture(height: int, width: int, multiple: int) -> None:
    spec = ModelSpec(Path("m.onnx"), "m", height=height, width=width, multiple=multiple)
    profile = profile_for(spec)
    for picture in ((1920, 1080), (720, 576), (1080, 1920), (4096, 512), (500, 4000), (640, 640)):
        size = spec.input_size(*picture)
        assert profile.takes(*size), f"{size} for {picture} is outside {profile}"


def test_a_fixed_size_is_planned_alone() -> None:
    spec = ModelSpec(Path("m.onnx"), "m", height=224, width=224, fixed_size=True)
    assert str(profile_for(spec)) == "batch 1-4-8, 224x224"
    assert profile_for(spec, batch=1).shapes == ((1, 1, 224, 224),) * 3
