"""Public weights become contract-keeping files that compute what their authors' code computed.

The real files cannot be part of a test: stand-ins have the same names, shapes and layouts, and
random weights. What they should give is computed here a second time, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kinemacolor.engine.load import load
from kinemacolor.engine.spec import read_spec
from kinemacolor.export import bins, caffe
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.import_weights import import_model
from numpy.typing import NDArray
from torch import Tensor

Blobs = dict[str, list[NDArray[np.float32]]]
# name, channels in, channels out, stride, dilation; "norm" follows each block's last one
LAYERS = [
    ("bw_conv1_1", 1, 64, 1, 1), ("conv1_2", 64, 64, 2, 1),
    ("conv2_1", 64, 128, 1, 1), ("conv2_2", 128, 128, 2, 1),
    ("conv3_1", 128, 256, 1, 1), ("conv3_2", 256, 256, 1, 1), ("conv3_3", 256, 256, 2, 1),
    ("conv4_1", 256, 512, 1, 1), ("conv4_2", 512, 512, 1, 1), ("conv4_3", 512, 512, 1, 1),
    ("conv5_1", 512, 512, 1, 2), ("conv5_2", 512, 512, 1, 2), ("conv5_3", 512, 512, 1, 2),
    ("conv6_1", 512, 512, 1, 2), ("conv6_2", 512, 512, 1, 2), ("conv6_3", 512, 512, 1, 2),
    ("conv7_1", 512, 512, 1, 1), ("conv7_2", 512, 512, 1, 1), ("conv7_3", 512, 512, 1, 1),
]  # fmt: skip
LAST = {"conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "conv6_3", "conv7_3"}
# float32 sums over 4608 products in another order, through 23 layers
TOLERANCE = 0.02  # CIELAB units


def run(file: Path, L: NDArray[np.float32]) -> NDArray[np.float32]:
    return load(file, backend="onnxruntime", precision="fp32")(L)


def lightness(side: int = 32) -> NDArray[np.float32]:
    ramp = np.linspace(0, 100, side * side, dtype=np.float32)
    return ramp.reshape(1, 1, side, side)


# --- Caffe ---------------------------------------------------------------------------------------


def caffe_blobs() -> Blobs:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        fan = int(np.prod(shape[1:]))
        return (random.standard_normal(shape, np.float32) * np.sqrt(2 / fan)).astype(np.float32)

    blobs: Blobs = {}
    for name, channels, out, _, _ in LAYERS:
        blobs[name] = [normal(out, channels, 3, 3), normal(out, 1).ravel() * 0.1]
        if name == "bw_conv1_1":
            blobs[name][0] /= 30
        if name in LAST:
            factor = np.float32([3.0])  # running sums and what they are to be divided by
            mean = random.uniform(0, 0.5, out).astype(np.float32)
            variance = random.uniform(0.5, 2, out).astype(np.float32)
            blobs[name + "norm"] = [mean * 3, variance * 3, factor]
    blobs["conv8_1"] = [normal(512, 256, 4, 4), normal(256, 1).ravel() * 0.1]
    blobs["conv8_2"] = [normal(256, 256, 3, 3), normal(256, 1).ravel() * 0.1]
    blobs["conv8_3"] = [normal(256, 256, 3, 3), normal(256, 1).ravel() * 0.1]
    blobs["conv8_313"] = [normal(313, 256, 1, 1), normal(313, 1).ravel() * 0.1]
    return blobs


def caffe_forward(blobs: Blobs, L: Tensor, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The published prototxt in float64."""
    t = {name: [torch.from_numpy(b).double() for b in parts] for name, parts in blobs.items()}
    x = L.double() - 50
    for name, _, _, stride, dilation in LAYERS:
        x = F.relu(F.conv2d(x, *t[name], stride=stride, padding=dilation, dilation=dilation))
        if name in LAST:
            mean, variance, factor = t[name + "norm"]
            mean, variance = mean / factor, variance / factor
            x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    x = F.relu(F.conv_transpose2d(x, *t["conv8_1"], stride=2, padding=1))
    x = F.relu(F.conv2d(x, *t["conv8_2"], padding=1))
    x = F.relu(F.conv2d(x, *t["conv8_3"], padding=1))
    share = torch.softmax(F.conv2d(x, *t["conv8_313"]) * 2.606, 1)
    return torch.einsum("nqhw,qc->nchw", share, torch.from_numpy(points).double()).numpy()


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def caffemodel(blobs: Blobs, *, old: bool = False) -> bytes:
    """NetParameter as Caffe writes it; `old`: the layers field and the blob shapes of 2014."""
    out = message(1, b"LtoAB")
    for name, parts in blobs.items():
        content = message(4 if old else 1, name.encode())
        content += varint(5 << 3) + varint(4) if old else message(2, b"Convolution")
        for part in parts:
            if old:
                four = (1,) * (4 - part.ndim) + part.shape
                shape = b"".join(varint(i << 3) + varint(n) for i, n in enumerate(four, 1))
            else:
                shape = message(7, message(1, b"".join(varint(n) for n in part.shape)))
            content += message(6 if old else 7, message(5, part.astype("<f4").tobytes()) + shape)
        out += message(2 if old else 100, content)
    return out


