"""Method "certified" with a small random network of each kind, all of which satisfy their theorem."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from algorithms.state import State
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Masked
from imaging.sampling import Downsample
from priors import LPN, Denoiser, DenoiserConfig, GradientStep, LPNConfig, Ridge, RidgeConfig
from priors.claims import Claims
from proxlab.denoising import Prior
from proxlab.errors import UsageError
from proxlab.methods.base import Noise, Task
from proxlab.methods.certified import METHOD, SETTINGS, family
from proxlab.methods.drift import Drift


def gradient_step(channels=1):
    torch.manual_seed(1)
    return GradientStep(DenoiserConfig(channels=channels, widths=(4, 8), blocks=(1, 1)))


def ridge(channels=1):
    torch.manual_seed(2)
    return Ridge(RidgeConfig(channels=channels, filters=2, widths=(), kernels=(3,)))


def lpn(channels=1):
    torch.manual_seed(3)
    return LPN(LPNConfig(channels=channels, side=3))


KINDS = {"gradient-step": gradient_step, "curved": ridge, "proximal": lpn}


def task_of(op, network, *, channels=1, **changes):
    x = op.embed(
        torch.rand(1, *op.data_size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    )
    y = op.A(x) + 0.02 * torch.randn(1, *op.data_size, generator=torch.Generator().manual_seed(8)).double()
    prior = Prior(network.double().requires_grad_(False), "small", None, channels)
    task = Task(op, y, 0.02, "given", Noise("gaussian"), None, 8, prior, 0, lambda step: None)
    return replace(task, **changes)


def operators(psf, channels=1):
    shape = (channels, 12, 10)
    seen = (torch.arange(120).reshape(1, 12, 10) % 7 > 0).expand(shape)[None]
    return {
        "circular": CircularBlur(psf, shape),
        "unknown": WindowedBlur(psf, shape),
        "masked": Masked(WindowedBlur(psf, shape), seen),
        "twice": Downsample(CircularBlur(psf, shape), 2),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("border", ["circular", "unknown", "masked", "twice"])
def test_every_kind_is_certified_on_every_operator(psf, kind, border):
    op = operators(psf)[border]
    task = task_of(op, KINDS[kind]())
    out = METHOD.run(task)
    kinds = [c["kind"] for c in out.certificate["conditions"]]
    assert "violated" not in kinds and not out.warnings, out.certificate
    assert out.certificate["verdict"].startswith("proven (")
    assert out.x.shape == (1, *op.img_size) and out.x.dtype == torch.float64
    assert len(out.objective) == out.num_iter and out.objective[-1] < out.objective[0]
    assert out.details["prior_kind"] == kind
    assert out.lam_rule == f"{SETTINGS[kind].weight:g} sigma^2"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained_on", [1, 3])
def test_colour_by_a_colour_prior_or_channel_by_channel(psf, kind, trained_on):
    op = operators(psf, 3)["unknown"]
    out = METHOD.run(task_of(op, KINDS[kind](trained_on), channels=trained_on, num_iter=4))
    assert out.certificate["verdict"].startswith("proven ("), out.certificate
    assert out.x.shape[1] == 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_it_holds_on_photographs_in_single_precision(psf, kind, channels):
    photograph = torch.from_numpy(data.astronaut()[60:92, 200:232]).float() / 255
    x = photograph.permute(2, 0, 1)[None, :channels]
    op = CircularBlur(psf, (channels, 32, 32)).to(torch.float32)
    y = op.A(x) + 0.02 * torch.randn(x.shape, generator=torch.Generator().manual_seed(8))
    prior = Prior(KINDS[kind](channels).requires_grad_(False), "small", None, channels)
    out = METHOD.run(Task(op, y, 0.02, "given", Noise("gaussian"), None, 20, prior, 0, lambda step: None))
    assert out.x.dtype == torch.float32
    assert out.certificate["verdict"].startswith("proven ("), out.certificate
    rises = np.diff(out.objective) / np.abs(out.objective[1:])
    assert rises.max() < 1e-6


def test_channels_alone_are_the_grey_runs(psf):
    op = operators(psf, 3)["circular"]
    task = task_of(op, lpn(), num_iter=5)
    out = METHOD.run(task)
    grey = CircularBlur(psf, (1, 12, 10))
    alone = [METHOD.run(replace(task, op=grey, y=task.y[:, c : c + 1])) for c in range(3)]
    total = np.sum([one.objective[0] for one in alone])
    assert out.objective[0] == pytest.approx(total, rel=1e-9)  # later ones share the momentum's decisions


def test_a_single_precision_network_runs_in_single_precision(psf):
    op = operators(psf)["unknown"]
    task = task_of(op, ridge())
    single = ridge().float().requires_grad_(False)
    out = METHOD.run(replace(task, prior=Prior(single, "small", None, 1)))
    assert out.x.dtype == torch.float64
    assert not any(c["kind"] == "violated" for c in out.certificate["conditions"]), out.certificate
    assert float((out.x - METHOD.run(task).x).abs().max()) < 1e-3


def test_a_larger_lam_fits_the_data_less(psf):
    op = operators(psf)["unknown"]
    for make in KINDS.values():
        task = task_of(op, make(), num_iter=30)
        small, large = (METHOD.run(replace(task, lam=lam)) for lam in (1e-4, 1e-2))
        assert small.lam_rule == "given" and small.residual < large.residual


def test_a_gradient_step_prior_hands_over_the_denoised_iterate_and_says_so(psf):
    op = operators(psf)["circular"]
    seen, net = [], gradient_step()
    out = METHOD.run(task_of(op, net, report=seen.append))
    assert torch.equal(out.x, net(seen[-1].x, out.details["prior_level"]))
    said = out.certificate["conditions"][-1]
    assert said["claim"].startswith("the picture is D(x) of the last iterate") and said["kind"] == "observed"
    assert said["value"] == pytest.approx(float((out.x - seen[-1].x).square().mean()) ** 0.5)
    assert out.certificate["verdict"].endswith("the iterates x; the picture is D(x), of which nothing is.")
    assert out.residual == pytest.approx(float((op.A(out.x) - task_of(op, net).y).square().mean()) ** 0.5)
    seen.clear()
    out = METHOD.run(task_of(op, lpn(), report=seen.append))
    assert torch.equal(out.x, seen[-1].x) and "D(x)" not in out.certificate["verdict"]


def test_a_weight_beyond_the_levels_of_the_network_is_refused_and_a_loud_picture_said(psf):
    task = task_of(operators(psf)["circular"], lpn(), num_iter=2)
    top = lpn().config.sigma[1]
    with pytest.raises(UsageError, match=r"lam is 1, but a learned proximal network .* lam at most"):
        METHOD.run(replace(task, lam=1.0))
    loud = METHOD.run(replace(task, sigma=2 * top))
    assert loud.lam_rule == "the largest that the prior's levels allow" and loud.lam < 1.1 * top**2


def test_a_value_without_a_claim_is_used_and_said_to_prove_nothing(psf):
    class Smooth(torch.nn.Module):
        def value(self, x, sigma):
            return x.square().flatten(1).sum(1) / 2

        def grad(self, x, sigma):
            return x

        def forward(self, x, sigma):
            return 0.5 * x

    out = METHOD.run(task_of(operators(psf)["circular"], Smooth(), num_iter=3))
    assert out.certificate["verdict"].startswith("nothing is proven")
    assert out.warnings[0].startswith("there is no theorem for this run, the prior small claims nothing")


def test_a_plain_denoiser_is_refused_with_what_would_do(psf):
    net = Denoiser(DenoiserConfig(widths=(4, 8), blocks=(1, 1)))
    with pytest.raises(
        UsageError, match="the prior Denoiser has neither a value with a gradient nor a claim"
    ):
        METHOD.run(task_of(operators(psf)["unknown"], net))
    with pytest.raises(UsageError, match=r"small is for 3 channels, the picture has 1.*use a grey one"):
        METHOD.run(task_of(operators(psf)["unknown"], ridge(3), channels=3))


def test_a_value_that_does_not_belong_to_its_prox_is_reported(psf):
    class Impostor(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net, self.claims = net, net.claims

        def forward(self, x, sigma):
            out = self.net(x, sigma)
            return out + 0.3 * (out - out.roll(1, -1))

        def potential(self, x, sigma):
            return self.net.potential(x, sigma)

    net = Impostor(lpn())
    assert family(net) == "proximal"
    out = METHOD.run(task_of(operators(psf)["unknown"], net))
    assert out.certificate["verdict"].startswith("no guarantee")
    assert out.warnings[0].startswith("the certificate does not hold: no guarantee")


def test_a_run_that_runs_away_ends_as_diverged(psf):
    """A network that amplifies what the data do not see: its R has no lower bound, its theorem holds."""

    class Loud(torch.nn.Module):
        claims = Claims(symmetric=True, convexity=1.0, proximal=True)

        def forward(self, x, sigma):
            return 1.2 * x

        def potential(self, x, sigma):
            return 0.6 * x.square().flatten(1).sum(1)

    op = Downsample(CircularBlur(psf, (1, 12, 10)), 2)  # blind to three quarters
    out = METHOD.run(task_of(op, Loud(), num_iter=200))
    assert out.status == "diverged" and out.num_iter < 40 and out.stop_reason.startswith("the iterates ran")
    assert float(out.x.abs().max()) < 10
    assert "as long as the iterates stay bounded" in out.certificate["verdict"]


def test_steps_that_grow_end_a_run_before_it_is_far(psf):
    task = task_of(operators(psf)["circular"], lpn())
    drift = Drift(task, task.y, bounded=False)
    assert [drift(State(task.y, change)) for change in (0.1, 0.01, 0.014, 0.021)] == [
        False,
        False,
        False,
        True,
    ]
    assert drift.ending()[0] == "stopped"
    assert not Drift(task, task.y, bounded=True)(State(task.y, 1e9))
    drift(State(task.y + 9, 0.01))
    assert drift.ending() == ("diverged", "the iterates ran away, for the objective has no lower bound here")


def test_what_began_far_away_runs_away_only_where_nothing_bounds_it(psf):
    task = task_of(operators(psf)["circular"], lpn())
    there, beyond = State(task.y + 9, 0.1), State(task.y + 10.5, 0.1)
    assert Drift(task, there.x, bounded=False)(there)
    drift = Drift(task, there.x, bounded=True)
    assert not drift(there) and drift(beyond)
    assert drift.ending() == (
        "diverged",
        "the iterates ran away: is this the psf, the border and the noise level?",
    )


def test_a_wrong_border_is_no_failure_to_converge(psf):
    """Data that go on beyond a border taken for black are explained by a rim far above the range."""
    op = PaddedBlur(torch.ones(1, 1, 5, 5, dtype=torch.float64) / 25, (1, 12, 10), "zero")
    task = replace(task_of(op, gradient_step()), y=torch.full((1, 1, 12, 10), 0.9, dtype=torch.float64))
    out = METHOD.run(task)
    assert float(out.x.max()) > 1.9 and out.status in ("converged", "stopped")
    assert out.certificate["verdict"].startswith("proven")


def test_progress_is_told_with_the_objective(psf):
    seen = []
    task = task_of(operators(psf)["circular"], ridge(), num_iter=3)
    out = METHOD.run(replace(task, report=seen.append))
    assert [p.iteration for p in seen] == [1, 2, 3]
    assert [p.cost for p in seen] == list(out.objective)
