"""Networks of one psf under the worst noise that the attack finds, beside random noise of the same norm."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from common import circumstances, markdown, pictures
from torch import Tensor

from algorithms.attack import Effort, Threat, worst_case
from algorithms.linearise import by_autograd
from algorithms.stability import Errors, measure, worst_constant

BUDGETS = (0.01, 0.03, 0.08)


def networks(args: argparse.Namespace) -> str:
    """Factors between the worst case found and random noise of the same norm, for networks of one psf."""
    from priors.base import find

    side, files = args.side or 128, args.networks or one_psf_networks()
    cut = [p[(n := p.shape[0] // 2 - side // 2) : n + side, (m := p.shape[1] // 2 - side // 2) : m + side]
           for p in pictures(args.images, args.limit).values()]  # fmt: skip
    x = torch.stack([torch.from_numpy(p.copy())[None].float() for p in cut])
    rows = []
    for file in files:
        for row in network_rows(file, x, args):
            rows.append(row)
            print(*row, flush=True)
    marks = ", ".join(
        f"{Path(f).name.removesuffix('.safetensors')} {hashlib.sha256(find(f).read_bytes()).hexdigest()[:8]}"
        for f in files
    )
    head = ["network", "budget", "random error", "worst error", "factor", "least factor over the worst draw"]
    head += ["C by random noise", "C by attack"]
    least = min(float(row[5]) for row in rows)
    text = (
        f"{len(x)} pictures of {side}x{side}, periodic borders, {args.draws} draws of white noise, "
        f"{args.iterations} iterations of attack. Errors relative to the picture; factor: worst error / mean "
        "random error; C: largest (error - eta) / |e|, the paper's stability constant, unstable from 1 on. "
        f"The attack finds at least {least:.2f} times what the worst draw does, for every network, budget "
        "and picture. What estimates the level of the noise is told that of the budget. "
        f"Weights: {marks}. {circumstances(torch.get_num_threads())}"
    )
    return f"{markdown(head, rows)}\n\n{text}"


def one_psf_networks() -> list[str]:
    """Names of those that ship."""
    from priors.base import available, load
    from priors.deblurring import recipe_behind

    return [name for name in available() if recipe_behind(load(name)) is not None]


def network_rows(file: str, x: Tensor, args: argparse.Namespace) -> list[list[str]]:
    """A row a budget, the largest attacked first and each a start for the next smaller."""
    from priors.base import load
    from priors.deblurring import chain_of, recipe_behind

    network, rows, start = load(file).eval(), [], None
    recipe = recipe_behind(network)
    op = recipe.operator(*x.shape[-2:]).to(x)
    y = op.A(x)
    clean = y.flatten(1).norm(dim=1)
    for share in sorted(BUDGETS, reverse=True):
        size = share * clean
        run = chain_of(network, sigma=float(size.square().mean().sqrt()) / y[0].numel() ** 0.5)
        threat, effort = Threat("l2", size), Effort(args.iterations, 1, seed=0)
        worst = worst_case(by_autograd(run, op), y, x, threat, effort, start=start)
        start = worst.perturbation
        random = measure(run, op, x, y, list(noises_of(y, size, args.draws)))
        attacked = Errors(random.clean, worst.error[:, None], worst.error[:, None], size.double()[:, None])
        norm, best = x.flatten(1).norm(dim=1), random.noisy.amax(1)
        rows.append([
            Path(file).name.removesuffix(".safetensors"), f"{100 * share:g} %",
            f"{float((random.noisy.mean(1) / norm).mean()):.3f}", f"{float((worst.error / norm).mean()):.3f}",
            f"{float((worst.error / random.noisy.mean(1)).mean()):.2f}",
            f"{float((worst.error / best).min()):.2f}",
            f"{worst_constant(random):.3g}", f"{worst_constant(attacked):.3g}",
        ])  # fmt: skip
    return rows[::-1]


def noises_of(y: Tensor, size: Tensor, draws: int) -> Iterator[Tensor]:
    """White noise of exactly these norms, seeded."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(draws):
        e = torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)
        yield e * (size / e.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
