"""Puts published weights into a network of ours, and names what does not fit as its author does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from kinemacolor.export.errors import BadWeights
from kinemacolor.export.weights import Weights
from torch import Tensor, nn

COUNTER = "num_batches_tracked"  # of batch norm; plays no part outside training


def fit(
    source: Path,
    network: nn.Module,
    weights: Weights,
    *,
    title: str,
    names: Mapping[str, str] | None = None,
    ignored: tuple[str, ...] = (),
) -> None:
    """Fills a network whose parameters may still be on the `meta` device.

    Spectral and weight norm are folded into the weights on the way.

    Args:
        source: the file, for messages.
        title: of the network, for messages.
        names: our name of a tensor to its author's, where they differ.
        ignored: beginnings of names of tensors that the network has no use for.

    Raises BadWeights when a tensor is missing, left over, of another shape or not finite.
    """
    names = names or {}
    _check_finite(source, weights)
    plain, folded = _folded(source, weights)
    wanted = {name: t for name, t in network.state_dict().items() if not name.endswith(COUNTER)}
    filled: Weights = {}
    for name, target in wanted.items():
        theirs = names.get(name, name)
        if theirs not in plain:
            raise BadWeights(
                f"{source} has no tensor {theirs}, which {title} has, of shape "
                f"{tuple(target.shape)}: it is of another network, or incomplete"
            )
        found = plain.pop(theirs)
        if found.shape != target.shape:
            raise BadWeights(
                f"{source} has another layout: {folded.get(theirs, theirs)} has shape "
                f"{tuple(found.shape)}, and {title} has {tuple(target.shape)} there"
            )
        filled[name] = found.contiguous()
    over = [n for n in plain if not n.endswith(COUNTER) and not n.startswith(ignored or ("\0",))]
    if over:
        raise BadWeights(
            f"{source} has a tensor {folded.get(over[0], over[0])} that {title} does not have"
            + (f", and {len(over) - 1} more" if len(over) > 1 else "")
        )
    network.load_state_dict(filled, strict=False, assign=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = torch.tensor(0)


def _check_finite(source: Path, weights: Weights) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise BadWeights(
                f"{source}: {name} holds {bad} of {tensor.numel()} numbers that are not finite; "
                "the file is damaged, or its training failed"
            )


def _folded(source: Path, weights: Weights) -> tuple[Weights, dict[str, str]]:
    """Returns plain weights, and for those that were folded the name that the file has.

    Spectral norm (Miyato et al. 2018): W / (u' W v). Weight norm (Salimans and Kingma 2016):
    g W / |W|, the norm over all but the first axis.
    """
    plain, names = dict(weights), {}
    for name in weights:
        if name.endswith("weight_orig"):
            weight = name.removesuffix("_orig")
            matrix = plain.pop(name)
            u, v = (_part(source, plain, f"{weight}_{p}") for p in "uv")
            flat = matrix.flatten(1)
            if u.shape != flat.shape[:1] or v.shape != flat.shape[1:]:
                raise BadWeights(
                    f"{source} has another layout: {weight}_u and weight_v have shapes "
                    f"{tuple(u.shape)} and {tuple(v.shape)}, and weight_orig {tuple(matrix.shape)}"
                )
            plain[weight] = matrix / torch.dot(u, flat @ v)
            names[weight] = name
        elif name.endswith("weight_g"):
            weight = name.removesuffix("_g")
            size = plain.pop(name)
            direction = _part(source, plain, f"{weight}_v")
            length = direction.flatten(1).norm(dim=1)
            if size.numel() != len(length):
                raise BadWeights(
                    f"{source} has another layout: {name} has shape {tuple(size.shape)}, and "
                    f"weight_v {tuple(direction.shape)}"
                )
            factor = (size.flatten() / length).reshape(-1, *[1] * (direction.dim() - 1))
            plain[weight] = direction * factor
            names[weight] = f"{weight}_v"
    return plain, names


def _part(source: Path, weights: Weights, name: str) -> Tensor:
    if name not in weights:
        raise BadWeights(f"{source} has no tensor {name}, which its norm needs: it is incomplete")
    return weights.pop(name)
