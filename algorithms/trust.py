"""How far one result can be believed, pixel by pixel: misfit, what the data could not tell, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from algorithms.classical import tikhonov

NEAR, WIDE = 7, 25  # pixels a side: over which a share is averaged; slower than which nothing is a detail
ENOUGH = (1e-3, 500)  # tolerance and steps of the linear solve: a map is read by eye


def residual_scores(op: Any, x: Tensor, y: Tensor, variance: Tensor | float) -> Tensor:
    """(y - A x) / sigma for each sample of the data, summed over channels / sqrt(C): (B, 1, h, w).

    White noise of the believed level gives standard normal values without structure; what stands out was not
    explained. x (B, *op.img_size), y (B, *op.data_size), variance a number or like y; NaN where op.valid says
    that nothing was observed.

    >>> from imaging.masks import Identity
    >>> op = Identity((1, 1, 2))
    >>> residual_scores(op, torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.02, 0.0]]]]), 0.01**2)
    tensor([[[[2., 0.]]]])
    """
    scores = (y - op.A(x)) / torch.as_tensor(variance, dtype=y.dtype, device=y.device).sqrt()
    valid = getattr(op, "valid", None)
    if valid is not None:
        scores = scores.masked_fill(~valid, torch.nan)
    return scores.sum(1, keepdim=True) / scores.shape[1] ** 0.5


def undetermined_share(op: Any, x: Tensor, *, lam: float, faint: float) -> Tensor:
    """The share of the detail around each pixel of x that the data could not have determined, in [0, 1].

    What the data determine of x is what the best linear estimate gets back from A x: s = R A x with R =
    (A^T A + lam D^T D)^-1 A^T. For lam = sigma^2 / c this is Wiener's filter for noise sigma and a signal of
    spectrum c / |f|^2: frequencies that the blur has pushed below the noise, and pixels that a mask has
    taken, are missing in s. The rest u = x - s was made by the method. The share is |u|^2 / (|u|^2 + |d|^2)
    over a window of NEAR pixels, d the detail of s, changes over more than WIDE pixels left out; where both
    are below `faint`, the rms of what does not count as detail, it falls to 0. On the window of op,
    (B, 1, H, W).

    >>> from imaging.masks import Identity
    >>> undetermined_share(Identity((1, 8, 8)), torch.rand(1, 1, 8, 8), lam=1e-9, faint=0.01).max() < 1e-3
    tensor(True)
    """
    seen = tikhonov(op, op.A(x), lam=lam, rtol=ENOUGH[0], max_iter=ENOUGH[1])
    made, seen = op.window(x - seen), op.window(seen)
    detail = seen - _smooth(seen, WIDE)
    own, theirs = (_smooth(part.square().mean(1, keepdim=True), NEAR) for part in (made, detail))
    return own / (own + theirs + faint**2)


def scatter(results: Sequence[Tensor]) -> Tensor:
    """The standard deviation of each pixel over results (B, C, H, W), rms over channels: (B, 1, H, W).

    ValueError for fewer than two.

    >>> scatter([torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)])
    tensor([[[[1.4142]]]])
    """
    if len(results) < 2:
        message = f"the scatter of {len(results)} results was asked for: give two or more."
        raise ValueError(message)
    return torch.stack(list(results)).var(0).mean(1, keepdim=True).sqrt()


def _smooth(x: Tensor, width: int) -> Tensor:
    """The mean over a square twice (nearly a Gaussian), of what there is of it at the borders."""
    for _ in range(2):
        x = avg_pool2d(x, width, stride=1, padding=width // 2, count_include_pad=False)
    return x
