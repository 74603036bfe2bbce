"""Pixels that are there and pixels that are not."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.functional import pad as pad_tensor

from imaging.linsolve import Linear
from imaging.operator import Factored, LinearOperator, Shape, checked_size, column


def checked_mask(mask: Tensor, size: Shape) -> Tensor:
    """Boolean mask (1|B, 1|C, h, w), True where a pixel is valid; ValueError for other shapes and values."""
    if mask.ndim != 4 or mask.shape[1] not in (1, size[0]) or tuple(mask.shape[2:]) != tuple(size[1:]):
        message = (
            f"mask has shape {tuple(mask.shape)}, wanted (1 or B, 1 or {size[0]}, {size[1]}, {size[2]}): "
            "one value a data pixel."
        )
        raise ValueError(message)
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        message = "mask has values other than 0 and 1: a pixel is valid or it is not, threshold the mask."
        raise ValueError(message)
    if not bool((mask != 0).flatten(1).any(1).all()):
        message = "mask leaves no valid pixel: 1 (True) means valid, did you mean the opposite?"
        raise ValueError(message)
    return mask != 0


class Masked(LinearOperator):
    """y = op x where mask is 1, 0 elsewhere; what the data hold at masked pixels, NaN included, is ignored.

    mask (1|B, 1|C, h, w), boolean or 0 and 1, has the shape of op's data. filled says that the data hold
    something plausible where they are masked, which is then what a picture starts from.

    >>> mask = torch.tensor([[[[True, False]]]])
    >>> Masked(Identity((1, 1, 2)), mask).A(torch.ones(1, 1, 1, 2))
    tensor([[[[1., 0.]]]])
    """

    op: LinearOperator
    hidden: Tensor
    filled: bool

    def __init__(self, op: LinearOperator, mask: Tensor, *, filled: bool = False) -> None:
        parts = {"op": op, "hidden": ~checked_mask(mask, op.data_size), "filled": filled}
        super().__init__(op.img_size, op.data_size, {**parts, "batch": max(op.batch, len(mask))})

    @property
    def valid(self) -> Tensor:
        """The mask, boolean; with op's own where that has one."""
        inner = self.op.valid
        return ~self.hidden if inner is None else inner & ~self.hidden

    def A(self, x: Tensor, **_: object) -> Tensor:
        """op.A(x) with zeros at masked pixels."""
        return self._hide(self.op.A(x))

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """op's adjoint of the valid data."""
        return self.op.A_adjoint(self._hide(y))

    def _hide(self, y: Tensor) -> Tensor:
        self._expect(y, self.data_size, "y")
        return y.masked_fill(self.hidden, 0)  # a product would keep NaN

    def norm_bound(self) -> float:
        """op's bound: masking cannot increase a norm."""
        return self.op.norm_bound()

    def factored(self) -> Factored | None:
        """op's structure with the mask in the selection."""
        inner = self.op.factored()
        if inner is None:
            return None
        keep = None if inner.keep is None else partial(self._keep, inner.keep)
        return Factored(
            inner.otf,
            lambda field: self._hide(inner.select(field)),
            lambda y: inner.scatter(self._hide(y)),
            keep,
        )

    def _keep(self, keep: Linear, field: Tensor) -> Tensor:
        seen = self.op.window(field)
        self._expect(seen, self.data_size, "a field")
        keep(field)
        seen.masked_fill_(self.hidden, 0)
        return field

    def embed(self, y: Tensor) -> Tensor:
        """The data with holes filled smoothly from around them, then op's way to its domain."""
        return self.op.embed(y if self.filled else fill(self._hide(y), self.valid))

    def window(self, x: Tensor) -> Tensor:
        """op's window: masked pixels are part of the result."""
        return self.op.window(x)