@pytest.fixture(scope="module")
def zhang_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Blobs]:
    blobs = caffe_blobs()
    path = tmp_path_factory.mktemp("caffe") / "colorization_release_v2.caffemodel"
    path.write_bytes(caffemodel(blobs))
    return path, blobs


def test_a_caffemodel_gives_what_its_prototxt_says(
    zhang_file: tuple[Path, Blobs], tmp_path: Path
) -> None:
    path, blobs = zhang_file
    result = import_model(path, tmp_path / "zhang.onnx")
    spec = read_spec(result.path)
    assert (spec.name, spec.architecture, spec.height) == (path.stem, "zhang", 224)
    assert "BSD" in result.notice
    L = lightness()
    expected = caffe_forward(blobs, torch.from_numpy(L), bins.centers())
    assert expected.std() > 1  # the stand-in gives colours to compare
    ours = run(result.path, L)
    assert ours.shape == (1, 2, 8, 8)
    assert np.abs(ours - expected).max() < TOLERANCE


def test_a_points_file_replaces_the_bins(zhang_file: tuple[Path, Blobs], tmp_path: Path) -> None:
    path, blobs = zhang_file
    shifted = bins.centers() + np.float32([5, -5])
    np.save(tmp_path / "points.npy", shifted)
    result = import_model(path, tmp_path / "zhang.onnx", points=tmp_path / "points.npy")
    L = lightness()
    expected = caffe_forward(blobs, torch.from_numpy(L), shifted)
    assert np.abs(run(result.path, L) - expected).max() < TOLERANCE
    np.save(tmp_path / "short.npy", shifted[:300])
    with pytest.raises(BadWeights, match=r"\(300, 2\)"):
        import_model(path, tmp_path / "x.onnx", points=tmp_path / "short.npy")


