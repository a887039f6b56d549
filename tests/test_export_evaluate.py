"""Evaluation puts every model beside grey and the truth, on the same pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from kinemacolor.engine.load import load
from kinemacolor.export import checkpoint, evaluate, networks, onnx_export, tune
from kinemacolor.export.data import to_lab
from kinemacolor.export.errors import DataError, ExportError
from skimage import color

from tests.models import write_model
from tests.test_export_data import make_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("model") / "kinema.onnx"
    network = networks.build("kinema", pretrained=False)
    metadata = {"name": "random", "height": "64", "width": "64", "multiple": "32"}
    return onnx_export.write(network, out, metadata=metadata)


def test_grey_and_truth_frame_a_model(model: Path, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    seen: list[tuple[str, int, int]] = []
    results = evaluate.evaluate(
        [model],
        [data],
        json_file=tmp_path / "scores.json",
        contact_sheet=tmp_path / "sheet.png",
        backend="onnxruntime",
        backends_timed=["onnxruntime"],
        report=lambda *now: seen.append(now),
    )
    grey, truth, ours = results
    assert [r.name for r in results] == ["grey", "truth", "random"]
    assert (truth.auc, truth.ciede2000, truth.colorfulness_of_truth) == (100, 0, 1)
    assert truth.psnr > 45  # 8-bit rounding on the way through Lab
    assert (grey.chroma, grey.mean_a) == (0, 0)
    assert grey.colorfulness < 1 < ours.colorfulness
    assert ours.pictures == 6
    assert ours.latency_ms is not None
    assert ours.latency_ms["onnxruntime"] > 0
    assert seen[-1] == ("random", 6, 6)
    document = json.loads((tmp_path / "scores.json").read_text())
    assert [row["name"] for row in document["scores"]] == ["grey", "truth", "random"]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    side = evaluate.SHEET_SIDE
    assert sheet[:side, :side].std(axis=2).max() == 0  # the first column is grey
    assert "| random | " in evaluate.table(results)


def test_the_models_ab_is_what_is_scored(tmp_path: Path) -> None:
    """The truth is one grey, the prediction one colour at a known distance from it."""
    data = tmp_path / "data"
    data.mkdir()
    for i, shape in enumerate(((40, 56, 3), (64, 48, 3))):
        cv2.imwrite(str(data / f"{i}.png"), np.full(shape, 210, np.uint8))
    lightness = color.rgb2lab(np.full((1, 1, 3), 210, np.uint8))[0, 0, 0]
    # What `write_model` predicts: 30.7 from grey, so within t for t = 31..150.
    ab = np.array([0.6 * lightness - 20, 30 - 0.4 * lightness])
    file = write_model(tmp_path / "curve.onnx", height="32", width="32")
    ours = evaluate.evaluate([file], [data], backend="onnxruntime")[-1]
    assert (ours.auc, ours.auc_rebalanced) == pytest.approx([100 * 120 / 151] * 2, abs=1e-4)
    off = 0.2  # OpenCV's L, from tables, is up to 0.3 from scikit-image's
    assert (ours.mean_a, ours.mean_b) == pytest.approx(tuple(ab), abs=off)
    assert ours.chroma == pytest.approx(30.74, abs=off)
    assert ours.ab_mse == pytest.approx((ab @ ab) / 2 / 128**2, rel=0.02)
    difference = color.deltaE_ciede2000([lightness, *ab], [lightness, 0, 0])
    assert ours.ciede2000 == pytest.approx(float(difference), abs=off)


def test_a_limit_spreads_over_the_data(model: Path, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    (data / "0.png").write_bytes(b"broken")
    results = evaluate.evaluate([], [data], limit=2)
    assert results[0].pictures == 1  # of the first and the last, the first does not decode


def test_a_wide_picture_enters_the_network_wide(model: Path, tmp_path: Path) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (40, 160, 3), np.uint8)
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "0.png"), wide)
    predict, _ = evaluate.backend_prediction(model, "onnxruntime")
    L = np.ascontiguousarray(to_lab(wide)[..., 0])
    network = load(model, "onnxruntime")
    small = cv2.resize(L, (128, 32), interpolation=cv2.INTER_AREA)
    ab = network(small[None, None])[0].transpose(1, 2, 0)
    wanted = cv2.resize(np.ascontiguousarray(ab), (160, 40), interpolation=cv2.INTER_LINEAR)
    assert np.abs(predict(L, np.zeros((40, 160, 2), np.float32)) - wanted).max() < 1e-4


def test_no_pictures_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the pictures decodes"):
        evaluate.evaluate([], [tmp_path])


def test_tuning_measures_what_it_sets(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = networks.build("kinema", pretrained=False)
    average = networks.build("kinema", pretrained=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, checkpoint.Position("kinema"), network, average, optimizer)
    data = make_folder(tmp_path / "data", 2)
    one, two = tune.measure(
        path, [data], temperatures=[0.38], rebalances=[0.0], saturations=[1.0, 2.0], side=64
    )
    assert (one.saturation, two.saturation) == (1.0, 2.0)
    assert two.colorfulness_of_truth > one.colorfulness_of_truth
    assert "| 0.38 | 0 | 2 | " in tune.table([one, two])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "0.png").write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the pictures decodes"):
        tune.measure(tmp_path, [broken])


def test_only_networks_with_bins_can_be_tuned(tmp_path: Path) -> None:
    network, average = networks.build("resnet18"), networks.build("resnet18")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, checkpoint.Position("resnet18"), network, average, optimizer)
    with pytest.raises(ExportError, match="nothing to tune"):
        tune.measure(path, [make_folder(tmp_path / "data")])
