"""A file that is no weights, or whose weights do not fit, is one line that says what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from kinemacolor.export import fitting, published, weights
from kinemacolor.export.errors import BadWeights
from torch import Tensor, nn

from tests.test_export_import_networks import golden

NAME = "decoder.layers.0.shuf.conv.0"  # a layer with spectral norm


def refused(path: Path, reason: str) -> None:
    with pytest.raises(BadWeights, match=reason) as caught:
        published.recognize(path, weights.read(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "weights_only" not in message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty: its download did not finish"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer"),
        (b"Not found", "is no file of weights"),
        (bytes(range(1, 255)), "is no file of weights"),
        (b"\x80\x02garbage", "is damaged"),
        (b"PK\x03\x04 the rest is missing", "is cut off"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "is no readable safetensors file"),
    ],
)
def test_what_is_no_weights_is_said_in_words_of_its_own(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    refused(path, reason)


def test_a_zip_of_something_else_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/net.pth", b"x")
    refused(path, r"is a zip archive, but no PyTorch file: unpack it.*folder/net\.pth")


def test_a_program_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), str(path))
    refused(path, "is a TorchScript program")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_that_runs_code_is_refused(tmp_path: Path, zipped: bool) -> None:
    """PyTorch's own words advised to set weights_only=False, which would have run it."""
    path = tmp_path / "trap.pth"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "trapped",)

    torch.save({"params": {"w": Trap()}}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "holds objects of a program .* ask for plain weights")
    assert not (tmp_path / "trapped").exists()


def test_a_whole_network_instead_of_its_weights_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "net.pth")
    refused(tmp_path / "net.pth", r"objects of a program \(torch\.nn\.modules\.conv\.Conv2d\)")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"epoch": 3, "lr": 0.1}, "holds no weights, only epoch, lr"),
        ({}, "holds no weights, only an empty dictionary"),
        ([torch.zeros(1)], "holds no weights by name, but a list"),
        ({"fc.weight": torch.zeros(2, 2)}, "is neither eccv16 nor siggraph17"),
        ({"decoder.color_decoder.transformer.x": torch.zeros(1)}, "single-scale colour decoder"),
    ],
)
def test_other_contents_are_named(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    refused(tmp_path / "net.pth", reason)


def spoiled(tmp_path: Path, changes: dict[str, Tensor | None], name: str = "ddcolor-mini") -> Path:
    """A file of golden weights of which some are replaced, or missing."""
    state, _ = golden(name)
    whole = {key: value for key, value in (state | changes).items() if value is not None}
    torch.save(whole, tmp_path / "net.pth")
    return tmp_path / "net.pth"


INFINITE = torch.full((128,), float("inf"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"refine_net.0.0.bias": None}, r"has no tensor refine_net\.0\.0\.bias"),
        ({f"{NAME}.weight_orig": None}, rf"has no tensor {NAME}\.weight, which DDColor has"),
        ({f"{NAME}.weight_u": None}, rf"has no tensor {NAME}\.weight_u, which its norm needs"),
        ({f"{NAME}.weight_u": torch.ones(3)}, rf"{NAME}\.weight_u and weight_v have shapes \(3,\)"),
        (
            {"decoder.layers.0.bn.weight": torch.ones(3)},
            r"bn\.weight has shape \(3,\), and DDColor",
        ),
        (
            {f"{NAME}.weight_orig": torch.ones(128, 32, 3, 3), f"{NAME}.weight_v": torch.ones(288)},
            rf"{NAME}\.weight_orig has shape \(128, 32, 3, 3\), and DDColor has \(128, 32, 1, 1\)",
        ),
        ({"encoder.arch.norm0.bias": INFINITE}, r"norm0\.bias holds 128 of 128 numbers"),
        ({"decoder.extra.weight": torch.ones(2)}, r"decoder\.extra\.weight that DDColor does not"),
        ({"encoder.arch.norm3.weight": None}, r"has no tensor encoder\.arch\.norm3\.weight"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_as_its_author_names_it(
    tmp_path: Path, changes: dict[str, Tensor | None], reason: str
) -> None:
    refused(spoiled(tmp_path, changes), reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model8.2.bias": None}, r"has no tensor model8\.2\.bias"),
        ({"model5.2.weight": None}, r"has no tensor model5\.2\.weight"),
        ({"model8.6.weight": torch.ones(3, 256, 1, 1)}, r"model8\.6\.weight has shape \(3, 256"),
        ({"model_out.weight": torch.ones(313, 2, 1, 1)}, r"model_out\.weight has shape \(313, 2"),
        ({"model_out.weight": torch.ones(2, 3, 1, 1)}, r"model_out\.weight has shape \(2, 3"),
    ],
)
def test_eccv16s_tensors_are_named_as_their_author_names_them(
    tmp_path: Path, changes: dict[str, Tensor | None], reason: str
) -> None:
    """A missing one was called `trunk.26.weight`, and a transposed one was accepted."""
    refused(spoiled(tmp_path, changes, "eccv16"), reason)


def test_what_a_network_has_no_use_for_is_ignored(tmp_path: Path) -> None:
    path = spoiled(tmp_path, {"mean": None, "encoder.arch.head_cls.weight": torch.ones(4, 32)})
    assert published.recognize(path, weights.read(path)).architecture.startswith("ddcolor")


def test_folding_a_norm_changes_no_answer() -> None:
    torch.manual_seed(0)
    spectral = torch.nn.utils.spectral_norm(nn.Conv2d(4, 6, 3)).eval()
    by_length = torch.nn.utils.weight_norm(nn.Conv2d(4, 6, 3)).eval()
    x = torch.randn(1, 4, 8, 8)
    for normed in (spectral, by_length):
        plain = nn.Conv2d(4, 6, 3)
        fitting.fit(Path("f"), plain, dict(normed.state_dict()), title="it")
        torch.testing.assert_close(plain(x), normed(x))


def test_golden_files_are_small() -> None:
    files = list((Path(__file__).parent / "golden").glob("*.npz"))
    assert len(files) == 5
    assert all(file.stat().st_size < 200_000 for file in files)
