"""Conformance checks for operators and functions, ours or yours: each asserts one property.

    @pytest.mark.parametrize("check", operator_checks(), ids=lambda check: check.__name__)
    def test_my_operator(check):
        check(MyOperator(...))  # tiny and float64: every check builds the matrix

Tiny means some hundred pixels; odd sizes and a psf without symmetry find most mistakes.
"""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imaging.fft import convolve
from imaging.operator import LinearOperator

OperatorCheck = Callable[[LinearOperator], None]
FunctionCheck = Callable[[Any, Tensor], None]


def operator_checks() -> tuple[OperatorCheck, ...]:
    """Every check an operator of imaging has to pass.

    >>> from imaging.masks import Identity
    >>> for check in operator_checks():
    ...     check(Identity((1, 3, 4)))
    """
    return (
        *(check_adjoint, check_prox, check_norm_bound, check_factored, check_window, check_batch),
        *(check_pure, check_travels, check_float32, check_frozen, check_refuses),
    )


def function_checks() -> tuple[FunctionCheck, ...]:
    """Every check of a function f with value, perhaps grad, prox, value_at, prox_at, at x (B, C, H, W).

    >>> from imaging.fidelity import LeastSquares
    >>> from imaging.masks import Identity
    >>> y = torch.rand(2, 1, 3, 4, dtype=torch.float64)
    >>> for check in function_checks():
    ...     check(LeastSquares(Identity((1, 3, 4)), y), y / 2)
    """
    return check_value, check_grad, check_prox_is_argmin, check_prox_at, check_convex, check_function_pure


def dense(apply: Callable[[Tensor], Tensor], shape: tuple[int, ...], batch: int) -> Tensor:
    """The matrices (batch, m, n) of a linear map, one basis picture a column; only for tiny pictures."""
    n = math.prod(shape)
    basis = torch.eye(n, dtype=torch.float64).reshape(n, 1, *shape)
    columns = [apply(e.expand(batch, *shape)).reshape(batch, -1) for e in basis]
    return torch.stack(columns, -1)


def _draw(op: LinearOperator, size: tuple[int, ...], seed: int, batch: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch or op.batch, *size, generator=generator, dtype=torch.float64)


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(torch.finfo(torch.float64).tiny))


def check_adjoint(op: LinearOperator) -> None:
    """A_adjoint is the transposed matrix of A."""
    forward = dense(op.A, op.img_size, op.batch)
    gap = _gap(dense(op.A_adjoint, op.data_size, op.batch), forward.mT)
    assert gap <= 1e-12, f"the adjoint differs from the transposed matrix by {gap:.1e} of its norm"


def check_prox(op: LinearOperator) -> None:
    """prox_l2 solves the normal equations: exactly where exact_prox says so, else to 1e-7; gamma a number or
    a tensor.
    """
    matrix = dense(op.A, op.img_size, op.batch)
    z, y = _draw(op, op.img_size, 1), _draw(op, op.data_size, 2)
    eye = torch.eye(matrix.shape[-1], dtype=torch.float64)
    for gamma in (0.3, 40.0):
        right = z.flatten(1) + gamma * (matrix.mT @ y.flatten(1)[..., None])[..., 0]
        exact = torch.linalg.solve(eye + gamma * matrix.mT @ matrix, right)
        for given in (gamma, torch.full((op.batch, 1, 1, 1), gamma, dtype=torch.float64)):
            gap = _gap(op.prox_l2(z, y, given).flatten(1), exact)
            assert gap <= (1e-11 if op.exact_prox else 1e-7), (
                f"prox_l2 is {gap:.1e} away from the dense solution"
            )


def check_norm_bound(op: LinearOperator) -> None:
    """norm_bound is at least the largest singular value, and not absurdly more."""
    norm = float(torch.linalg.matrix_norm(dense(op.A, op.img_size, op.batch), 2).max())
    bound = op.norm_bound()
    assert bound >= norm, f"norm_bound is {bound:.16g}, the largest singular value is {norm:.16g}"
    assert bound <= 10 * norm, f"norm_bound is {bound:.3g}, more than ten times the norm {norm:.3g}"


