"""Clips are scored as they play: how right and how steady."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from kinemacolor.export import evaluate_video, networks, onnx_export
from kinemacolor.export.errors import DataError


def color_clip(path: Path, frames: int = 6, height: int = 48) -> Path:
    """A red square that moves over green, lossless."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, "bgr0"
        for t in range(frames):
            picture = np.full((height, 64, 3), (40, 160, 40), np.uint8)
            picture[10:30, 4 * t : 4 * t + 20] = (30, 30, 200)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="bgr0")
            frame.pts = t
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_grey_and_truth_frame_a_model_on_video(tmp_path: Path) -> None:
    clip = color_clip(tmp_path / "clip.mkv")
    torch.manual_seed(0)
    model = tmp_path / "random.onnx"
    metadata = {"name": "random", "height": "64", "width": "64"}
    onnx_export.write(networks.build("resnet18").eval(), model, metadata=metadata)
    rows = evaluate_video.evaluate_video(
        [model], [clip], json_file=tmp_path / "scores.json", backend="onnxruntime"
    )
    grey, truth, ours = rows
    assert [row.name for row in rows] == ["grey", "truth", "random"]
    assert (truth.auc, truth.ciede2000, truth.colorfulness_of_truth) == (100, 0, 1)
    assert grey.colorfulness_of_truth < 0.1
    assert grey.warp_error == 0 < truth.warp_error
    assert ours.frames == 6
    assert ours.ciede2000 > 0
    assert [row["name"] for row in json.loads((tmp_path / "scores.json").read_text())] == [
        "grey", "truth", "random",
    ]  # fmt: skip
    assert "| clip | random |" in evaluate_video.table(rows)


def test_a_coloured_file_is_measured_as_it_is(tmp_path: Path) -> None:
    clip = color_clip(tmp_path / "clip.mkv")
    same = color_clip(tmp_path / "same.mkv", frames=8)
    *_, ours = evaluate_video.evaluate_video([], [clip], colored=[same])
    assert (ours.name, ours.frames, ours.auc, ours.ciede2000) == ("same", 6, 100, 0)
    assert ours.colorfulness_of_truth == 1
    short = color_clip(tmp_path / "short.mkv", frames=4)
    with pytest.raises(DataError, match=r"short.mkv has 4 frames of \[48, 64\], its clip 6"):
        evaluate_video.evaluate_video([], [clip], colored=[short])
    with pytest.raises(DataError, match="against one clip"):
        evaluate_video.evaluate_video([], [clip, clip], colored=[same])


def test_unreadable_and_single_frame_clips_are_one_clear_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"no video here")
    with pytest.raises(DataError, match="not a readable video: Invalid data found"):
        evaluate_video.evaluate_video([], [broken])
    with pytest.raises(DataError, match="too small for its motion"):
        evaluate_video.evaluate_video([], [color_clip(tmp_path / "low.mkv", height=8)])
    with pytest.raises(DataError, match="at least two"):
        evaluate_video.evaluate_video([], [color_clip(tmp_path / "one.mkv", frames=1)])
