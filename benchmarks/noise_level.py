"""How good is the estimate of the noise level? Ratio of estimate to truth, by kernel and level.

python benchmarks/noise_level.py --images DIR --kernels DIR

Every photograph is blurred by every kernel (valid convolution: the border is not known, and circular), white
noise is added, and the level is estimated with the psf, without it, and by scikit-image (wavelet MAD; needs
PyWavelets). Kernels are .npy files; a Gaussian of 1 pixel and no blur at all are always among them.
--quantise rounds to 8 bits and clips, as a file does. Without --images scikit-image's own photographs are
used, without --kernels only the Gaussian.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy.signal import fftconvolve

from imaging import noise
from imaging.noise_level import estimate_sigma

LEVELS = (0.05, 0.02, 0.01, 0.005)


def photographs(folder: Path | None, limit: int) -> list[np.ndarray]:
    """Grey pictures on [0, 1]."""
    from skimage import color, data, io

    if folder is None:
        pictures = [data.camera()[::2, ::2], data.astronaut()[::2, ::2], data.coffee(), data.chelsea()]
    else:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg", ".tif"})
        pictures = [io.imread(p) for p in files[:limit]]
    return [color.rgb2gray(p[..., :3]) if p.ndim == 3 else p / 255 for p in pictures]


def kernels(folder: Path | None) -> dict[str, np.ndarray]:
    axis = np.arange(-6, 7)
    gauss = np.exp(-(axis[:, None] ** 2 + axis**2) / 2)
    found = {} if folder is None else {p.stem: np.load(p) for p in sorted(folder.glob("*.npy"))}
    found |= {"gaussian1": gauss, "none": np.ones((1, 1))}
    return {name: k / k.sum() for name, k in found.items()}


def circular(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    return np.fft.irfft2(np.fft.rfft2(x) * np.fft.rfft2(k, x.shape), x.shape)


def wavelet(y: torch.Tensor) -> float:
    from skimage.restoration import estimate_sigma as peer

    try:
        return float(peer(y[0, 0].numpy()))
    except ImportError:
        return float("nan")


def estimators(psf: torch.Tensor) -> dict[str, Callable[[torch.Tensor], float]]:
    return {
        "psf known": lambda y: float(estimate_sigma(y, psf)),
        "psf unknown": lambda y: float(estimate_sigma(y)),
        "scikit-image": wavelet,
    }


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, str, float, str, np.ndarray, float]]:
    """(border, kernel, level, estimator, ratios over pictures, seconds a picture)."""
    pictures = photographs(arguments.images, arguments.limit)
    for name, k in kernels(arguments.kernels).items():
        methods = estimators(torch.from_numpy(k)[None, None])
        for border in arguments.borders:
            blurred = [
                fftconvolve(x, k, "valid") if border == "unknown" else circular(x, k) for x in pictures
            ]
            clean = [torch.from_numpy(b)[None, None] for b in blurred]
            for level in arguments.levels:
                noisy = [noise.gaussian(x, level, seed) for seed, x in enumerate(clean)]
                if arguments.quantise:
                    noisy = [noise.quantise(y, 256) for y in noisy]
                for method, estimate in methods.items():
                    start = time.perf_counter()
                    ratios = np.array([estimate(y) for y in noisy]) / level
                    yield border, name, level, method, ratios, (time.perf_counter() - start) / len(noisy)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path)
    parser.add_argument("--kernels", type=Path)
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS)
    parser.add_argument("--borders", nargs="+", default=["unknown"], choices=["unknown", "circular"])
    parser.add_argument("--limit", type=int, default=10**6, help="at most that many pictures")
    parser.add_argument("--quantise", action="store_true", help="round to 8 bits and clip")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("estimate / truth" + (", 8 bits and clipped" if arguments.quantise else ""))
    print(f"{'border':9}{'kernel':11}{'sigma':>7}  {'estimator':13}{'in 15 %':>8}{'median':>8}", end="")
    print(f"{'5 %':>8}{'95 %':>8}{'lowest':>8}{'highest':>8}{'ms':>7}")
    for border, kernel, level, method, ratios, seconds in rows(arguments):
        figures = [np.median(ratios), *np.percentile(ratios, [5, 95]), ratios.min(), ratios.max()]
        inside = f"{(abs(ratios - 1) <= 0.15).mean():8.1%}"
        numbers = "".join(f"{v:8.3f}" for v in figures)
        print(
            f"{border:9}{kernel:11}{level:7.3f}  {method:13}{inside}{numbers}{1e3 * seconds:7.0f}", flush=True
        )


if __name__ == "__main__":
    main()
