"""Which shape of denoiser is best after equal processor time: PSNR, time a step, time a picture.

    python benchmarks/shapes.py --images BSDS500/train BSDS500/test --val DIR [--minutes 6] [--shape NAME ...]
        [--loss l1 l1-level] [--precision bf16]

Each is trained as `proxlab train denoiser` does it (its optimizer, levels 0 to 55/255, cosine decay), for as
many steps as fit in the same processor time of one thread, so that other work on the machine changes nothing
but the wait; with several losses, once with each. PSNR at 2.55, 15, 25 and 50 of 255 on centre crops of
--val, on fixed noise. Interrupt it whenever you like: every finished shape is in `results/shapes.json`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import torch
from common import RESULTS, ResultFile, circumstances, markdown, write_text
from torch import Tensor, nn

from priors.checkpoint import build
from priors.data import load_pictures, validation_psnr, validation_set
from priors.denoiser import Block, Denoiser, DenoiserConfig
from priors.losses import LOSSES, Batch, Objective
from priors.recipe import VALIDATION_SEED, Denoising
from priors.train import Learner, Plan, training

TOP = 55 / 255
SHAPES = {
    "32/64/128, 2 blocks each": ((32, 64, 128), (2, 2, 2)),
    "the same with ReLU": ((32, 64, 128), (2, 2, 2)),
    "the same with silu": ((32, 64, 128), (2, 2, 2)),
    "64, one scale, 6 blocks": ((64,), (6,)),
    "24/48/96/192, 2 blocks each": ((24, 48, 96, 192), (2, 2, 2, 2)),
    "48/96/192, 2 blocks each": ((48, 96, 192), (2, 2, 2)),
}
QUIET = 2.55 / 255  # where plug-and-play ends
HEAD = ("shape", "weights", "steps", "s/step", "2.55/255", "15/255", "25/255", "50/255", "ms at 256x256")


class Hard(Block):
    """A block with ReLU instead of the smooth activation."""

    def _whole(self) -> Callable[[Tensor], Tensor]:
        return lambda x: x + self.second(self.first(x).relu())


def network(name: str) -> nn.Module:
    """A shape with its first weights."""
    widths, blocks = SHAPES[name]
    sharpness = {"sharpness": 1.0} if "silu" in name else {}
    net = build("denoiser", DenoiserConfig(widths=widths, blocks=blocks, **sharpness), seed=0)
    for module in net.modules():
        if isinstance(module, Block) and "ReLU" in name:
            module.__class__ = Hard
    return net


def pace(learner: Learner, batches: Callable[[int], Batch], objective: Objective) -> float:
    """Processor seconds a step, the median of seven."""
    took = []
    for _, _ in zip(range(8), training(learner, batches, objective), strict=False):
        took.append(time.process_time())
    gaps = sorted(b - a for a, b in pairwise(took))
    return gaps[len(gaps) // 2]


@torch.no_grad()
def milliseconds(net: nn.Module) -> float:
    """Least processor time of ten calls."""
    x, times = torch.rand(1, 1, 256, 256), []
    for _ in range(10):
        start = time.process_time()
        net(x, 0.1)
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def study(name: str, loss: str, args: argparse.Namespace) -> dict[str, float]:
    """Train one shape with one loss and measure it."""
    fields = {"loss": loss, "color": False, "sigma": (0.0, TOP), "patch": 64, "seed": 0}
    recipe = Denoising(kind="denoiser", config={}, batch=args.batch, **fields)
    pictures = load_pictures(args.images, color=False)
    held_out = validation_set(load_pictures(args.val, color=False), crop=recipe.crop, limit=recipe.limit)
    batches, objective = recipe.batches(pictures), recipe.objective()
    plan = {"rate": recipe.rate, "optimizer": Denoiser.optimizer, "precision": args.precision}
    step = pace(Learner(network(name), Plan(steps=10**6, **plan)), batches, objective)
    steps = max(1, int(60 * args.minutes / step))
    learner, start = Learner(network(name), Plan(steps=steps, **plan)), time.process_time()
    for _ in training(learner, batches, objective):
        pass
    took = (time.process_time() - start) / steps
    found = {"weights": sum(p.numel() for p in learner.mean.parameters()), "steps": steps, "pace": took}
    with torch.no_grad():
        found |= recipe.measure(learner.mean, held_out)
        found["psnr_2.55"] = validation_psnr(learner.mean, held_out, QUIET, VALIDATION_SEED)
    return found | {"ms": milliseconds(learner.mean)}


def row(name: str, found: dict[str, float]) -> list[str]:
    psnr = [f"{found[k]:.2f}" if k in found else "" for k in ("psnr_2.55", "psnr_15", "psnr_25", "psnr_50")]
    size = f"{found['weights'] / 1e6:.2f} M"
    return [name, size, f"{found['steps']}", f"{found['pace']:.3f}", *psnr, f"{found['ms']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", nargs="+", required=True, metavar="DIR", help="training pictures")
    add("--val", nargs="+", required=True, metavar="DIR", help="validation pictures")
    add("--minutes", type=float, default=6.0, help="processor time of each training [6]")
    add("--batch", type=int, default=8, help="patches of 64x64 a step [8]")
    add("--shape", nargs="+", choices=list(SHAPES), default=list(SHAPES), help="which [all]")
    add("--loss", nargs="+", choices=LOSSES, default=["l1"], help="losses, each on every shape [l1]")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="arithmetic of the training [fp32]")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = ResultFile(args.out / "shapes.json")
    rows = []
    for shape, loss in product(args.shape, args.loss):
        name = shape + (f", {loss}" if loss != "l1" else "")
        known = {"minutes": args.minutes, "batch": args.batch, "precision": args.precision}
        record = file.find(name, **known)
        if record is None:
            record = {**known, **study(shape, loss, args)}
            file.add(name, record)
        rows.append(row(name, record))
        print(", ".join(f"{k} {v}" for k, v in zip(HEAD, rows[-1], strict=True)), file=sys.stderr, flush=True)
    title = f"# Shapes of the denoiser after {args.minutes:g} minutes of processor time each"
    text = "\n\n".join([title, markdown(HEAD, rows), circumstances(1)]) + "\n"
    print(text)
    write_text(args.out / "shapes.md", text)


if __name__ == "__main__":
    main()
