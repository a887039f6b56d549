"""Spreads a training step over CPU cores: each thread takes its own part of the batch.

PyTorch's own threads wait for each other at every operation, some six hundred times a step. On a
machine with other work they wait for the slowest core: a step took up to twelve times as long.
Threads with parts of a batch wait for each other once.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn


class SplitStep:
    """Forward and backward of a batch on several threads; use as a context manager.

    The threads' models share the weights and buffers of `model` and keep gradients of their own,
    which are summed into those of `model`.
    """

    def __init__(self, model: nn.Module, loss_of: nn.Module, *, threads: int) -> None:
        self._models = [model] + [_twin(model) for _ in range(threads - 1)]
        self._loss_of = loss_of
        self._pool = ThreadPoolExecutor(
            threads, "step", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> SplitStep:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def backward(self, L: Tensor, ab: Tensor) -> float:
        """Leaves the batch's gradients in the model and returns its mean loss."""
        for model in self._models:
            model.train()
            model.zero_grad(set_to_none=True)
        parts = list(zip(L.chunk(len(self._models)), ab.chunk(len(self._models)), strict=True))
        if len(self._models) == 1:
            return self._part(0, L, ab, 1.0)
        futures = [
            self._pool.submit(self._part, i, part, truth, len(part) / len(L))
            for i, (part, truth) in enumerate(parts)
        ]
        loss = sum(future.result() for future in futures)
        first, *others = self._models
        for twin in others:
            for target, source in zip(first.parameters(), twin.parameters(), strict=True):
                if source.grad is not None:
                    target.grad = source.grad if target.grad is None else target.grad + source.grad
        return loss

    def _part(self, index: int, L: Tensor, ab: Tensor, share: float) -> float:
        model = self._models[index]
        predict = getattr(model, "logits", model)
        with torch.autocast(L.device.type, torch.bfloat16):
            output = predict(L.contiguous(memory_format=torch.channels_last))
        loss = self._loss_of(output, ab) * share
        loss.backward()
        return float(loss.detach())


def _twin(model: nn.Module) -> nn.Module:
    """Returns a model on the same weights and buffers, with gradients of its own."""
    twin = copy.deepcopy(model)
    for own, shared in zip(twin.parameters(), model.parameters(), strict=True):
        own.data = shared.data
    for buffer, shared_buffer in zip(twin.buffers(), model.buffers(), strict=True):
        buffer.data = shared_buffer.data
    return twin