def check_factored(op: LinearOperator) -> None:
    """Where A = S K is claimed, S K is A, S only selects, scatter is its transpose, and keep is S^T S."""
    structure = op.factored()
    if structure is None:
        return
    x, y = _draw(op, op.img_size, 3), _draw(op, op.data_size, 4)
    gap = _gap(structure.select(convolve(x, structure.otf)), op.A(x))
    assert gap <= 1e-12, f"select(otf x) differs from A x by {gap:.1e}"
    twist = float(((structure.select(x) * y).sum() - (x * structure.scatter(y)).sum()).abs())
    assert twist <= 1e-12 * float(x.norm() * y.norm()), "scatter is not the transpose of select"
    seen = structure.select(structure.scatter(y))
    assert torch.equal(seen, structure.select(structure.scatter(seen))), "select does more than select"
    kept = structure.scatter(structure.select(x))
    assert torch.equal(structure.observed(x.clone()), kept), "keep is not scatter after select"
    if structure.frame is not None:
        hidden = structure.frame.put(structure.frame.take(x))
        assert torch.equal(hidden + kept, x), "frame is not what select hides"


def check_window(op: LinearOperator) -> None:
    """embed(y) is a picture of the domain, and window of it is no larger than that."""
    y = _draw(op, op.data_size, 5).abs()
    start = op.embed(y)
    assert start.shape == (len(y), *op.img_size), (
        f"embed gives {tuple(start.shape)}, the domain is {op.img_size}"
    )
    seen = op.window(start)
    fits = all(a <= b for a, b in zip(seen.shape, start.shape, strict=True))
    assert fits and seen.dtype == start.dtype, f"window gives {tuple(seen.shape)} of {tuple(start.shape)}"
    assert float(start.max()) <= float(y.max()) * (1 + 1e-9), "embed overshoots the data"


def check_batch(op: LinearOperator) -> None:
    """A batch of three gives what three single pictures give."""
    if op.batch > 1:
        return
    x, y = _draw(op, op.img_size, 6, 3), _draw(op, op.data_size, 7, 3)
    pairs = [
        (op.A(x), [op.A(v[None]) for v in x]),
        (op.A_adjoint(y), [op.A_adjoint(v[None]) for v in y]),
        (op.prox_l2(x, y, 2.0), [op.prox_l2(v[None], w[None], 2.0) for v, w in zip(x, y, strict=True)]),
    ]
    solved = 1e-12 if op.exact_prox else 1e-10  # an iterative solve stops where all three are good enough
    for (together, singles), allowed in zip(pairs, (1e-12, 1e-12, solved), strict=True):
        gap = _gap(together, torch.cat(singles))
        assert gap <= allowed, f"a batch of three differs from its three pictures by {gap:.1e}"


def check_pure(op: LinearOperator) -> None:
    """No call changes its arguments, the operator, the random state or the default dtype; op(x) is A x,
    without noise.
    """
    x, y = _draw(op, op.img_size, 8), _draw(op, op.data_size, 9)
    before = _snapshot(op), x.clone(), y.clone(), torch.get_rng_state(), torch.get_default_dtype()
    forward = op.A(x)
    op.A_adjoint(y), op.prox_l2(x, y, 1.0), op.embed(y), op.window(x), op.norm_bound()
    assert torch.equal(x, before[1]) and torch.equal(y, before[2]), "an argument was changed"
    changed = [name for name, value in _snapshot(op).items() if not _same(value, before[0].get(name))]
    assert not changed, f"a call changed {changed}"
    same = torch.equal(torch.get_rng_state(), before[3]) and torch.get_default_dtype() == before[4]
    assert same, "a call changed the random state or the default dtype"
    assert torch.equal(op(x), forward), "op(x) is not A x: noise is on"


def _snapshot(op: LinearOperator) -> dict[str, Any]:
    plain = {k: copy.copy(v) for k, v in vars(op).items() if not k.startswith("_")}
    return plain | {k: v.clone() for k, v in op.named_buffers()}


def _same(a: object, b: object) -> bool:
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)


def check_travels(op: LinearOperator) -> None:
    """A deep copy, a clone and a pickle are the same operator."""
    x = _draw(op, op.img_size, 10)
    for twin in (copy.deepcopy(op), op.clone(), pickle.loads(pickle.dumps(op))):
        same = torch.equal(twin.A(x), op.A(x)) and twin.norm_bound() == op.norm_bound()
        assert same, "a copy of the operator is another operator"


def check_float32(op: LinearOperator) -> None:
    """After .to(float32) everything is close to float64, and is float32."""
    single = copy.deepcopy(op).to(torch.float32)
    x, y = _draw(op, op.img_size, 11), _draw(op, op.data_size, 12)
    pairs = [
        ("A", single.A(x.float()), op.A(x)),
        ("A_adjoint", single.A_adjoint(y.float()), op.A_adjoint(y)),
        ("prox_l2", single.prox_l2(x.float(), y.float(), 3.0), op.prox_l2(x, y, 3.0)),
    ]
    for name, low, high in pairs:
        gap = _gap(low.double(), high)
        assert low.dtype == torch.float32 and gap <= 1e-4, (
            f"{name} in float32 is off by {gap:.1e} ({low.dtype})"
        )


