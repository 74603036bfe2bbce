"""All windows of a picture as one matrix, so that a frame of filters is a product of matrices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def analysis(picture: Tensor, filters: Tensor) -> Tensor:
    """Responses (B, K, H - s + 1, W - s + 1) of filters (K, C, s, s) on a picture (B, C, H, W).

    What `conv2d` computes. With few channels, copying the windows and one product of matrices is the faster
    way, by far so for the transpose.

    >>> analysis(torch.ones(1, 1, 4, 3), torch.ones(2, 1, 3, 3)).flatten()
    tensor([9., 9., 9., 9.])
    """
    result: Tensor = _Analysis.apply(picture, filters)
    return result


def synthesis(responses: Tensor, filters: Tensor) -> Tensor:
    """The transpose of `analysis`: (B, C, h + s - 1, w + s - 1) from responses (B, K, h, w).

    >>> synthesis(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 2, 2)).squeeze()
    tensor([[1., 2., 1.],
            [1., 2., 1.]])
    """
    result: Tensor = _Synthesis.apply(responses, filters)
    return result


class _Analysis(torch.autograd.Function):
    """W z; derivatives W^T g and g z^T, the windows being cut out once more rather than kept."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(picture, filters)
        return _apply(filters, picture)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """W^T g, and g z^T."""
        picture, filters = ctx.saved_tensors
        g = grads[0].contiguous()
        return (
            _apply_transpose(filters, g) if ctx.needs_input_grad[0] else None,
            _correlate(g, picture, filters) if ctx.needs_input_grad[1] else None,
        )


class _Synthesis(torch.autograd.Function):
    """W^T v; derivatives W g and v g^T."""

    @staticmethod
    def forward(ctx: Any, responses: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(responses, filters)
        return _apply_transpose(filters, responses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """W g, and v g^T."""
        responses, filters = ctx.saved_tensors
        g = grads[0]
        return (
            _apply(filters, g) if ctx.needs_input_grad[0] else None,
            _correlate(responses, g, filters) if ctx.needs_input_grad[1] else None,
        )


def _windows(picture: Tensor, side: int) -> Tensor:
    """(B, C side side, N): a column a window."""
    cut = picture.unfold(2, side, 1).unfold(3, side, 1).permute(0, 1, 4, 5, 2, 3)
    return cut.reshape(len(picture), picture.shape[1] * side * side, -1)


def _apply(filters: Tensor, picture: Tensor) -> Tensor:
    side = filters.shape[2]
    height, width = (n - side + 1 for n in picture.shape[2:])
    responses = torch.bmm(_batch(filters.flatten(1), picture), _windows(picture, side))
    return responses.view(len(picture), len(filters), height, width)


def _apply_transpose(filters: Tensor, responses: Tensor) -> Tensor:
    """Windows added up at their places, first along rows, then along columns: 2 s additions, not s^2."""
    (batch, _, height, width), (_, channels, side, _) = responses.shape, filters.shape
    patches = torch.bmm(_batch(filters.flatten(1).t(), responses), responses.flatten(2))
    patches = patches.view(batch, channels, side, side, height, width)
    rows = responses.new_zeros(batch, channels, side, height, width + side - 1)
    picture = responses.new_zeros(batch, channels, height + side - 1, width + side - 1)
    for k in range(side):
        rows[..., k : k + width] += patches[:, :, :, k]
    for k in range(side):
        picture[:, :, k : k + height] += rows[:, :, k]
    return picture


def _correlate(responses: Tensor, picture: Tensor, filters: Tensor) -> Tensor:
    """The derivative of <responses, W picture> by the filters."""
    products = torch.bmm(responses.flatten(2), _windows(picture, filters.shape[2]).transpose(1, 2))
    return products.sum(0).view(filters.shape)


def _batch(matrix: Tensor, like: Tensor) -> Tensor:
    return matrix.expand(len(like), -1, -1)
