"""A run learns, resumes where it was, and keeps its last good checkpoint whatever happens."""

import csv
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from kinemacolor.export import bins, checkpoint, learner, networks, train
from kinemacolor.export.errors import CheckpointError, DataError, ExportError, TrainingDiverged
from kinemacolor.export.losses import BinLoss, MeanSquaredLoss
from kinemacolor.export.options import TrainOptions, parse_crop
from kinemacolor.export.parallel import SplitStep
from safetensors.torch import save_file

from kinemacolor.errors import BadOption
from tests.test_export_data import make_folder

TINY = ((16, 16, 4),)


def run(
    data: Path,
    out: Path,
    pictures: int,
    *,
    report: Callable[[train.Progress], None] = lambda progress: None,
    kind: type[TrainOptions] = TrainOptions,
    **options: Any,
) -> Path:
    options = {"crops": TINY, "threads": 2, "device": "cpu", "pictures": pictures} | options
    return train.train("resnet18", [data], out, kind(**options), report=report)


class Unchecked(TrainOptions):
    """Takes a learning rate that no command does: after one step the weights are infinite."""

    def __post_init__(self) -> None:
        pass


def test_training_lowers_the_loss_and_leaves_scores_and_samples(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 2)
    losses: list[float] = []
    path = run(
        data,
        tmp_path / "run",
        160,
        validate_on=(data,),
        film_share=0.0,
        report=lambda p: losses.append(p.loss),
    )
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    position, tensors = checkpoint.read(path)
    assert (position.network, position.step, position.pictures) == ("resnet18", 40, 160)
    bias = tensors["average.encoder.bn1.bias"]  # it begins at 0, and follows
    assert 0 < bias.norm() < 1.5 * tensors["network.encoder.bn1.bias"].norm()
    rows = list(csv.DictReader((tmp_path / "run" / "curve.csv").open()))
    assert 0 < float(rows[-1]["auc"]) <= 100
    assert cv2.imread(str(tmp_path / "run" / "curve.png")) is not None
    assert cv2.imread(str(next((tmp_path / "run").glob("samples-*.png")))) is not None


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    whole = run(data, tmp_path / "whole", 48, threads=1)

    class Killed(Exception):
        pass

    def kill(progress: train.Progress) -> None:
        if progress.step == 6:
            raise Killed

    with pytest.raises(Killed):
        run(data, tmp_path / "cut", 48, threads=1, checkpoint_seconds=0, report=kill)
    resumed = run(data, tmp_path / "cut", 48, threads=1)
    position, tensors = checkpoint.read(resumed)
    assert position.step == 12
    for key, value in checkpoint.read(whole)[1].items():
        assert torch.allclose(value.float(), tensors[key].float(), atol=2e-3), key


def test_two_threads_give_the_gradients_of_one() -> None:
    torch.manual_seed(0)
    model = networks.build("unet")  # no batch norm: parts of a batch are independent
    L, ab = torch.rand(4, 1, 16, 16) * 100, torch.randn(4, 2, 16, 16) * 20
    gradients = []
    for threads in (1, 2):
        with SplitStep(model, MeanSquaredLoss(), threads=threads) as split:
            loss = split.backward(L, ab)
        gradients.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-3)
    for one, two in zip(gradients[0][1], gradients[1][1], strict=True):
        assert torch.allclose(one, two, atol=2e-2 * float(one.abs().max()) + 1e-9)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    run(data, tmp_path / "run", 4)
    with pytest.raises(CheckpointError, match=r"'resnet18', not of 'unet'"):
        train.train(
            "unet", [data], tmp_path / "run", TrainOptions(pictures=8, crops=TINY, device="cpu")
        )


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / checkpoint.FILE).write_bytes(b"no tensors here")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        run(data, tmp_path / "run", 4)


