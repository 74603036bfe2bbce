import copy

import pytest
import torch

from priors.checkpoint import build
from priors.denoiser import DenoiserConfig
from priors.losses import l2, regression
from priors.muon import DECAY, MOMENTUM, RATIO, Muon, is_matrix, orthogonalised
from priors.train import Learner, Plan, training

PLAN = Plan(steps=8, rate=1e-3, warmup=2, ema=0.9, optimizer="muon")


def batches(step):
    generator = torch.Generator().manual_seed(step)
    clean = torch.rand(4, 1, 1, 1, generator=generator).expand(4, 1, 8, 8)
    return clean + 0.1 * torch.randn(4, 1, 8, 8, generator=generator), clean, torch.full((4,), 0.1)


def learner():
    return Learner(build("denoiser", DenoiserConfig(widths=(8, 12), blocks=(1, 1)), seed=0), PLAN)


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12)])
def test_orthogonalised_keeps_the_directions(shape):
    """Against the singular value decomposition: the same U and V, all values near 1."""
    matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonalised(matrix) @ vt.T
    values = inside.diagonal()
    assert torch.allclose(inside, torch.diag(values), atol=1e-10)
    assert values.min() > 0.6
    assert values.max() < 1.25


def test_a_matrix_steps_by_its_orthogonal_factor():
    weight = torch.nn.Parameter(torch.randn(12, 8, 3, 3, generator=torch.Generator().manual_seed(2)))
    start, slope = weight.detach().clone(), torch.randn(12, 8, 3, 3)
    weight.grad = slope.clone()
    Muon([weight], lr=0.01).step()
    step = (start - weight.detach()).flatten(1) / (0.01 * RATIO)
    expected = orthogonalised((slope + MOMENTUM * slope).flatten(1)) + DECAY * start.flatten(1)
    assert torch.allclose(step, expected, atol=1e-5)


def test_other_weights_step_as_torch_adam():
    mine = torch.nn.Parameter(torch.linspace(-1, 1, 9))
    theirs = torch.nn.Parameter(mine.detach().clone())
    assert not is_matrix(mine)
    optimizers = Muon([mine], lr=0.01), torch.optim.Adam([theirs], lr=0.01)
    for k in range(5):
        for weight, optimizer in zip((mine, theirs), optimizers, strict=True):
            weight.grad = (weight.detach() - 0.3 * k).sin()
            optimizer.step()
    assert torch.allclose(mine, theirs, atol=1e-7)


def test_resuming_equals_not_stopping(tmp_path):
    whole, stopped = learner(), learner()
    list(training(whole, batches, regression(l2)))
    for _ in range(3):
        stopped.step(batches(stopped.done), regression(l2))
    stopped.save(tmp_path / "state.safetensors", {})
    resumed = learner()
    resumed.restore(tmp_path / "state.safetensors")
    list(training(resumed, batches, regression(l2)))
    pairs = list(zip(whole.network.parameters(), resumed.network.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    forgetful = copy.deepcopy(stopped)  # the control: without its momentum it goes elsewhere
    forgetful.optimizer.state.clear()
    list(training(forgetful, batches, regression(l2)))
    assert not all(
        torch.equal(a, b)
        for a, b in zip(whole.network.parameters(), forgetful.network.parameters(), strict=True)
    )
