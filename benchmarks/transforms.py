"""What an FFT and the denoiser cost a megapixel, alone, from 1 to 64 megapixels.

    python benchmarks/transforms.py [--sides 1050 2058 4116 8232]

Processor milliseconds a megapixel, the least of a few runs in kept memory: rfft2, torch's irfft2, and that of
`imaging.fft`, which packs large ones into half the width; seconds for denoiser-gray. Results:
results/transforms.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from common import RESULTS, circumstances, markdown, write_text
from scaling import MEGA, least

import priors
from imaging.fft import irfft2, rfft2
from imaging.heap import kept_heap


def line(side: int, network: torch.nn.Module) -> list[str]:
    """The table's row for a square of this side."""
    x = torch.rand(1, 1, side, side)
    spectrum, mega = rfft2(x), side**2 / MEGA
    times = [
        least(lambda: rfft2(x), 3),
        least(lambda: torch.fft.irfft2(spectrum, s=(side, side)), 3),
        least(lambda: irfft2(spectrum, (side, side)), 3),
    ]
    with torch.no_grad():
        one = least(lambda: network(x, 0.05), 2)
    return [f"{side}", *(f"{1e3 * seconds / mega:.1f}" for seconds in times), f"{one / mega:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[1050, 2058, 4116, 8232])
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="[benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, rows = priors.load("denoiser-gray"), []
    with kept_heap():
        for side in args.sides:
            rows.append(line(side, network))
            print(" | ".join(rows[-1]), flush=True)
    table = markdown(["side", "rfft2, ms/MP", "torch's irfft2", "imaging's irfft2", "denoiser, s/MP"], rows)
    text = ["# What is unavoidable, alone", circumstances(1), table]
    write_text(args.out / "transforms.md", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
