"""Stein's unbiased estimate of the risk of A x, minimised over the weight of a solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from algorithms.choose import Choice, decimates
from algorithms.state import State
from imaging.blur import PaddedBlur, WindowedBlur
from imaging.fft import irfft2
from imaging.masks import Masked
from imaging.operator import factored

RATIO = 1.5  # between neighbouring weights tried; the criterion is a parabola over such a step
LIMIT = 16  # tries to either side of the start: a factor of 650
PROBE = 0.3  # size of the perturbation that measures the divergence, in units of the noise

Solver = Callable[[Tensor, float, State | None], State]


def sure_weight(
    op: Any, y: Tensor, solver: Solver, *, variance: Tensor | float, start: float, seed: int
) -> Choice:
    """The weight at which A x, x = solver(y, weight, warm).x, is expected nearest to the noise-free data.

    Minimises sum (A x - y)^2 / variance + 2 div(A x) - n over the observed pixels, the divergence measured by
    one random perturbation (Stein 1981; Ramani, Blu, Unser 2008). Right for independent noise of known
    variance (a number, or a picture like y), not for JPEG or resized pictures. The solver gets y and y plus
    the perturbation as one batch, the weight, and the State of the try before. Tries start, its neighbours a
    factor 1.5 apart until the minimum is bracketed, and takes the vertex of the parabola through the last
    three; start itself when there is no minimum within a factor 1.5^LIMIT, as with noise that is not white.
    """
    generator = torch.Generator().manual_seed(seed)
    probe = torch.empty(y.shape, dtype=y.dtype).bernoulli_(0.5, generator=generator).mul_(2).sub_(1).to(y)
    valid = torch.ones_like(y) if op.valid is None else op.valid.to(y).expand(y.shape)
    spread = torch.as_tensor(variance, dtype=y.dtype, device=y.device).expand(y.shape)
    step = PROBE * float(spread.mean()) ** 0.5
    pair = torch.cat([y, y + step * probe])
    scores: dict[int, float] = {}
    warm: State | None = None

    def score(k: int) -> float:
        """The estimate at the k-th weight, computed once; each solve begins where the last one ended."""
        nonlocal warm
        if k not in scores:
            warm = solver(pair, start * RATIO**k, warm)
            fit, moved = op.A(warm.x).chunk(2)
            misfit = torch.where(valid > 0, (fit - y).square() / spread, 0).double().sum()
            divergence = (valid * probe * (moved - fit)).double().sum() / step
            scores[k] = float((misfit + 2 * divergence) / valid.sum())
        return scores[k]

    k, nearer = 0, min((-1, 0, 1), key=score)
    while nearer != k and abs(k) < LIMIT:
        k = nearer
        nearer = min((k - 1, k, k + 1), key=score)
    shift, rise = _vertex([score(k - 1), score(k), score(k + 1)])
    if nearer != k:  # coloured noise looks like signal, and the risk seems to fall for ever
        return Choice(start, "first guess, the risk has no minimum near it", (0.0, 0.0))
    return Choice(start * RATIO ** (k + shift), "sure", rise)


def _vertex(values: list[float]) -> tuple[float, tuple[float, float]]:
    """Vertex of the parabola through -1, 0, 1, and its relative rise at half and twice the weight there."""
    low, middle, high = values
    bend = low - 2 * middle + high
    if bend <= 0 or not math.isfinite(bend):
        return 0.0, (0.0, 0.0)
    shift = max(-1.0, min(1.0, (low - high) / (2 * bend)))
    octave = math.log(2) / math.log(RATIO)
    rise = bend / 2 * octave**2 / max(abs(middle), 1e-12)
    return shift, (rise, rise)


def typical_windows(op: Any, y: Tensor, *, side: int, count: int) -> tuple[Any, Tensor]:
    """A small problem that stands for a large one: count windows of side x side pixels with unknown borders.

    The windows are those at even quantiles of the local variance among the tiles of the picture without
    masked pixels; the psf is read off the operator's transfer function. The problem itself comes back when it
    is not larger, is not a plain blur, or has too few whole tiles.
    """
    transfer, (h, w) = _transfer(op), y.shape[-2:]
    if transfer is None or h * w <= count * side * side or len(transfer[0]) != 1 or decimates(op, y):
        return op, y
    psf = psf_of(*transfer)
    tiles = y.unfold(-2, side, side).unfold(-2, side, side).movedim((2, 3), (0, 1)).flatten(0, 2)
    whole = torch.ones(len(tiles), dtype=torch.bool)
    if op.valid is not None:
        cover = op.valid.to(y).expand(y.shape)
        cover = cover.unfold(-2, side, side).unfold(-2, side, side).movedim((2, 3), (0, 1)).flatten(0, 2)
        whole = (cover > 0).flatten(1).all(1)
    tiles = tiles[whole.to(tiles.device)]
    if len(tiles) < count or max(psf.shape[-2:]) > side // 2:
        return op, y
    order = tiles.flatten(1).var(1).argsort()
    picks = [int((i + 0.5) * len(tiles) / count) for i in range(count)]
    return WindowedBlur(psf.to(y), (y.shape[1], side, side)), tiles[order[picks]].contiguous()


def plain_blur(op: Any, y: Tensor) -> Any | None:
    """A blur with unknown borders that explains the same data: what rules in frequency can be asked about.

    op itself where it has a structure, its psf behind a window where only the border differs; None for grids
    of psfs and for decimation.
    """
    transfer = _transfer(op)
    if transfer is None or len(transfer[0]) != 1 or decimates(op, y):
        return None
    if factored(op) is not None:
        return op
    blur = WindowedBlur(psf_of(*transfer).to(y), (y.shape[1], y.shape[2], y.shape[3]))
    return blur if op.valid is None else Masked(blur, op.valid)


def _transfer(op: Any) -> tuple[Tensor, tuple[int, int]] | None:
    """Transfer function and the size of its field of a blur by one psf, whatever its border and mask."""
    structure = factored(op)
    if structure is not None:
        return structure.otf, (op.img_size[-2], op.img_size[-1])
    inner = op.op if isinstance(op, Masked) else op
    if not isinstance(inner, PaddedBlur):
        return None
    return inner.otf, (inner.otf.shape[-2], 2 * (inner.otf.shape[-1] - 1))  # good sizes are even


def psf_of(otf: Tensor, size: tuple[int, int]) -> Tensor:
    """The psf with this transfer function, odd sides, the centre in the middle, cut to its support."""
    H, W = size
    field = irfft2(otf, size).roll((H // 2, W // 2), (-2, -1))
    strong = field.abs() > 1e-6 * field.abs().max()
    rows, columns = strong.flatten(0, 1).any(0).any(1), strong.flatten(0, 1).any(0).any(0)
    reach = max(
        *(int((at.nonzero() - n // 2).abs().max()) for at, n in ((rows, H), (columns, W))),
        1,
    )
    reach_rows, reach_columns = min(reach, (H - 1) // 2), min(reach, (W - 1) // 2)
    return field[
        ...,
        H // 2 - reach_rows : H // 2 + reach_rows + 1,
        W // 2 - reach_columns : W // 2 + reach_columns + 1,
    ]
