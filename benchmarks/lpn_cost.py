"""What does the gradient of a learned proximal network cost, beside its convolutions and autograd?

    python benchmarks/lpn_cost.py [--sizes 512] [--repeats 3] [--prior FILE ...] [--out DIR]

One thread, float32, processor time, the least of several runs. Convolutions: the forward ones of the network
alone, as `conv2d` does them on the whole picture, and as the network does them in pieces that stay in the
cache (the frame by a product of matrices); the gradient needs each and its transpose, hence the ratios to
twice their time. Autograd: the derivative of `potential` by the picture. Peak memory: what a fresh process
holds at most beyond what it held before the call (Linux). Results: results/lpn_cost.md.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from common import RESULTS, circumstances, markdown, status_bytes, write_text
from torch import Tensor
from torch.nn import functional

from priors import load
from priors.lpn import LPN, LPNConfig
from priors.windows import analysis
from proxlab.memory import resident

SIGMA = 25 / 255
SHAPES = {
    "one scale": LPNConfig(),
    "three scales": LPNConfig(scales=3),
    "colour": LPNConfig(channels=3, side=6),
}
HEAD = (
    "network",
    "side",
    "convolutions, ms",
    "in pieces, ms",
    "gradient, ms",
    "over twice the convolutions",
    "over twice those in pieces",
    "autograd, ms",
    "peak of the gradient, MB",
    "of autograd, MB",
)
Call = Callable[[], object]


def network(name: str) -> LPN:
    """A shape of SHAPES with its first weights, or a checkpoint."""
    if name in SHAPES:
        return LPN(SHAPES[name]).requires_grad_(False)
    prior = load(name)
    if not isinstance(prior, LPN):
        message = f"{name} is no learned proximal network: give the checkpoint of one."
        raise SystemExit(message)
    return prior.requires_grad_(False)


def convolutions(net: LPN, y: Tensor) -> Call:
    """The forward convolutions of all scales by `conv2d`, each on the whole picture."""
    frames = []
    for number, term in enumerate(net.scales()):
        reach = 2 * (term.raw_filters.shape[2] - 1)
        picture = torch.rand(1, y.shape[1], *(-(-n // 2**number) + reach for n in y.shape[2:]))
        frames.append((picture, term.raw_filters))

    def call() -> None:
        for picture, filters in frames:
            functional.conv2d(picture, filters)

    return call


def convolutions_in_pieces(net: LPN, y: Tensor) -> Call:
    """The same work in the pieces in which the network does it."""
    pieces = []
    for number, term in enumerate(net.scales()):
        filters = term.raw_filters
        coarse = torch.rand(1, y.shape[1], *(-(-n // 2**number) for n in y.shape[2:]))
        width = coarse.shape[3] + 2 * (filters.shape[2] - 1)
        for low, high, _ in term.strips(coarse, whole=False):
            pieces.append((torch.rand(1, y.shape[1], high - low, width), filters))

    def call() -> None:
        for picture, filters in pieces:
            analysis(picture, filters)

    return call


def gradient(net: LPN, y: Tensor) -> Call:
    return lambda: net(y, SIGMA)


def by_autograd(net: LPN, y: Tensor) -> Call:
    """The same gradient as torch finds it."""

    def call() -> Tensor:
        with torch.enable_grad():
            moving = y.clone().requires_grad_()
            return torch.autograd.grad(net.potential(moving, SIGMA).sum(), moving)[0]

    return call


CALLS = {
    "convolutions": convolutions,
    "pieces": convolutions_in_pieces,
    "gradient": gradient,
    "autograd": by_autograd,
}


def prepared(name: str, side: int, what: str) -> Call:
    """A call on a picture of side x side, everything else done before."""
    torch.manual_seed(0)
    net = network(name)
    return CALLS[what](net, torch.rand(1, net.config.channels, side, side))


@torch.no_grad()
def seconds(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """Least processor time of each; they take turns, so that a busy moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            if name == "autograd" and turn > 1:  # slow, and not what is at stake
                continue
            gc.collect()
            start = time.process_time()
            call()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: min(found) for name, found in times.items()}


@torch.no_grad()
def peaks(name: str, side: int) -> tuple[float, ...]:
    """MB held at most beyond what was held before, of the gradient, then of autograd, which needs more; run
    it in a fresh process.
    """
    torch.set_num_threads(1)
    for what in ("gradient", "autograd"):
        prepared(name, 32, what)()  # libraries and their buffers
    before = resident()
    found = []
    for what in ("gradient", "autograd"):
        prepared(name, side, what)()
        found.append((status_bytes("VmHWM") - before) / 1e6)
    return tuple(found)


def alone(name: str, side: int) -> tuple[float, ...]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(peaks, name, side).result()


def lines(args: argparse.Namespace) -> Iterator[list[str]]:
    """A line a network and size."""
    for name in [*SHAPES, *args.prior]:
        for side in args.sizes:
            found = seconds({what: prepared(name, side, what) for what in CALLS}, args.repeats)
            whole, pieces, own, autograd = (found[what] for what in CALLS)
            line = [
                name if name in SHAPES else Path(name).stem,
                str(side),
                *(f"{1e3 * t:.0f}" for t in (whole, pieces, own)),
                *(f"{own / (2 * t):.2f}" for t in (whole, pieces)),
                f"{1e3 * autograd:.0f}",
                *(f"{megabytes:.0f}" for megabytes in alone(name, side)),
            ]
            print(", ".join(f"{k} {v}" for k, v in zip(HEAD, line, strict=True)), file=sys.stderr, flush=True)
            yield line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[512], help="sides of the pictures [512]")
    add("--repeats", type=int, default=3, help="runs of each, after one to warm up [3]")
    add("--prior", nargs="+", default=[], metavar="FILE", help="checkpoints to measure, too")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = markdown(HEAD, lines(args))
    text = "\n\n".join(["# Cost of the learned proximal network's gradient", circumstances(1), table]) + "\n"
    print(text)
    write_text(args.out / "lpn_cost.md", text)


if __name__ == "__main__":
    main()
