"""The peer that the speed benchmark runs against is the real thing."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.opencv_loop import colorize
from benchmarks.zhang_stand_in import parameter_count, zhang_stand_in
from tests.media import moving_picture


def test_the_stand_in_has_zhangs_size_and_shapes() -> None:
    model = zhang_stand_in()
    convolutions = 32_230_393  # conv1_1 to conv8_313 with their biases, added up by hand
    norms = 4 * (64 + 128 + 256 + 4 * 512)
    to_ab, scale = 313 * 2 + 2, 1
    assert parameter_count(model) == convolutions + norms + to_ab + scale
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    }
    assert [1, 512, 28, 28] in shapes.values()
    assert [1, 313, 56, 56] in shapes.values()


class OneColor:
    """Stands for cv2.dnn.Net: takes L - 50 at 224x224, gives the same ab everywhere."""

    def setInput(self, blob: NDArray[np.float32]) -> None:
        assert blob.shape == (1, 1, 224, 224)
        assert -50 <= blob.min() < blob.max() <= 50

    def forward(self) -> NDArray[np.float32]:
        ab = np.empty((1, 2, 56, 56), np.float32)
        ab[0, 0], ab[0, 1] = 12, -18
        return ab


def test_the_loop_gives_every_pixel_the_networks_ab() -> None:
    grey = np.clip(moving_picture(96, 54, 0), 60, 190)
    frame = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    lab = cv2.cvtColor(np.float32(colorize(frame, OneColor())) / 255, cv2.COLOR_BGR2Lab)
    before = cv2.cvtColor(np.float32(frame) / 255, cv2.COLOR_BGR2Lab)
    np.testing.assert_allclose(lab[..., 0], before[..., 0], atol=1)
    np.testing.assert_allclose(lab[..., 1], 12, atol=1.5)
    np.testing.assert_allclose(lab[..., 2], -18, atol=1.5)
