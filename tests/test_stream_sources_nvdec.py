"""Which films stay on the GPU, and what is said of the others."""

from __future__ import annotations

import ctypes
import logging
import os
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.error
import numpy as np
import pytest
from kinemacolor.engine.cuda.driver import missing_library, use_blocking_sync
from kinemacolor.stream.color.frames import plane_view
from kinemacolor.stream.errors import BadSource, SourceError, SourceNotFound
from kinemacolor.stream.run.run import colorize
from kinemacolor.stream.sinks.encode import EncodeOptions, choose_encoder
from kinemacolor.stream.sources.film import ContainerSource, is_cover
from kinemacolor.stream.sources.nvdec import (
    nvenc_context,
    nvenc_problem,
    on_one_thread,
    open_cuda_source,
    why_not,
)
from kinemacolor.stream.sources.open import open_source

from tests.conftest import has_nvidia_gpu
from tests.fake_driver import driver, ffmpeg_takes
from tests.models import write_model

without_gpu = pytest.mark.skipif(has_nvidia_gpu(), reason="says what happens without a GPU")
SAMPLE = Path(__file__).parent.parent / "samples" / "film.mp4"


def grey_frames(pix_fmt: str, width: int, height: int) -> list[av.VideoFrame]:
    y, x = np.mgrid[:height, :width]
    picture = (128 + 90 * np.sin(x / 19) * np.cos(y / 13)).astype(np.uint8)
    return [av.VideoFrame.from_ndarray(picture, "gray").reformat(format=pix_fmt) for _ in range(3)]


@pytest.mark.parametrize(
    ("pix_fmt", "size", "reason"),
    [
        ("yuv411p", (192, 108), "frames of yuv411p cannot be reached on the GPU"),
        ("yuv422p", (192, 108), "frames of yuv422p cannot be reached on the GPU"),
        ("yuv444p10le", (192, 108), "frames of yuv444p10le cannot be reached on the GPU"),
        ("gray", (192, 108), "frames of gray cannot be reached on the GPU"),
        ("yuv420p", (191, 108), "191x108 needs chroma of full size"),
    ],
)
def test_a_film_that_cannot_stay_on_the_gpu_is_known_before(
    tmp_path: Path, pix_fmt: str, size: tuple[int, int], reason: str
) -> None:
    film = write_film(tmp_path / "film.mkv", pix_fmt, *size)
    assert why_not(film) == reason


@pytest.mark.parametrize("option", [{}, {"compare": True}])
def test_it_is_coloured_all_the_same_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, option: dict[str, bool]
) -> None:
    film = write_film(tmp_path / "film.mkv", "yuv420p" if option else "yuv411p", 192, 108)
    model = write_model(tmp_path / "curve.onnx")
    result = tmp_path / "color.mkv"
    with caplog.at_level(logging.WARNING):
        colorize(film, result, model=str(model), hwaccel="cuda", **option)
    said = [r.getMessage() for r in caplog.records if "hwaccel" in r.getMessage()]
    assert len(said) == 1
    assert "its frames stay off the GPU" in said[0]
    with av.open(str(result)) as container:
        colored = list(container.decode(video=0))
    assert len(colored) == 3
    assert np.ptp(plane_view(colored[0], 1)) > 10


@without_gpu
def test_without_a_gpu_the_option_is_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", "yuv420p", 192, 108)
    with pytest.raises(BadSource, match=r"--hwaccel cuda: .*NVIDIA driver"):
        colorize(film, tmp_path / "color.mkv", hwaccel="cuda", backend="onnxruntime")


