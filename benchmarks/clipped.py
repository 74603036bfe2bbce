"""What becomes of overexposed pictures? PSNR beside three ways with the pixels that are clipped.

    python benchmarks/clipped.py [--images DIR] [--limit 12] [--methods tv pnp unrolled auto]

Pictures are made brighter (--gains), blurred in turn by disk:3, gaussian:1.6 and motion:15@30, get noise of
0.01 or 0.03, and are stored in 8 bits. Those in which clipped areas are found count. Every method is told psf
and level, and nothing of the clipping (default: what lies at an edge of the area is masked, its middle is
data), told to mask all of it, or nothing (mask=False). The truth is clipped to the range as well. Results:
results/clipped.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, circumstances, markdown, pictures, set_name, write_text
from skimage.metrics import peak_signal_noise_ratio

import proxlab
from imaging.psf.text import parse_psf
from proxlab.clipping import find_clipped

PSFS = ("disk:3", "gaussian:1.6", "motion:15@30")
LEVELS = (0.01, 0.03)
SIDE = 256
WAYS = ("default", "all masked", "nothing masked")


Scene = tuple[str, np.ndarray, np.ndarray, np.ndarray, float]


def scenes(images: dict[str, np.ndarray], gains: list[float]) -> Iterator[Scene]:
    """(name, truth, data of 8 bits, psf, sigma) where clipped areas are found."""
    from scipy.signal import convolve2d

    for gain in gains:
        for n, (name, sharp) in enumerate(images.items()):
            psf, sigma = np.asarray(parse_psf(PSFS[n % 3])), LEVELS[n % 2]
            bright = gain * sharp[:SIDE, :SIDE]
            light = convolve2d(bright, psf, mode="valid")
            top, left = ((k - 1) // 2 for k in psf.shape)
            truth = bright[top : top + light.shape[0], left : left + light.shape[1]].clip(0, 1)
            noisy = light + sigma * np.random.default_rng(n).standard_normal(light.shape)
            data = np.round(255 * noisy.clip(0, 1)).astype(np.uint8)
            if find_clipped(data[None], 0, 255).valid is not None:
                yield f"{name} x {gain:g}", truth, data, psf, sigma


def masks(data: np.ndarray) -> dict[str, np.ndarray | bool | None]:
    """What `mask` is in each of the three ways."""
    valid = find_clipped(data[None], 0, 255).valid
    return dict(zip(WAYS, (None, None if valid is None else valid[0], False), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="photographs [scikit-image's]")
    add("--limit", type=int, default=12, help="how many [12]")
    add("--gains", type=float, nargs="+", default=[1.0, 1.15, 1.6], help="[1 1.15 1.6]")
    add("--methods", nargs="+", default=["tv", "pnp", "unrolled", "auto"], help="[tv pnp unrolled auto]")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    before: list[float] = []
    found: dict[tuple[str, str], list[float]] = {(m, w): [] for m in args.methods for w in WAYS}
    for name, truth, data, psf, sigma in scenes(pictures(args.images, args.limit), args.gains):
        before.append(peak_signal_noise_ratio(truth, data / 255, data_range=1))
        for (method, way), values in found.items():
            options = {"method": method, "sigma": sigma, "mask": masks(data)[way]}
            x, _ = proxlab.deblur(data, psf, return_info=True, **options)
            values.append(peak_signal_noise_ratio(truth, x / 255, data_range=1))
        print(name, f"{before[-1]:.2f}", *(f"{values[-1]:.2f}" for values in found.values()), flush=True)
    rows = [["the data themselves", "", f"{np.mean(before):.2f}", "", ""]]
    for (method, way), values in found.items():
        gains = np.subtract(values, before)
        rows.append([method, way, f"{np.mean(values):.2f}", f"{gains.min():+.2f}", f"{(gains < 0).sum()}"])
    table = markdown(["method", "clipped pixels", "PSNR, dB", "least gain, dB", "below the data"], rows)
    head = f"# Overexposed pictures: {len(before)} of {set_name(args.images)} with clipped areas"
    write_text(args.out / "clipped.md", "\n\n".join([head, circumstances(1), table]) + "\n")
    print(table)


if __name__ == "__main__":
    main()
