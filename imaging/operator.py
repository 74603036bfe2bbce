"""What an operator is: a small frozen object that is also a deepinv LinearPhysics."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from deepinv.physics import LinearPhysics, ZeroNoise
from torch import Tensor

from imaging.fft import half_weights, irfft2, power_of, rfft2
from imaging.frame import Frame
from imaging.linsolve import Linear, SolveError, conjugate_gradient, default_rtol, implicit_solve

Shape = tuple[int, int, int]

MISS = 1e-4  # of the largest unseen value may be left out where two bands cross; what remains is solved for
WORTH = 0.25  # of the field's pixels for a step on the frame: with more, the whole field is as quick
ROUGH = 1e-3  # of the unseen may be left by a solve on the frame
AGAIN = {torch.float32: 1, torch.float64: 3}  # solves for what the first left
EFFORT = 10  # steps on the field that one may cost


class Factored(NamedTuple):
    """A = S K: a circular convolution K on the field, then a selection S of samples (crop, mask, decimation).

    otf is K's complex half spectrum (1|B, 1|C, H, W // 2 + 1); select maps the field to the data, scatter is
    its transpose, and select(scatter(y)) = y wherever y is observed. keep is scatter(select(x)) written over
    x, for those who own x; None where there is nothing quicker than the two. frame is what S hides, where S
    does nothing but cut out a window.
    """

    otf: Tensor
    select: Linear
    scatter: Linear
    keep: Linear | None = None
    frame: Frame | None = None

    def observed(self, x: Tensor) -> Tensor:
        """scatter(select(x)), with x lost."""
        return self.scatter(self.select(x)) if self.keep is None else self.keep(x)


def _same(x: Tensor, **_: object) -> Tensor:
    """At module level so that operators can be pickled: deepinv's defaults are lambdas."""
    return x