def write_film(path: Path, pix_fmt: str, width: int, height: int) -> Path:
    """Three lossless frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for i, frame in enumerate(grey_frames(pix_fmt, width, height)):
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@without_gpu
def test_ffmpegs_operation_not_permitted_is_put_into_words() -> None:
    with pytest.raises(BadSource, match=r"NVIDIA driver") as caught:
        open_cuda_source(SAMPLE)
    assert "Operation not permitted" not in str(caught.value)


def test_nvdec_opens_on_a_context_that_ffmpeg_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's own runtime may have made the primary context, without flags."""
    library = driver(tmp_path)
    ctypes.CDLL(library).cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), 0)
    monkeypatch.setattr(
        "kinemacolor.stream.sources.nvdec.use_blocking_sync",
        lambda device: use_blocking_sync(device, library=library),
    )
    plain = av.open

    def open_like_ffmpeg(name: str, **options: Any) -> Any:
        if "hwaccel" in options:
            assert ffmpeg_takes(library)
            raise PermissionError("there is no GPU")
        return plain(name, **options)

    monkeypatch.setattr(av, "open", open_like_ffmpeg)
    with pytest.raises((PermissionError, BadSource)):
        open_cuda_source(SAMPLE)


@without_gpu
def test_nvenc_says_why_it_cannot_be_used() -> None:
    problem = nvenc_problem("h264")
    assert problem is not None
    assert "NVIDIA driver" in problem
    assert nvenc_problem("no_such") is not None


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        open_cuda_source(tmp_path / "none.mp4")


def with_cover(film: Path) -> Path:
    """The sample with a picture for the shelf."""
    with av.open(str(film), "w") as out, av.open(str(SAMPLE)) as source:
        stream = out.add_stream_from_template(source.streams.video[0])
        shelf: Any = out.add_stream("png", rate=1)
        shelf.width, shelf.height, shelf.pix_fmt = 64, 64, "rgb24"
        shelf.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        out.mux(shelf.encode(picture))
        out.mux(shelf.encode(None))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    return film


def test_a_cover_does_not_keep_a_film_off_the_gpu(tmp_path: Path) -> None:
    """It is a video stream to FFmpeg, of a format that NVDEC knows nothing of."""
    film = with_cover(tmp_path / "film.mp4")
    with av.open(str(film)) as container:
        assert [is_cover(stream) for stream in container.streams.video] == [False, True]
    if has_nvidia_gpu():
        assert why_not(film) is None
    else:  # all that is in the way
        with pytest.raises(BadSource, match="NVIDIA driver"):
            why_not(film)


class NoDecoder:
    """A container whose film FFmpeg has no decoder for."""

    def __init__(self) -> None:
        stream = SimpleNamespace(codec_context=None, disposition=0, type="video")
        self.streams = SimpleNamespace(video=[stream])
        self.closed = False

    def __enter__(self) -> NoDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


def test_a_stream_without_a_decoder_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    container = NoDecoder()
    with pytest.raises(BadSource, match="there is no decoder for its video stream"):
        ContainerSource("film.mkv", container)
    assert container.closed
    monkeypatch.setattr(av, "open", lambda *_, **__: NoDecoder())
    assert why_not(SAMPLE) == "there is no film in it that can be decoded"