def test_a_full_disk_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails half-way."""
    resource = pytest.importorskip("resource")
    data = make_folder(tmp_path / "data")
    path = run(data, tmp_path / "run", 4)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(CheckpointError, match="the previous one is kept"):
            run(data, tmp_path / "run", 8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert not list((tmp_path / "run").glob("*.part"))


def test_nan_stops_training_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    path = run(data, tmp_path / "run", 4)
    before = path.read_bytes()
    with pytest.raises(TrainingDiverged, match="last good checkpoint"):
        run(data, tmp_path / "run", 400, learning_rate=math.inf, kind=Unchecked)
    assert path.read_bytes() == before


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    """The step that breaks the weights has a good loss itself: the next one tells."""
    data = make_folder(tmp_path / "data")
    with pytest.raises(TrainingDiverged, match="no checkpoint was made yet"):
        run(
            data,
            tmp_path / "new",
            400,
            learning_rate=math.inf,
            kind=Unchecked,
            checkpoint_seconds=0,
        )
    assert not (tmp_path / "new" / checkpoint.FILE).exists()
    path = run(data, tmp_path / "run", 4)
    before = path.read_bytes()
    with pytest.raises(TrainingDiverged, match="the last good checkpoint is"):
        run(
            data,
            tmp_path / "run",
            400,
            learning_rate=math.inf,
            kind=Unchecked,
            checkpoint_seconds=0,
        )
    assert path.read_bytes() == before
    with pytest.raises(TrainingDiverged):  # the last step of a run
        run(data, tmp_path / "run", 8, learning_rate=math.inf, kind=Unchecked)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "give a budget"),
        ({"hours": 0.0}, "more than nothing"),
        ({"pictures": 4, "device": "gpu"}, "no device 'gpu'"),
        ({"pictures": 4, "learning_rate": -1.0}, "learning rate must be more than 0"),
        ({"pictures": 4, "crops": ((16, 20, 4),)}, "a multiple of 8, not of 20"),
        ({"pictures": 4, "vivid": 1.0}, "networks that predict bins"),
    ],
)
def test_a_bad_option_is_told_at_once(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    data = make_folder(tmp_path / "data")
    with pytest.raises(ExportError, match=said):
        train.train("unet", [data], tmp_path / "run", TrainOptions(**options))
    assert not (tmp_path / "run").exists()


def test_pictures_that_do_not_decode_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_folder(tmp_path / "data")
    (data / "torn.png").write_bytes(b"no picture")
    run(data, tmp_path / "run", 40)
    assert re.search(r"do not decode: 1 of \d+, .*torn.png", caplog.text)


def test_held_out_pictures_that_do_not_decode_are_told_before_the_work(tmp_path: Path) -> None:
    data, torn = make_folder(tmp_path / "data"), tmp_path / "torn"
    torn.mkdir()
    (torn / "torn.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 1 pictures decodes"):
        run(data, tmp_path / "run", 4, validate_on=(torn,))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run" / checkpoint.FILE
    path.parent.mkdir()
    metadata = {"format": checkpoint.FORMAT, "position": '{"network": "resnet18", "epoch": 3}'}
    save_file({"network.x": torch.zeros(1)}, path, metadata)
    with pytest.raises(CheckpointError, match="another version"):
        run(make_folder(tmp_path / "data"), tmp_path / "run", 4)


def test_the_learning_rate_warms_up_and_falls() -> None:
    assert learner.rate(0, 0.0) < 0.01
    assert learner.rate(200, 0.0) == pytest.approx(1)
    assert learner.rate(5000, 0.5) == pytest.approx(0.505)
    assert learner.rate(9000, 1.0) == pytest.approx(0.01)


def test_averaged_weights_follow_the_trained_ones() -> None:
    average, model = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    for tensor, value in ((average.weight, 0.0), (model.weight, 10.0), (model.running_mean, -10.0)):
        assert tensor is not None
        torch.nn.init.constant_(tensor, value)
    for expected in (1.0, 1.9):  # a tenth of the way, and a tenth of what is left
        learner.blend(average, model, decay=0.9)
        assert average.weight.tolist() == pytest.approx([expected] * 2)
        assert average.state_dict()["running_mean"].tolist() == pytest.approx([-expected] * 2)
    assert model.weight.tolist() == [10, 10]


def test_a_run_can_begin_with_the_weights_of_another(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    first = run(data, tmp_path / "first", 16)
    second = run(data, tmp_path / "second", 4, start=first, learning_rate=1e-12)
    position, tensors = checkpoint.read(second)
    assert position.pictures == 4
    weights = checkpoint.part(checkpoint.read(first)[1], "average")
    for key, value in checkpoint.part(tensors, "network").items():
        if value.is_floating_point() and "running" not in key:
            torch.testing.assert_close(value, weights[key], rtol=1e-4, atol=1e-5)


def test_the_start_must_be_the_same_network(tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data")
    other = run(data, tmp_path / "other", 4)
    with pytest.raises(CheckpointError, match="resnet18"):
        train.train("unet", [data], tmp_path / "unet", TrainOptions(pictures=4, start=other))


def logits_of(ab: torch.Tensor) -> torch.Tensor:
    """Logits (N, 313, h, w) whose annealed mean is the bin nearest to each ab (N, 2, h, w)."""
    points = torch.from_numpy(bins.centers())
    square = (ab.permute(0, 2, 3, 1)[..., None, :] - points).square().sum(-1)
    return -square.permute(0, 3, 1, 2) / 20


def bin_colors(seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    points = torch.from_numpy(bins.centers())
    return points[torch.randint(len(points), (2, 4, 4), generator=random)].permute(0, 3, 1, 2)


def test_pale_colors_cost_only_below_the_wanted_colorfulness() -> None:
    ab = bin_colors() * 0.3  # none as strong as FULL

    def extra(saturation: float) -> float:
        plain = BinLoss(saturation=saturation)(logits_of(ab), ab)
        vivid = BinLoss(saturation=saturation, vivid=0.9, patch_weight=0)(logits_of(ab), ab)
        return float(vivid - plain)

    assert extra(1.0) == pytest.approx(0.0, abs=1e-3)
    assert extra(0.25) == pytest.approx((0.9 - 0.25) ** 2, rel=0.1)


def test_a_few_glowing_spots_are_not_colorful() -> None:
    truth = bin_colors() * 0.3
    spots = torch.zeros_like(truth)
    spots[:, 0, 0, 0] = 100.0
    loss = BinLoss(power=0, vivid=1.0, mean_weight=1e-6, patch_weight=0)
    plain = BinLoss(power=0, mean_weight=1e-6)
    cost = [
        float(loss(logits_of(ab), truth) - plain(logits_of(ab), truth)) for ab in (spots, truth)
    ]
    assert cost[0] > 0.1
    assert cost[1] < 0.01


def test_patches_cost_more_than_one_wrong_color() -> None:
    truth = torch.zeros(1, 2, 4, 4)
    one, patches = truth.clone(), truth.clone()
    one[:, 0] = 40.0
    patches[:, 0, ::2] = 40.0
    patches[:, 0, 1::2] = -40.0
    loss = BinLoss(power=0, vivid=0.01, saturation=1.0)
    assert float(loss(logits_of(patches), truth)) > float(loss(logits_of(one), truth)) + 1


@pytest.mark.parametrize(
    ("text", "crop"), [("256x192:18", (256, 192, 18)), ("128:32", (128, 128, 32))]
)
def test_a_crop_is_read_from_the_command_line(text: str, crop: tuple[int, int, int]) -> None:
    assert parse_crop(text) == crop


@pytest.mark.parametrize(
    "text", ["128", "128:0", "0:4", "128x:", "128x:4", "128x:4x", "x96:4", "-1:4", ""]
)
def test_what_is_no_crop_is_one_clear_error(text: str) -> None:
    with pytest.raises(BadOption, match="give WIDTHxHEIGHT:BATCH"):
        parse_crop(text)
