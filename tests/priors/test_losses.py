import math

import pytest
import torch

from priors.losses import (
    LevelL1,
    NoiseMatching,
    ProximalMatching,
    l1,
    l2,
    noise_matching_stages,
    objective_of,
    proximal_matching_stages,
    regression,
    staged,
)


def test_proximal_matching_is_the_formula_sample_by_sample():
    a, b = torch.rand(2, 5, 1, 3, 4, dtype=torch.float64)
    by_hand = [
        1 - math.exp(-sum(((p - q) ** 2).flatten().tolist()) / 0.7**2) for p, q in zip(a, b, strict=True)
    ]
    assert float(ProximalMatching(0.7)(a, b)) == pytest.approx(sum(by_hand) / 5, rel=1e-12)


def test_large_gamma_is_scaled_l2():
    a, b = torch.rand(2, 5, 1, 3, 4, dtype=torch.float64)
    assert float(ProximalMatching(1e4)(a, b)) == pytest.approx(float(l2(a, b)) * 12 / 1e8, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.inf, math.nan])
def test_impossible_gamma(gamma):
    with pytest.raises(ValueError, match="wants a positive number"):
        ProximalMatching(gamma)


def test_each_loss_estimates_its_own_centre():
    """On samples of a skewed law: l2 finds the mean, l1 the median, proximal matching comes near the mode."""
    law = torch.distributions.Exponential(torch.tensor(1.0, dtype=torch.float64))
    samples = law.icdf((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)[:, None]
    grid = torch.linspace(0, 2, 401, dtype=torch.float64)
    best = {
        name: float(min(grid, key=lambda c: float(loss(c.expand_as(samples), samples))))
        for name, loss in {"l2": l2, "l1": l1, "pm": ProximalMatching(0.1)}.items()
    }
    assert best["l2"] == pytest.approx(1.0, abs=0.01)
    assert best["l1"] == pytest.approx(math.log(2), abs=0.01)
    assert best["pm"] < 0.15


def test_stages_of_the_paper():
    stages = proximal_matching_stages(l1, share=0.5, smallest=0.08, entries=28 * 28)
    assert [share for share, _ in stages] == [0.5, 0.125, 0.125, 0.125, 0.125]
    assert stages[0][1] is l1
    assert [round(loss.gamma, 2) for _, loss in stages[1:]] == [17.92, 8.96, 4.48, 2.24]
    with pytest.raises(ValueError, match="share of the pretraining"):
        proximal_matching_stages(l1, share=1.0, smallest=0.08, entries=4)


def test_stages_must_cover_the_training():
    with pytest.raises(ValueError, match=r"add up to 0\.9"):
        staged([(0.5, l1), (0.4, l2)])


def test_stages_are_entered_on_time():
    batch = torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), torch.tensor([0.1])
    objective = staged([(0.25, l1), (0.5, l2), (0.25, l1)])
    values = [
        float(objective(lambda y, sigma: y, batch, progress)) for progress in (0, 0.24, 0.25, 0.74, 0.75, 1.0)
    ]
    assert values == [2, 2, 5, 5, 2, 2]


def test_regression_passes_the_noise_level():
    seen = []
    batch = torch.ones(2, 1), torch.zeros(2, 1), torch.tensor([0.1, 0.2])
    regression(l2)(lambda y, sigma: seen.append(sigma) or y, batch, 0.0)
    assert seen[0] is batch[2]


def test_noise_matching_is_proximal_matching_with_a_gamma_a_sample():
    a, b = torch.rand(2, 3, 1, 4, 5, dtype=torch.float64)
    levels = torch.tensor([0.0, 0.05, 0.2], dtype=torch.float64)  # the first counts as 1/255
    gammas = [0.8 * sigma * math.sqrt(20) for sigma in (1 / 255, 0.05, 0.2)]
    one_by_one = [float(ProximalMatching(g)(a[k : k + 1], b[k : k + 1])) for k, g in enumerate(gammas)]
    assert float(NoiseMatching(0.8).at(levels)(a, b)) == pytest.approx(sum(one_by_one) / 3, rel=1e-12)


def _pulls(loss, levels):
    """How strongly each sample is pulled to its target, beside its pull where it is met almost, for estimates
    that are no better than the noisy picture.
    """
    torch.manual_seed(0)
    clean, noise = torch.rand(len(levels), 1, 8, 8), torch.randn(len(levels), 1, 8, 8)
    sizes = []
    for size in (1.0, 1e-3):
        noisy = clean + size * levels.view(-1, 1, 1, 1) * noise
        noisy.requires_grad_()
        loss(noisy, clean).backward()
        sizes.append(noisy.grad.flatten(1).norm(dim=1) / size)
    return sizes[0] / sizes[1]


def test_noise_matching_is_flat_at_no_level():
    levels = torch.tensor([5.0, 25.0, 55.0]) / 255
    pulls = _pulls(NoiseMatching(0.8).at(levels), levels)
    assert bool((pulls > 0.1).all())
    assert bool((pulls < 0.5).all())  # and it is not the square: a miss counts less
    paper = _pulls(ProximalMatching(0.08 * 8), levels)
    assert float(paper[2]) < 1e-2  # with one gamma for all it is flat for strong noise
    assert float(paper[0]) > 0.9  # and the square for weak


def test_pm_follows_the_noise_after_half_the_steps():
    assert [loss.factor for _, loss in noise_matching_stages(l1, share=0.2, factor=1.0)[1:]] == [8, 4, 2, 1]
    clean, noisy = torch.zeros(2, 4), torch.tensor([[0.1] * 4, [0.2] * 4])
    batch = noisy, clean, torch.tensor([0.1, 0.2])
    first, last = (float(objective_of("pm")(lambda y, sigma: y, batch, part)) for part in (0.2, 0.99))
    assert first == pytest.approx(float(l2(noisy, clean)))
    assert last == pytest.approx(1 - math.exp(-1 / 0.64), rel=1e-5)


@pytest.mark.parametrize("factor", [0.0, math.nan])
def test_impossible_factor(factor):
    with pytest.raises(ValueError, match="give a positive number, about 1"):
        NoiseMatching(factor)


def test_l1_in_units_of_the_noise_counts_all_levels_about_alike():
    """An error of the size of its noise counts the same whatever the noise; l1 sees the strong alone."""
    clean, levels = torch.zeros(1, 16, dtype=torch.float64), torch.tensor([5.0, 50.0]) / 255
    even = [float(LevelL1().at(s)(clean + s, clean)) for s in levels]
    assert even[1] < 1.4 * even[0]
    assert float(l1(clean + levels[1], clean)) > 9.9 * float(l1(clean + levels[0], clean))


def test_l1_in_units_of_the_noise_by_hand():
    a, b = torch.rand(2, 3, 1, 2, 4, dtype=torch.float64)
    levels = torch.tensor([0.0, 0.1, 0.3], dtype=torch.float64)
    by_hand = [
        0.1 / (float(s) + 2 / 255) * float((p - q).abs().mean()) for p, q, s in zip(a, b, levels, strict=True)
    ]
    assert float(LevelL1().at(levels)(a, b)) == pytest.approx(sum(by_hand) / 3, rel=1e-12)
    noisy = a + levels.view(-1, 1, 1, 1)
    found = objective_of("l1-level")(lambda y, sigma: y, (noisy, a, levels), 0.5)
    assert float(found) == pytest.approx(float(LevelL1().at(levels)(noisy, a)), rel=1e-12)
