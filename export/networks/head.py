"""The last layer of a network that predicts a distribution over ab bins: logits in, ab out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kinemacolor.export import bins
from torch import Tensor, nn

COLD = 0.2  # a temperature below which normalised logits may all vanish in the exponential


class BinHead(nn.Module):
    """A 1x1 convolution to 313 logits, and the annealed mean as it runs in the exported graph.

    Softmax over 313 channels costs a quarter of kinema's time in OpenVINO. Training keeps the
    logits normalised (their log-sum-exp near 0, see `losses`), so the graph needs no maximum: it
    takes the exponential, and one 1x1 convolution gives the weighted sums of a, of b and of 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, bins.COUNT, 1)
        self.register_buffer("tilt", torch.zeros(bins.COUNT))
        self.temperature = bins.TEMPERATURE
        self.saturation = 1.0

    tilt: Tensor
    choices = ("temperature", "saturation", "rebalance")  # what `tune` takes

    def logits(self, x: Tensor) -> Tensor:
        return self.conv(x)

    def tune(
        self,
        *,
        temperature: float = bins.TEMPERATURE,
        saturation: float = 1.0,
        rebalance: float = 0.0,
    ) -> None:
        """Sets what can still be chosen after training.

        Args:
            temperature: of the annealed mean.
            saturation: factor on ab.
            rebalance: power of the rare-colour weights that multiply the probabilities; training
                with weights and multiplying by them afterwards meet at the same distribution.
        """
        self.temperature, self.saturation = temperature, saturation
        weights = bins.rebalancing_weights(bins.prior(), power=rebalance)
        self.tilt.copy_(torch.from_numpy(weights).log())

    def center(self, logits: Tensor) -> None:
        """Shifts the logits so that those given become normalised on average.

        It changes no colour. It keeps the exponentials near 1, far from float16's ends.
        """
        self.tilt -= torch.logsumexp(logits + self.tilt[:, None, None], 1).mean()

    def annealed_mean(self, logits: Tensor) -> Tensor:
        sharp = (logits + self.tilt[:, None, None]) / self.temperature
        if self.temperature < COLD:
            sharp = sharp - sharp.amax(1, keepdim=True)
        # exp(20) * 110 * 313 is far from float32's end; the shift is for a float16 engine.
        weight = torch.exp(torch.clamp(sharp, max=20.0))  # (N, 313, h, w)
        points = torch.from_numpy(bins.centers()).to(logits)
        kernel = torch.cat([points * self.saturation, torch.ones_like(points[:, :1])], 1)
        sums = F.conv2d(weight, kernel.T[:, :, None, None])  # (N, 3, h, w)
        return sums[:, :2] / sums[:, 2:]