@without_gpu
def test_no_stream_for_nvdec_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV raises a bare RuntimeError when no stream of a file is compatible."""
    plain = av.open

    def open_like_pyav(name: str, **options: Any) -> Any:
        if "hwaccel" in options:
            raise RuntimeError("Hardware accelerated decode requested but no stream is compatible")
        return plain(name, **options)

    monkeypatch.setattr("kinemacolor.stream.sources.nvdec.use_blocking_sync", lambda device: None)
    monkeypatch.setattr(av, "open", open_like_pyav)
    with pytest.raises(BadSource, match="--hwaccel cuda cannot open"):
        open_cuda_source(SAMPLE)


def test_a_container_without_nvidias_video_libraries_is_told_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "kinemacolor.engine.cuda.driver._VIDEO", {"NVDEC": "libnvcuvid-that-is-not-there.so.1"}
    )
    said = missing_library("NVDEC")
    assert said is not None
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video" in said
    monkeypatch.setattr("kinemacolor.engine.cuda.driver._VIDEO", {"NVDEC": "libc.so.6"})
    assert missing_library("NVDEC") is None


@pytest.mark.parametrize("source", ["test:64x48@5#0.6", "still.png"])
def test_what_is_no_film_file_takes_the_ordinary_path(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    sink = tmp_path / "out.mkv"
    if source.endswith(".png"):
        [picture, *_] = grey_frames("gray", 64, 48)
        picture.to_image().save(tmp_path / source)
        source, sink = str(tmp_path / source), tmp_path / "out.png"
    model = write_model(tmp_path / "curve.onnx")
    with caplog.at_level(logging.WARNING):
        colorize(source, sink, model=str(model), hwaccel="cuda")
    said = [r.getMessage() for r in caplog.records if "hwaccel" in r.getMessage()]
    assert len(said) == 1
    assert said[0].endswith("it is no film file")
    assert sink.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_not_read_to_find_out(tmp_path: Path) -> None:
    pipe = tmp_path / "film.y4m"
    os.mkfifo(pipe)
    assert why_not(pipe) == "it is no film file"


@pytest.mark.parametrize(
    "url", ["rtsp://user:secret@127.0.0.1:9", "http://user:secret@127.0.0.1:9"]
)
def test_a_url_is_no_film_file_and_keeps_its_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    model = write_model(tmp_path / "curve.onnx")
    with caplog.at_level(logging.WARNING), pytest.raises(SourceError) as caught:
        colorize(url, tmp_path / "out.mkv", model=str(model), hwaccel="cuda")
    assert not isinstance(caught.value, SourceNotFound)
    assert "it is no film file" in caplog.text
    assert "secret" not in caplog.text + str(caught.value)
    with pytest.raises(SourceNotFound) as missing:
        open_cuda_source(url + "/film")
    assert "secret" not in str(missing.value)


@pytest.mark.parametrize(
    ("codec", "encoder"),
    [(None, "h264_nvenc"), ("h264", "h264_nvenc"), ("h265", "hevc_nvenc"), ("hevc", "hevc_nvenc")],
)
def test_the_encoder_that_is_tried_is_the_one_that_will_be_used(
    codec: str | None, encoder: str
) -> None:
    context = nvenc_context(codec, 1, "yuv420p10le")
    assert context.name == encoder
    assert choose_encoder(EncodeOptions(codec=codec, encoder="nvenc"), ".mkv") == encoder
    assert context.options == {"gpu": "1"}
    assert context.pix_fmt == "p010le"


def test_a_film_on_the_gpu_keeps_its_pixel_format_in_the_report() -> None:
    """The decoder's own word for it is `cuda`; the encoder is chosen by what the film is."""
    source = ContainerSource("film.mp4", av.open(str(SAMPLE)), pix_fmt="yuv420p10le")
    assert source.info.pix_fmt == "yuv420p10le"
    source.close()


def test_nvdec_works_on_one_thread() -> None:
    """Each thread of FFmpeg's would hold surfaces of its own, of which a GPU has few."""
    with av.open(str(SAMPLE)) as container:
        context = container.streams.video[0].codec_context
        on_one_thread(context)
        assert context.thread_count == 1
        assert context.thread_type.name == "SLICE"


class Decoder:
    """A decoder in hardware or not, that fails on each packet."""

    def __init__(self, error: Exception, *, is_hwaccel: bool) -> None:
        self._error, self.is_hwaccel = error, is_hwaccel

    def decode(self, packet: object) -> list[av.VideoFrame]:
        raise self._error


@pytest.mark.parametrize(
    ("error", "is_hwaccel", "raises"),
    [
        (av.error.ExternalError(0, "Generic error in an external library"), True, True),
        (av.error.MemoryError(12, "Cannot allocate memory"), True, True),
        (av.error.InvalidDataError(0, "Invalid data found"), True, False),
        (av.error.ExternalError(0, "Generic error in an external library"), False, False),
    ],
)
def test_a_gpu_that_cannot_go_on_is_no_damaged_packet(
    error: Exception, is_hwaccel: bool, raises: bool
) -> None:
    """No frame of a film is left out in silence because the GPU ran out of memory."""
    source = open_source(SAMPLE)
    assert isinstance(source, ContainerSource)
    packet = next(source.container.demux(video=0))
    source.video = SimpleNamespace(codec_context=Decoder(error, is_hwaccel=is_hwaccel))  # type: ignore[assignment]
    if raises:
        with pytest.raises(SourceError, match="the GPU cannot go on decoding"):
            source._decode(packet)
    else:
        assert source._decode(packet) == []
    assert source.damaged == (0 if raises else 1)
    source.close()
