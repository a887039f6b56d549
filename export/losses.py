"""What training minimises: cross-entropy over bins with rare colours weighted, or plain MSE."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kinemacolor.export import bins
from torch import Tensor, nn

FULL = 40.0  # chroma of a strong colour in a photograph


class BinLoss(nn.Module):
    """Cross-entropy against the soft-encoded truth, plus small terms.

    Args:
        power: strength of class rebalancing; 1 is the paper's, 0 is none.
        mean_weight: weight of smooth L1 on the annealed mean (ab / 10), which keeps shadows and
            dark cloth, where the distribution is wide, from taking a rare colour.
        norm_weight: weight of the squared log-sum-exp, which keeps logits normalised, so that
            the exported graph needs no softmax (see `networks.head`).
        vivid: share of the truth's colorfulness below which the annealed mean costs; 0 is off.
            The factor `saturation` of an export makes every colour stronger, the doubtful ones
            too; this lets the network choose where strength is least likely to be wrong.
        patch_weight: weight of edges in the annealed mean that the truth has not, with `vivid`:
            a doubtful thing shall take one colour, not patches of several.
        saturation: factor on the annealed mean that the export will have.
    """

    def __init__(
        self,
        *,
        power: float = 0.5,
        mean_weight: float = 0.2,
        norm_weight: float = 0.02,
        vivid: float = 0.0,
        patch_weight: float = 0.5,
        saturation: float = 1.0,
    ) -> None:
        super().__init__()
        weights = bins.rebalancing_weights(bins.prior(), power=power)
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("points", torch.from_numpy(bins.centers()))
        self.mean_weight = mean_weight
        self.norm_weight = norm_weight
        self.vivid = vivid
        self.patch_weight = patch_weight
        self.saturation = saturation

    weights: Tensor
    points: Tensor

    def forward(self, logits: Tensor, ab: Tensor) -> Tensor:
        """logits (N, 313, h, w); ab (N, 2, h, w), the truth in CIELAB units. Returns a scalar."""
        flat = logits.permute(0, 2, 3, 1).reshape(-1, bins.COUNT).float()
        truth = ab.permute(0, 2, 3, 1).reshape(-1, 2)
        index, share = bins.soft_encode(truth)
        norm = torch.logsumexp(flat, 1)
        cross = norm - (flat.gather(1, index) * share).sum(1)
        loss = (cross * self.weights[index[:, 0]]).mean()
        if self.norm_weight:
            loss = loss + self.norm_weight * norm.square().mean()
        if not (self.mean_weight or self.vivid):
            return loss
        mean = torch.softmax(flat / bins.TEMPERATURE, 1) @ (self.points * self.saturation)
        loss = loss + self.mean_weight * F.smooth_l1_loss(mean / 10, truth / 10)
        if self.vivid:
            shape = (len(ab), *ab.shape[2:], 2)
            loss = loss + self._vivid_loss(mean.view(shape), truth.view(shape))
        return loss

    def _vivid_loss(self, ab: Tensor, truth: Tensor) -> Tensor:
        """What colours (N, h, w, 2) cost for being paler, or more patched, than the truth."""
        shortfall = self.vivid - _spread(ab).mean() / _spread(truth).mean()
        return F.relu(shortfall).square() + self.patch_weight * _patches(ab, truth)


def _spread(ab: Tensor) -> Tensor:
    """Returns the colorfulness (N,) of pictures ab (N, h, w, 2), in ab units.

    Hasler and Suesstrunk's measure (see `video_metrics`) with a and b for its opponent axes, and
    with no colour counted for more than FULL: a few glowing patches are not colourful.
    """
    chroma = (ab.square().sum(-1, keepdim=True) + 1e-3).sqrt()
    pixels = (ab * (FULL / chroma).clamp(max=1)).flatten(1, 2)
    deviation = (pixels.var(1, correction=0).sum(1) + 1e-3).sqrt()
    return deviation + 0.3 * (pixels.mean(1).square().sum(1) + 1e-3).sqrt()


def _patches(ab: Tensor, truth: Tensor) -> Tensor:
    """Mean difference of the steps from pixel to pixel, in tens; both (N, h, w, 2)."""
    error = (ab - truth) / 10
    return error.diff(dim=1).abs().mean() + error.diff(dim=2).abs().mean()


class MeanSquaredLoss(nn.Module):
    """MSE on ab / 128, as the networks that predict one colour were published with."""

    def forward(self, predicted: Tensor, ab: Tensor) -> Tensor:
        """predicted, ab: (N, 2, h, w), CIELAB units. Returns a scalar."""
        return F.mse_loss(predicted.float() / 128, ab / 128)