def test_both_forms_of_caffemodel_are_read(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    blobs: Blobs = {
        "conv1_1": [random.random((2, 1, 3, 3), np.float32), random.random(2, np.float32)],
        "conv1_2norm": [random.random(2, np.float32)],
    }
    for old in (False, True):
        file = tmp_path / f"{old}.caffemodel"
        file.write_bytes(caffemodel(blobs, old=old))
        layers = caffe.read(file)
        assert list(layers) == list(blobs)
        for name, parts in blobs.items():
            for ours, part in zip(layers[name], parts, strict=True):
                assert np.array_equal(ours.ravel(), part.ravel())


def test_broken_caffemodels_are_one_clear_error(
    zhang_file: tuple[Path, Blobs], tmp_path: Path
) -> None:
    path, blobs = zhang_file
    cut = tmp_path / "cut.caffemodel"
    cut.write_bytes(path.read_bytes()[:100_000])
    text = tmp_path / "text.caffemodel"
    text.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    empty = tmp_path / "empty.caffemodel"
    empty.write_bytes(b"")
    for file in (cut, text, empty):
        with pytest.raises(BadWeights, match=r"is not a \.caffemodel"):
            import_model(file, tmp_path / "out.onnx")
    other = tmp_path / "other.caffemodel"
    other.write_bytes(caffemodel({"fc6": blobs["conv8_313"]}))
    with pytest.raises(BadWeights, match="not Zhang's colorization network"):
        import_model(other, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_damaged_caffemodel_names_its_layer(
    zhang_file: tuple[Path, Blobs], tmp_path: Path
) -> None:
    """An infinite bias was accepted."""
    _, blobs = zhang_file
    infinite = np.full_like(blobs["conv3_2"][1], np.inf)
    path = tmp_path / "spoiled.caffemodel"
    path.write_bytes(caffemodel(blobs | {"conv3_2": [blobs["conv3_2"][0], infinite]}))
    with pytest.raises(BadWeights, match="conv3_2 holds numbers that are not finite"):
        import_model(path, tmp_path / "out.onnx")


# --- PyTorch -------------------------------------------------------------------------------------


def eccv16_state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    state: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape) * (2 / fan) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0]) * 0.1

    place: dict[int, int] = {}
    for name, channels, out, _, _ in LAYERS:
        block = int(name.removeprefix("bw_")[4])
        conv(f"model{block}.{place.setdefault(block, 0)}", out, channels, 3, 3)
        place[block] += 2
        if name in LAST:
            norm(state, f"model{block}.{place[block]}", out)
    conv("model8.0", 512, 256, 4, 4)
    state["model8.0.bias"] = torch.randn(256) * 0.1
    conv("model8.2", 256, 256, 3, 3)
    conv("model8.4", 256, 256, 3, 3)
    conv("model8.6", 313, 256, 1, 1)
    state["model_out.weight"] = torch.from_numpy(bins.centers()).T[:, :, None, None] / 110
    return state


def norm(state: dict[str, Tensor], name: str, count: int) -> None:
    state[f"{name}.weight"] = torch.rand(count) + 0.5
    state[f"{name}.bias"] = torch.randn(count) * 0.1
    state[f"{name}.running_mean"] = torch.rand(count) * 0.5
    state[f"{name}.running_var"] = torch.rand(count) + 0.5
    state[f"{name}.num_batches_tracked"] = torch.tensor(1)


def conv(x: Tensor, t: Mapping[str, Tensor], name: str, dilation: int = 1, **how: int) -> Tensor:
    padding = dilation * (t[f"{name}.weight"].shape[-1] // 2)
    weight, bias = t[f"{name}.weight"].double(), t[f"{name}.bias"].double()
    return F.conv2d(x, weight, bias, padding=padding, dilation=dilation, **how)


def up(x: Tensor, t: Mapping[str, Tensor], name: str) -> Tensor:
    weight, bias = t[f"{name}.weight"].double(), t[f"{name}.bias"].double()
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)


def normed(x: Tensor, t: Mapping[str, Tensor], name: str) -> Tensor:
    fields = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(t[f"{name}.{f}"].double() for f in fields), eps=1e-5)


def eccv16_forward(t: Mapping[str, Tensor], L: Tensor) -> NDArray[np.float32]:
    x = (L.double() - 50) / 100
    for block, (count, stride, dilation) in enumerate(
        [(2, 2, 1), (2, 2, 1), (3, 2, 1), (3, 1, 1), (3, 1, 2), (3, 1, 2), (3, 1, 1)], 1
    ):
        for i in range(count):
            last = i == count - 1
            x = F.relu(conv(x, t, f"model{block}.{2 * i}", dilation, stride=stride if last else 1))
        x = normed(x, t, f"model{block}.{2 * count}")
    x = F.relu(up(x, t, "model8.0"))
    x = F.relu(conv(x, t, "model8.2"))
    x = F.relu(conv(x, t, "model8.4"))
    share = torch.softmax(conv(x, t, "model8.6"), 1)
    return (F.conv2d(share, t["model_out.weight"].double()) * 110).numpy()