class LinearOperator(LinearPhysics):
    """Base of all operators: give img_size, data_size and parts, write A and A_adjoint, and the rest follows.

    x is (B, *img_size), y is (B, *data_size), both of the operator's own dtype and device: anything else is a
    TypeError or ValueError, because silent casts hide mistakes; move the operator with .to(). parts become
    buffers (tensors, real ones: .to(dtype) would cut the imaginary part off a complex one), submodules or
    attributes, and then the object is frozen: another psf means another operator. Noise is off, so op(x)
    equals op.A(x).
    """

    exact_prox: bool = False  # is prox_l2 a closed form?
    prox_max_iter: ClassVar[int] = 2000
    img_size: Shape
    data_size: Shape
    batch: int = 1  # how many samples the operator tells apart (psfs of shape (B, ...)); 1: any number

    def __init__(self, img_size: Shape, data_size: Shape, parts: Mapping[str, object]) -> None:
        img_size, data_size = checked_size(img_size), checked_size(data_size)
        super().__init__(A=_same, sensor_model=_same, img_size=img_size, noise_model=ZeroNoise(_same))
        self.data_size = data_size
        kind = None
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
                kind = part if part.is_floating_point() else kind
            else:
                setattr(self, name, part)
        # An empty tensor that follows .to() and so knows the dtype and device; none: whatever comes is right.
        self.register_buffer("_kind", None if kind is None else kind.new_empty(0), persistent=False)
        self.__dict__["_frozen"] = True

    def __setattr__(self, name: str, value: object) -> None:
        if self.__dict__.get("_frozen") and name not in ("training", "noise_model"):
            message = (
                f"cannot set {name!r} on {type(self).__name__}: operators are frozen, build another one."
            )
            raise AttributeError(message)
        super().__setattr__(name, value)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """The noise-free data A x, shape (B, *data_size)."""
        message = f"{type(self).__name__} does not say what A is."
        raise NotImplementedError(message)

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """The exact transpose A^T y, shape (B, *img_size)."""
        message = f"{type(self).__name__} does not say what A_adjoint is."
        raise NotImplementedError(message)

    def norm_bound(self) -> float:
        """A proven upper bound of the largest singular value of A (power iteration would err to the wrong
        side).
        """
        message = f"{type(self).__name__} has no proven bound of its norm: implement norm_bound()."
        raise NotImplementedError(message)

    def factored(self) -> Factored | None:
        """A as a selection after a circular convolution, or None when it is not one."""
        return None

    @property
    def valid(self) -> Tensor | None:
        """Which data are observed: a boolean mask that broadcasts over (B, *data_size), or None for all of
        them.
        """
        return None

    def embed(self, y: Tensor) -> Tensor:
        """A plausible picture (B, *img_size) for data y, to start from."""
        return self.A_adjoint(y)

    def window(self, x: Tensor) -> Tensor:
        """The part of x that is the result: what the sensor looked at."""
        return x

    def precondition(self, gamma: Tensor | float) -> Linear | None:
        """A symmetric positive definite guess of (I + gamma A^T A)^-1 for pictures, or None."""
        return None

    def prox_l2(
        self,
        z: Tensor | float | None,
        y: Tensor,
        gamma: Tensor | float,
        *,
        rtol: float | None = None,
        max_iter: int | None = None,
        **_: object,
    ) -> Tensor:
        """argmin over x of gamma/2 |A x - y|^2 + |x - z|^2 / 2; gamma > 0, a number or one a sample.

        Here by preconditioned conjugate gradients: (I + gamma A^T A) x = z + gamma A^T y is solved to the
        relative residual rtol (1e-5 in float32, 1e-10 in float64), which is recomputed at the end (where A is
        blind, the error of x is the residual, so large gamma is for float64); SolveError when max_iter steps
        miss it. Differentiable in z, y and gamma. Operators with exact_prox need neither option.
        """
        gamma = column(gamma, y)
        b = self.A_adjoint(y) * gamma
        z = torch.full_like(b, float(z or 0)) if not isinstance(z, Tensor) else z
        rtol, max_iter = rtol or default_rtol(b.dtype), max_iter or self.prox_max_iter
        fixed = gamma.detach() if isinstance(gamma, Tensor) else gamma

        def solve(right: Tensor, x0: Tensor | None) -> Tensor:
            return self._solve_normal(right, fixed, x0, (rtol, max_iter))

        return implicit_solve(z + b, gamma, solve, self.A_adjoint_A, x0=z.detach())

    def _solve_normal(
        self, b: Tensor, gamma: Tensor | float, x0: Tensor | None, budget: tuple[float, int]
    ) -> Tensor:
        rtol, max_iter = budget
        structure = self.factored()
        if structure is not None:
            return solve_in_frequency(structure, b, gamma, x0=x0, budget=budget)
        return conjugate_gradient(
            lambda v: v + gamma * self.A_adjoint(self.A(v)),
            b,
            x0=x0,
            precondition=self.precondition(gamma),
            rtol=rtol,
            max_iter=max_iter,
        )

    def A_dagger(self, y: Tensor, **_: object) -> Tensor:
        """The least-squares solution of smallest norm, by conjugate gradients on A^T A x = A^T y.

        SolveError where blur and noise make that hopeless: prox_l2(z, y, gamma) is the stable question to
        ask.
        """
        b = self.A_adjoint(y)
        rtol = default_rtol(b.dtype)
        return conjugate_gradient(self.A_adjoint_A, b, rtol=rtol, max_iter=self.prox_max_iter)

    def clone(self) -> LinearOperator:
        """A deep copy; deepinv's search for random generators, slow, only where its noise is switched on."""
        return copy.deepcopy(self) if isinstance(self.noise_model, ZeroNoise) else super().clone()

    def _expect(self, x: Tensor, size: Shape, what: str) -> None:
        """Refuse a tensor of another shape, dtype or device; a few attribute reads, so it may run in every
        call.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != size:
            wanted = ", ".join(str(n) for n in size)
            message = f"{type(self).__name__} got {what} of shape {tuple(x.shape)}, wanted (B, {wanted})."
            raise ValueError(message)
        if self.batch not in (1, x.shape[0]):
            name, count = type(self).__name__, x.shape[0]
            message = (
                f"{name} holds {self.batch} psfs or masks, one a sample, but {what} has {count} samples."
            )
            raise ValueError(message)
        kind = self._kind
        if kind is not None and (x.dtype != kind.dtype or x.device != kind.device):
            message = (
                f"{type(self).__name__} is {kind.dtype} on {kind.device} "
                f"but {what} is {x.dtype} on {x.device}: move one of them with .to()."
            )
            raise TypeError(message)


def checked_size(size: Shape) -> Shape:
    """(C, H, W) as positive integers; ValueError otherwise."""
    numbers = tuple(int(n) for n in size)
    if len(numbers) != 3 or min(numbers) < 1:
        message = f"a size is (channels, rows, columns), all at least 1, got {tuple(size)}."
        raise ValueError(message)
    return numbers  # type: ignore[return-value]


def column(gamma: Tensor | float, like: Tensor) -> Tensor | float:
    """gamma as a number or as a tensor that broadcasts sample by sample, of like's dtype and device."""
    if not isinstance(gamma, Tensor):
        if not gamma > 0 or not math.isfinite(gamma):
            message = f"gamma is {gamma}, wanted a positive finite number."
            raise ValueError(message)
        return float(gamma)
    gamma = gamma.to(like)
    return gamma if gamma.ndim == 0 else gamma.reshape(gamma.shape[0], *[1] * (like.ndim - 1))


