"""The gradient-step denoiser: one step down an explicit function built around the smooth denoiser."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from imaging.linsolve import power_iteration
from priors.claims import Claims
from priors.denoiser import Denoiser, DenoiserConfig


class GradientStep(nn.Module):
    """m(x, sigma) = x - grad g(x), g(x) = |x - N(x, sigma)|^2 / 2, N the `Denoiser`, which is smooth.

    With r = x - N(x, sigma) and J the Jacobian of N, grad g = r - J^T r: one pass forward and one back, in
    float32 or float64 only, since bfloat16 is no longer the gradient of anything. x is (B, C, H, W), sigma a
    float or one level a sample. `value` reads g.

    It is not a prox of a known function: that needs grad g to be a contraction, which nothing here enforces
    and `lipschitz_estimate` can refute but not prove. What is proven: its Jacobian is symmetric, g is smooth,
    and a step along -grad f - grad g with backtracking lowers f + g while iterates stay bounded.

    Hurault, Leclaire and Papadakis, "Gradient Step Denoiser for Convergent Plug-and-Play" (2022).

    >>> net = GradientStep(DenoiserConfig(widths=(4, 8), blocks=(1, 1))).requires_grad_(False)
    >>> net(torch.rand(2, 1, 9, 7), 0.1).shape, net.value(torch.rand(2, 1, 9, 7), 0.1).shape
    (torch.Size([2, 1, 9, 7]), torch.Size([2]))
    """

    kind: ClassVar[str] = "gradient-step"
    optimizer: ClassVar[str] = "muon"
    Config: ClassVar[type] = DenoiserConfig
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    starts_from: ClassVar[tuple[str, ...]] = ("denoiser",)
    claims: ClassVar[Claims] = Claims(symmetric=True, descent=True)
    explicit_prior = True

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        self.config = config
        self.inner = Denoiser(config, precision="fp32")

    def start_from(self, denoiser: nn.Module) -> None:
        """Take over the weights of a trained `Denoiser` of the same shape."""
        self.inner.load_state_dict(denoiser.state_dict())

    @property
    def feature_maps(self) -> float:
        """About how many planes of the size of the picture it holds: all are kept for the way back.

        Measured at 512x512 and 1024x1024, with the activation of either sharpness.
        """
        stages = zip(self.config.widths, self.config.blocks, strict=True)
        return 1.1 * sum(8 * width * count / 4 ** (n + 1) for n, (width, count) in enumerate(stages))

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The denoised x."""
        return x - self.grad(x, sigma)

    def value(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """g(x), shape (B,), summed in float64."""
        _check_dtype(x)
        with torch.autocast(x.device.type, enabled=False):
            return (x - self.inner(x, sigma)).square().flatten(1).sum(1, dtype=torch.float64) / 2

    def grad(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """The gradient of g at x, itself differentiable where gradients are wanted."""
        return self.value_and_grad(x, sigma)[1]

    def value_and_grad(self, x: Tensor, sigma: float | Tensor) -> tuple[Tensor, Tensor]:
        """g(x), detached, and its gradient, from one pass."""
        weights = any(p.requires_grad for p in self.parameters())
        wanted = torch.is_grad_enabled() and (x.requires_grad or weights)
        with torch.enable_grad():
            point = x if wanted and x.requires_grad else x.detach().requires_grad_()
            value = self.value(point, sigma)
            (slope,) = torch.autograd.grad(value.sum(), point, create_graph=wanted)
        return value.detach(), slope

    def lipschitz_estimate(
        self, x: Tensor, sigma: float | Tensor, *, seed: int, rtol: float, max_iter: int
    ) -> float:
        """Largest absolute eigenvalue of the Hessian of g at the pictures x, estimated from below.

        By power iteration on the squared Hessian; over all pictures grad g may be steeper: not a bound. Below
        1 at every x, m would be a prox. Raises imaging's SolveError if `max_iter` steps do not settle it to
        the relative change `rtol`.
        """
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            slope = self.grad(point, sigma)

        def hessian(v: Tensor) -> Tensor:
            return torch.autograd.grad(slope, point, v, retain_graph=True)[0]

        draw = torch.Generator().manual_seed(seed)
        start = torch.randn(x.shape, generator=draw, dtype=x.dtype).to(x.device)
        return power_iteration(lambda v: hessian(hessian(v)), start, rtol=rtol, max_iter=max_iter) ** 0.5


def _check_dtype(x: Tensor) -> None:
    if x.dtype not in (torch.float32, torch.float64):
        message = f"the picture is {x.dtype}: the gradient of a potential needs float32 or float64."
        raise TypeError(message)
