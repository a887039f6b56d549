"""The colour decoder of DDColor: learned queries that attend to features of several scales.

Submodules are named as in the public files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

HEADS = 8
TEMPERATURE = 10_000.0  # of the sine encoding (Vaswani et al. 2017)


class Attention(nn.Module):
    """Multi-head attention with the parameters of `nn.MultiheadAttention`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * channels))
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (N, Q, C), key and value (N, K, C). Returns (N, Q, C)."""
        size = self.out_proj.in_features
        q, k, v = (
            self._heads(
                nn.functional.linear(
                    x, self.in_proj_weight[i : i + size], self.in_proj_bias[i : i + size]
                )
            )
            for x, i in ((query, 0), (key, size), (value, 2 * size))
        )
        q = q / math.sqrt(size // HEADS)
        share = torch.softmax(q @ k.transpose(2, 3), -1)  # (N, HEADS, Q, K)
        return self.out_proj((share @ v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, K, C) to (N, HEADS, K, C / HEADS)."""
        return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


class CrossAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.multihead_attn = Attention(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, features: Tensor, *, place: Tensor, own: Tensor) -> Tensor:
        """x (N, Q, C), features (N, K, C); place (K, C) and own (Q, C) say where and who."""
        return self.norm(x + self.multihead_attn(x + own, features + place, features))


class SelfAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.self_attn = Attention(channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, *, own: Tensor) -> Tensor:
        """x (N, Q, C), own (Q, C)."""
        return self.norm(x + self.self_attn(x + own, x + own, x))


class FeedForward(nn.Module):
    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, inner)
        self.linear2 = nn.Linear(inner, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.linear2(torch.relu(self.linear1(x))))


class ColorDecoder(nn.Module):
    """Features of several scales (coarsest first) to the embeddings of the queries."""

    def __init__(
        self,
        channels: Sequence[int],
        *,
        hidden: int,
        queries: int,
        layers: int,
        inner: int,
        out: int,
    ) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(queries, hidden)
        self.query_embed = nn.Embedding(queries, hidden)
        self.level_embed = nn.Embedding(len(channels), hidden)
        self.input_proj = nn.ModuleList(nn.Conv2d(c, hidden, 1) for c in channels)
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttention(hidden) for _ in range(layers)
        )
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttention(hidden) for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForward(hidden, inner) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(hidden)
        layers_of_embedding = [nn.Linear(hidden, h) for h in (hidden, hidden, out)]
        self.color_embed = nn.ModuleDict({"layers": nn.ModuleList(layers_of_embedding)})

    def forward(self, scales: list[Tensor]) -> Tensor:
        """scales: (N, C, h, w) each. Returns (N, queries, out)."""
        hidden = self.query_feat.embedding_dim
        places = [sine_encoding(x, hidden) for x in scales]
        features = [
            project(x).flatten(2).transpose(1, 2) + level  # (N, h w, hidden)
            for project, x, level in zip(
                self.input_proj, scales, self.level_embed.weight, strict=True
            )
        ]
        own = self.query_embed.weight
        x = self.query_feat.weight.expand(scales[0].shape[0], -1, -1)
        for i, (cross, among, forward) in enumerate(
            zip(
                self.transformer_cross_attention_layers,
                self.transformer_self_attention_layers,
                self.transformer_ffn_layers,
                strict=True,
            )
        ):
            scale = i % len(scales)
            x = cross(x, features[scale], place=places[scale], own=own)
            x = forward(among(x, own=own))
        first, second, last = self.color_embed["layers"].children()
        x = torch.relu(first(self.decoder_norm(x)))
        return last(torch.relu(second(x)))


def sine_encoding(x: Tensor, channels: int) -> Tensor:
    """Where each feature of x (N, C, h, w) lies: (h w, channels), y first, sine and cosine."""
    _, _, height, width = x.shape
    half = channels // 2
    pairs = torch.arange(half, dtype=torch.float32) // 2
    wavelength = TEMPERATURE ** (2 * pairs / half)
    even = torch.arange(half) % 2 == 0

    def along(count: int) -> Tensor:
        steps = torch.arange(1, count + 1, dtype=torch.float32)
        angle = (steps / (count + 1e-6) * (2 * math.pi))[:, None] / wavelength
        return torch.where(even, angle.sin(), angle.cos())  # (count, half)

    rows = along(height)[:, None].expand(height, width, half)
    columns = along(width)[None].expand(height, width, half)
    return torch.cat([rows, columns], 2).flatten(0, 1)