def check_frozen(op: LinearOperator) -> None:
    """Attributes cannot be set, except the two deepinv needs."""
    for name in ("img_size", "max_iter", "psf"):
        try:
            setattr(op, name, 1)
        except AttributeError:
            continue
        raise AssertionError(f"setting {name!r} changed the operator, it should be frozen")  # noqa: EM102
    op.noise_model = op.noise_model
    op.train(op.training)


def check_refuses(op: LinearOperator) -> None:
    """Data and pictures of another size are a ValueError, not a broadcast."""
    channels, h, w = op.img_size
    wrong = torch.zeros(op.batch, channels, h + 1, w, dtype=torch.float64)
    for name, apply in (("A", op.A), ("A_adjoint", op.A_adjoint)):
        size = (
            (channels, h + 1, w) if name == "A" else (op.data_size[0], op.data_size[1], op.data_size[2] + 1)
        )
        wrong = torch.zeros(op.batch, *size, dtype=torch.float64)
        try:
            apply(wrong)
        except ValueError:
            continue
        raise AssertionError(f"{name} accepted a tensor of size {size}")  # noqa: EM102


def _has(f: Any, *names: str) -> bool:
    return all(hasattr(f, name) for name in names)


def _noise(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


def check_value(f: Any, x: Tensor) -> None:
    """value gives one finite number a sample."""
    value = f.value(x)
    fine = value.shape == (len(x),) and bool(torch.isfinite(value).all())
    assert fine, f"value is {value}, wanted {len(x)} finite numbers"


def check_grad(f: Any, x: Tensor) -> None:
    """grad is the slope of value: central differences along random directions."""
    if not _has(f, "grad"):
        return
    for seed in range(3):
        v = _noise(x, seed)
        step = 1e-6
        slope = (f.value(x + step * v) - f.value(x - step * v)) / (2 * step)
        claimed = (f.grad(x) * v).flatten(1).sum(1)
        gap = float((slope - claimed).abs().max() / claimed.abs().max().clamp_min(1e-3))
        assert gap <= 1e-5, f"grad differs from finite differences of value by {gap:.1e}"


def check_prox_is_argmin(f: Any, x: Tensor) -> None:
    """No point near prox(x) has a lower gamma f + |. - x|^2 / 2; nothing to check where f says it has no
    prox.
    """
    if not _has(f, "prox"):
        return
    for gamma in (0.1, 2.0):
        try:
            p = f.prox(x, gamma=gamma)
        except NotImplementedError:
            return
        _assert_lowest(f.value, (p, x, gamma), "prox")


def check_prox_at(f: Any, x: Tensor) -> None:
    """The same for prox_at and value_at, at a point of the data's shape."""
    if not _has(f, "prox_at", "value_at"):
        return
    z = f.y + 0.3 * _noise(f.y, 1)
    for gamma in (0.1, 2.0):
        p = f.prox_at(z, gamma)
        _assert_lowest(f.value_at, (p, z, gamma), "prox_at")


def _assert_lowest(value: Callable[[Tensor], Tensor], at: tuple[Tensor, Tensor, float], name: str) -> None:
    p, z, gamma = at

    def objective(v: Tensor) -> Tensor:
        return gamma * value(v) + (v - z).square().flatten(1).sum(1) / 2

    best = objective(p)
    for seed in range(6):
        direction = _noise(p, seed)
        for step in (1e-4, 1e-2, 0.3):
            for sign in (-1, 1):
                gain = float((best - objective(p + sign * step * direction)).max() / best.abs().max())
                assert gain <= 1e-12, f"{name} is not the minimiser: a point nearby is lower by {gain:.1e}"


def check_convex(f: Any, x: Tensor) -> None:
    """Where is_convex is claimed, the value in the middle is at most the mean of the ends."""
    if not getattr(f, "is_convex", False):
        return
    for seed in range(4):
        other = x * (1 + 0.5 * torch.tanh(_noise(x, seed)))
        excess = f.value((x + other) / 2) - (f.value(x) + f.value(other)) / 2
        assert float(excess.max()) <= 1e-10 * float(f.value(x).abs().max() + 1), "value is not convex"


def check_function_pure(f: Any, x: Tensor) -> None:
    """No call changes its argument."""
    before = x.clone()
    f.value(x)
    if _has(f, "grad"):
        f.grad(x)
    assert torch.equal(x, before) and not x.requires_grad, "the argument was changed"
