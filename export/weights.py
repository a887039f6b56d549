"""Reads files of weights as their authors distribute them; no code from a file is ever run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from kinemacolor.export.errors import BadWeights
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

Weights = dict[str, Tensor]

# What programs put around the weights, in the order in which one of several is taken.
WRAPPERS = ("params", "params_ema", "state_dict", "model", "generator", "net_g", "netG")
PREFIXES = ("module.", "_orig_mod.", "model.", "generator.", "net_g.", "netG.")
PLAIN_ADVICE = (
    "ask for plain weights, which the program that made it writes with "
    "torch.save(network.state_dict(), FILE)"
)


def read(path: Path) -> Weights:
    """Returns the tensors of a .pth, .pt, .bin or .safetensors file by their authors' names.

    Wrappers such as `params` and prefixes such as `module.` are taken off; floats become float32.

    Raises BadWeights in one line when the file is something else, damaged, or needs code.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if reason := impostor(head):
        raise BadWeights(f"{path} {reason}")
    found = _safetensors(path) if _is_safetensors(path, head) else _torch(path, head)
    tensors = _unwrap(path, found)
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in _without_prefixes(tensors).items()
    }


def impostor(head: bytes) -> str:
    """Says what a file is that is no weights at all, by its first bytes; empty for others."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty: its download did not finish; get it again"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "is a web page, not a file of weights: the link led to a page about the file; "
            "open it in a browser and download the file itself"
        )
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file that it stands for: run git lfs pull"
    return ""


def _is_safetensors(path: Path, head: bytes) -> bool:
    """Its header: the length of a JSON object, which follows."""
    return path.suffix.lower() == ".safetensors" or head[8:9] == b"{"


def _safetensors(path: Path) -> Weights:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadWeights(
            f"{path} is no readable safetensors file: {_first_line(error)}; get it again"
        ) from error


def _torch(path: Path, head: bytes) -> Any:
    zipped = head.startswith(b"PK")
    if zipped:
        _check_archive(path)
    elif not head.startswith(b"\x80"):
        raise BadWeights(
            f"{path} is no file of weights: neither PyTorch's format nor safetensors "
            f"begins with {head[:8]!r}"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise BadWeights(_why_not_plain(path, str(error))) from error
    except Exception as error:  # whatever a wrong byte leads the reader to
        raise BadWeights(
            f"{path} is damaged or cut off ({_first_line(error)}): get it again"
        ) from error


def _check_archive(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise BadWeights(f"{path} is cut off: the end of the archive is missing; get it again")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith("data.pkl") for name in names):
        raise BadWeights(
            f"{path} is a zip archive, but no PyTorch file: unpack it, and give the file of "
            f"weights that it holds (it begins with {', '.join(names[:3]) or 'nothing'})"
        )
    if any("/code/" in name for name in names):
        raise BadWeights(
            f"{path} is a TorchScript program, and code from a file is never run here: "
            + PLAIN_ADVICE
        )


def _why_not_plain(path: Path, error: str) -> str:
    named = re.search(r"(?:GLOBAL|class) `?(\w[\w.]*)", error)
    if named is None:
        return f"{path} is damaged, or no PyTorch file at all: get it again"
    return (
        f"{path} holds objects of a program ({named[1]}) beside weights, and reading "
        f"those would run code from the file, which is never done here: {PLAIN_ADVICE}"
    )


def _unwrap(path: Path, found: Any) -> Weights:
    """Goes down to the mapping that holds the tensors."""
    while isinstance(found, Mapping):
        tensors = {str(k): v for k, v in found.items() if isinstance(v, Tensor)}
        nested = {k: v for k, v in found.items() if isinstance(v, Mapping)}
        inside = next((nested[key] for key in WRAPPERS if key in nested), None)
        if inside is None and not tensors and len(nested) == 1:
            inside = next(iter(nested.values()))
        if inside is None:
            if tensors:
                return tensors
            raise BadWeights(f"{path} holds no weights, only {_names(found)}")
        found = inside
    raise BadWeights(f"{path} holds no weights by name, but a {type(found).__name__}")


def _names(found: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, list(found)[:5])) or "an empty dictionary"


def _without_prefixes(tensors: Weights) -> Weights:
    for prefix in PREFIXES * 2:  # module.model., and model.module.
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
