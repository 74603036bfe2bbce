"""Denoising: PSNR at sigma 15, 25 and 50 of 255, seconds and memory beside deepinv's DnCNN and DRUNet.

    python benchmarks/denoising.py --images bsd68 --prior denoiser-gray [--color] [--sizes 512 2048]

PSNR as published for BSD68: noise not clipped, result clipped to [0, 1], mean over the pictures. deepinv's
networks carry random weights here: their time is what is compared. Results go to --out (CSV), one line a
measurement.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

import priors
from imaging.metrics import psnr
from priors.data import load_pictures

LEVELS = (15, 25, 50)
RIVALS = ("DnCNN", "DRUNet")  # deepinv's
PUBLISHED = {
    False: {"BM3D": (31.07, 28.57, 25.62), "DnCNN": (31.72, 29.23, 26.23), "FFDNet": (31.63, 29.19, 26.29)},
    True: {"CBM3D": (33.52, 30.71, 27.38), "FFDNet": (33.87, 31.21, 27.96), "DRUNet": (34.30, 31.69, 28.51)},
}


@torch.no_grad()
def quality(network: torch.nn.Module, folder: str, *, color: bool, every: int) -> Iterator[tuple[int, float]]:
    """(sigma of 255, mean PSNR); the noise of picture i at one level is the same in every run."""
    pictures = load_pictures([folder], color=color).pixels[::every]
    for level in LEVELS:
        values = []
        for number, pixels in enumerate(pictures):
            clean = torch.from_numpy(pixels).float()[None] / 255
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1000 * level + number))
            result = network(clean + level / 255 * noise, level / 255)
            values.append(float(psnr(result, clean)))
        yield level, sum(values) / len(values)


def network_of(name: str, channels: int, precision: str) -> torch.nn.Module:
    """A denoiser of ours, or one of deepinv's with random weights."""
    if name not in RIVALS:
        return priors.load(name, precision=precision)
    import deepinv

    made = getattr(deepinv.models, name)(in_channels=channels, out_channels=channels, pretrained=None)
    return made.eval().requires_grad_(False)


def peak() -> float:
    """Peak resident MiB of this process (VmHWM: getrusage would count the parent's too); nan off Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), float("nan"))


@torch.no_grad()
def cost(name: str, size: int, channels: int, precision: str, threads: int) -> tuple[float, float]:
    """Least seconds of up to three calls after a first one, and MiB that the first one added to the peak."""
    torch.set_num_threads(threads)
    network, x = network_of(name, channels, precision), torch.rand(1, channels, size, size)
    before, times = peak(), []
    network(x, 0.1)
    added = peak() - before
    while len(times) < 3 and sum(times) < 20:
        start = time.perf_counter()
        network(x, 0.1)
        times.append(time.perf_counter() - start)
    return min(times), added


def alone(*arguments: object) -> tuple[float, float]:
    """`cost` in a process of its own, since a peak never goes down again."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", help="folder with the pictures, BSD68 for instance; none: times only")
    parser.add_argument("--prior", nargs="+", required=True, help="names or files of the denoisers")
    parser.add_argument("--color", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture")
    parser.add_argument("--sizes", type=int, nargs="*", default=[512], help="sides of the pictures to time")
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--out", type=Path, help="CSV file to append to")
    args = parser.parse_args()

    rows: list[tuple[str, str, float]] = []
    channels = 3 if args.color else 1
    networks = {Path(name).stem: priors.load(name, precision=args.precision) for name in args.prior}
    if args.images:
        for name, values in PUBLISHED[args.color].items():
            print(f"{name + ' (published)':28s}" + "".join(f"{v:9.2f}" for v in values))
        for name, network in networks.items():
            found = list(quality(network, args.images, color=args.color, every=args.every))
            rows += [(name, f"psnr_{level}", value) for level, value in found]
            print(f"{name:28s}" + "".join(f"{value:9.2f}" for _, value in found), flush=True)
    for size, name in itertools.product(args.sizes, [*args.prior, *RIVALS]):
        took, added = alone(name, size, channels, args.precision, torch.get_num_threads())
        rows += [(Path(name).stem, f"seconds_{size}", took), (Path(name).stem, f"mebibytes_{size}", added)]
        print(f"{Path(name).stem:28s} {size} x {size}: {took:8.3f} s {added:8.0f} MiB", flush=True)
    if args.out:
        with args.out.open("a", newline="") as file:
            csv.writer(file).writerows(rows)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", file=sys.stderr)


if __name__ == "__main__":
    main()