class Inpainting(LinearOperator):
    """y = mask x: known and unknown pixels, no blur; exact prox. mask (1|B, 1|C, h, w), boolean or 0 and 1.

    >>> op = Inpainting(torch.tensor([[[[1.0, 0.0]]]]), (1, 1, 2))
    >>> op.prox_l2(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 3.0)
    tensor([[[[0.7500, 0.0000]]]])
    """

    exact_prox = True
    hidden: Tensor

    def __init__(self, mask: Tensor, img_size: Shape) -> None:
        size = checked_size(img_size)
        super().__init__(size, size, {"hidden": ~checked_mask(mask, size), "batch": len(mask)})

    @property
    def valid(self) -> Tensor:
        """The mask, boolean."""
        return ~self.hidden

    def A(self, x: Tensor, **_: object) -> Tensor:
        """x with zeros at masked pixels."""
        self._expect(x, self.img_size, "x")
        return x.masked_fill(self.hidden, 0)

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """The same: a projection."""
        return self.A(y)

    def prox_l2(self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, **_: object) -> Tensor:
        """(z + gamma y) / (1 + gamma) at valid pixels, z elsewhere."""
        self._expect(y, self.data_size, "y")
        gamma = column(gamma, y)
        z = z if isinstance(z, Tensor) else torch.full_like(y, float(z or 0))
        return torch.where(self.hidden, z, (z + gamma * y) / (1 + gamma))

    def A_dagger(self, y: Tensor, **_: object) -> Tensor:
        """The projection is its own pseudo-inverse."""
        return self.A(y)

    def norm_bound(self) -> float:
        """1: a projection."""
        return 1.0

    def embed(self, y: Tensor) -> Tensor:
        """The data with holes filled smoothly from around them."""
        return fill(self.A(y), self.valid)


class Identity(LinearOperator):
    """y = x: denoising. Takes any floating dtype and device.

    >>> Identity((1, 1, 2)).prox_l2(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 1.0)
    tensor([[[[0.5000, 0.5000]]]])
    """

    exact_prox = True

    def __init__(self, img_size: Shape) -> None:
        super().__init__(img_size, img_size, {})

    def A(self, x: Tensor, **_: object) -> Tensor:
        """x itself."""
        self._expect(x, self.img_size, "x")
        return x

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """y itself."""
        return self.A(y)

    def prox_l2(self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, **_: object) -> Tensor:
        """(z + gamma y) / (1 + gamma)."""
        self._expect(y, self.data_size, "y")
        gamma = column(gamma, y)
        return ((0 if z is None else z) + gamma * y) / (1 + gamma)

    def A_dagger(self, y: Tensor, **_: object) -> Tensor:
        """y itself."""
        return self.A(y)

    def norm_bound(self) -> float:
        """1, the norm."""
        return 1.0

    def embed(self, y: Tensor) -> Tensor:
        """y itself."""
        return self.A(y)


def fill(y: Tensor, valid: Tensor) -> Tensor:
    """Data (B, C, h, w), every pixel outside the boolean mask filled from the finest scale that knows it.

    Push-pull (Gortler, Grzeszczuk, Szeliski, Cohen 1996): average valid pixels over 2 x 2 blocks until no
    hole is left, then come back, every hole taking the interpolated coarser value. y must be finite in the
    holes.

    >>> fill(torch.tensor([[[[1.0, 0.0, 3.0]]]]), torch.tensor([[[[True, False, True]]]])).shape
    torch.Size([1, 1, 1, 3])
    """
    weight = valid.to(y.dtype).expand(y.shape)
    if bool((weight > 0).all()) or max(y.shape[-2:]) == 1:
        return y
    even = (0, y.shape[-1] % 2, 0, y.shape[-2] % 2)
    sums, counts = (avg_pool2d(pad_tensor(part, even), 2) for part in (y * weight, weight))
    coarse = fill(sums / counts.clamp_min(1e-12), counts > 0)
    smooth = interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(weight > 0, y, smooth[..., : y.shape[-2], : y.shape[-1]])