def solve_in_frequency(
    structure: Factored,
    b: Tensor,
    gamma: Tensor | float,
    *,
    x0: Tensor | None,
    budget: tuple[float, int],
    base: Tensor | float = 1.0,
) -> Tensor:
    """Solve (P + gamma K^T S^T S K) x = b with the unknown kept as a half spectrum, by conjugate gradients.

    P has the eigenvalues base (1: the identity; else a real half spectrum, 0 allowed where K sees). There K
    and the best circulant preconditioner base + gamma share |otf|^2 (T. Chan 1988; share = observed part of
    the field) are diagonal, so a step costs two FFTs instead of six. The spectrum is weighted by the
    square root of how often each column occurs, which makes the plain inner product the one of the pictures.
    Where only a frame is unseen, x0 is not needed: the data there are solved for first, on the frame alone,
    and once more for what that left, which is nearly always enough.
    """
    size = (b.shape[-2], b.shape[-1])
    weights = half_weights(size[1], b).sqrt()
    otf = structure.otf
    into, back = otf / weights, otf.conj() * weights * gamma
    share = structure.observed(torch.ones_like(b)).mean((1, 2, 3), keepdim=True)
    power = power_of(otf)
    diagonal = (power * (gamma * share) + base).unsqueeze(-1)
    given, base = base, torch.as_tensor(base).to(diagonal).unsqueeze(-1)
    # Large arrays are new memory, and costly, wherever one is made: the steps share these.
    filtered = otf.new_empty((*b.shape[:-1], otf.shape[-1]))
    guess = torch.view_as_real(torch.empty_like(filtered))

    def normal(v: Tensor) -> Tensor:
        torch.mul(torch.view_as_complex(v), into, out=filtered)
        seen = structure.observed(irfft2(filtered, size))
        return torch.view_as_real(rfft2(seen).mul_(back)).addcmul_(base, v)

    def weighted(x: Tensor) -> Tensor:
        return torch.view_as_real(rfft2(x).mul_(weights))

    rtol, max_iter = budget
    right, start = weighted(b), None
    if structure.frame is not None:
        start = _by_frame(structure.frame, right, normal, (power * gamma, given), (into, back))
    if start is None and x0 is not None:
        start = weighted(x0)
    x = conjugate_gradient(
        normal,
        right,
        x0=start,
        precondition=lambda r: torch.div(r, diagonal, out=guess),
        rtol=rtol,
        max_iter=max_iter,
    )
    return irfft2(torch.view_as_complex(x).div_(weights), size)


def _by_frame(
    frame: Frame,
    b: Tensor,
    normal: Linear,
    diagonals: tuple[Tensor, Tensor | float],
    around: tuple[Tensor, Tensor],
) -> Tensor | None:
    """Nearly (P + gamma K^T S^T S K)^-1 b, in weighted spectra; None where that saves nothing, or fails.

    With the data u that the frame would have shown x = F (b + gamma K^T u), F = (P + gamma K^T K)^-1, and u
    is K x there: (I - T) u = K F b, T = gamma K F K^T. What that leaves of normal(x) = b is solved for in the
    same way. diagonals = (gamma |otf|^2, P), around = (K, gamma K^T) for weighted spectra.
    """
    (power, base), (into, back) = diagonals, around
    inverse = 1 / (power + base)
    between = frame.between(power * inverse, miss=MISS, worth=WORTH)
    if between is None:
        return None
    steps = int(EFFORT / between.share)

    def solved(r: Tensor) -> Tensor:
        """Nearly the x that leaves r."""
        right = torch.view_as_complex(r) * inverse
        given = frame.take(irfft2(right * into, frame.field))
        u = conjugate_gradient(lambda v: v - between(v), given, rtol=ROUGH, max_iter=steps)
        return torch.view_as_real(rfft2(frame.put(u)).mul_(back).mul_(inverse).add_(right))

    try:
        x = solved(b)
        for _ in range(AGAIN[b.dtype]):
            x += solved(b - normal(x))
    except SolveError:
        return None
    return x


def embed(op: LinearPhysics, y: Tensor) -> Tensor:
    """op.embed(y), or A_adjoint(y) for an operator of deepinv's own."""
    return op.embed(y) if isinstance(op, LinearOperator) else op.A_adjoint(y)


def window(op: LinearPhysics, x: Tensor) -> Tensor:
    """op.window(x), or x itself for an operator of deepinv's own."""
    return op.window(x) if isinstance(op, LinearOperator) else x


def factored(op: LinearPhysics) -> Factored | None:
    """op.factored(), or None for an operator of deepinv's own."""
    return op.factored() if isinstance(op, LinearOperator) else None


def norm_bound(op: LinearPhysics) -> float:
    """op.norm_bound(); TypeError for an operator of deepinv's own, whose norm can only be estimated from
    below.
    """
    if isinstance(op, LinearOperator):
        return op.norm_bound()
    message = (
        f"{type(op).__name__} has no proven bound of its norm: give the step, or use an operator of imaging."
    )
    raise TypeError(message)