def test_eccv16_gives_what_the_published_module_gives(tmp_path: Path) -> None:
    state = eccv16_state()
    path = tmp_path / "colorization_release_v2-9b330a0b.pth"
    torch.save(state, path)
    result = import_model(path, tmp_path / "eccv16.onnx")
    L = lightness()
    expected = eccv16_forward(state, torch.from_numpy(L))
    assert expected.std() > 0.3
    assert np.abs(run(result.path, L) - expected).max() < TOLERANCE


def siggraph17_state() -> dict[str, Tensor]:
    torch.manual_seed(2)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, transposed: bool = False) -> None:
        fan = shape[1] * shape[2] * shape[3]
        state[f"{name}.weight"] = torch.randn(shape) * (1.5 / fan) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[1] if transposed else shape[0]) * 0.1

    channels = 4
    for block, (out, count) in enumerate(
        [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3), (512, 3), (512, 3)], 1
    ):
        for i in range(count):
            add(f"model{block}.{2 * i}", out, channels, 3, 3)
            channels = out
        norm(state, f"model{block}.{2 * count}", out)
    add("model8up.0", 512, 256, 4, 4, transposed=True)
    add("model3short8.0", 256, 256, 3, 3)
    add("model8.1", 256, 256, 3, 3)
    add("model8.3", 256, 256, 3, 3)
    norm(state, "model8.5", 256)
    add("model9up.0", 256, 128, 4, 4, transposed=True)
    add("model2short9.0", 128, 128, 3, 3)
    add("model9.1", 128, 128, 3, 3)
    norm(state, "model9.3", 128)
    add("model10up.0", 128, 128, 4, 4, transposed=True)
    add("model1short10.0", 128, 64, 3, 3)
    add("model10.1", 128, 128, 3, 3)
    add("model_class.0", 529, 256, 1, 1)
    add("model_out.0", 2, 128, 1, 1)
    return state


def siggraph17_forward(t: Mapping[str, Tensor], L: Tensor) -> NDArray[np.float32]:
    zero = torch.zeros_like(L)
    x = torch.cat([(L - 50) / 100, zero, zero, zero], 1).double()
    kept: list[Tensor] = []
    for block, count in enumerate((2, 2, 3, 3, 3, 3, 3), 1):
        for i in range(count):
            x = F.relu(conv(x, t, f"model{block}.{2 * i}", 2 if block in (5, 6) else 1))
        x = normed(x, t, f"model{block}.{2 * count}")
        kept.append(x)
        if block < 4:
            x = x[:, :, ::2, ::2]
    x = F.relu(up(x, t, "model8up.0") + conv(kept[2], t, "model3short8.0"))
    x = F.relu(conv(F.relu(conv(x, t, "model8.1")), t, "model8.3"))
    x = normed(x, t, "model8.5")
    x = F.relu(up(x, t, "model9up.0") + conv(kept[1], t, "model2short9.0"))
    x = normed(F.relu(conv(x, t, "model9.1")), t, "model9.3")
    x = F.relu(up(x, t, "model10up.0") + conv(kept[0], t, "model1short10.0"))
    x = F.leaky_relu(conv(x, t, "model10.1"), 0.2)
    return (torch.tanh(conv(x, t, "model_out.0")) * 110).numpy()


def test_siggraph17_gives_what_the_published_module_gives(tmp_path: Path) -> None:
    state = siggraph17_state()
    path = tmp_path / "siggraph17-df00044c.pth"
    torch.save(state, path)
    result = import_model(path, tmp_path / "siggraph17.onnx")
    L = lightness()
    expected = siggraph17_forward(state, torch.from_numpy(L))
    assert expected.std() > 1
    ours = run(result.path, L)
    assert ours.shape == (1, 2, 32, 32)
    assert np.abs(ours - expected).max() < TOLERANCE


def test_broken_pth_files_are_one_clear_error(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_bytes(b"Not found")
    other = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, other)
    shape = tmp_path / "shape.pth"
    torch.save(siggraph17_state() | {"model_out.0.bias": torch.zeros(3)}, shape)
    for file, reason in ((text, "no file of weights"), (other, "neither"), (shape, "layout")):
        with pytest.raises(BadWeights, match=reason):
            import_model(file, tmp_path / "out.onnx")
