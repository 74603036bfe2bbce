"""How well are motion, gaussian and disk psfs estimated from one picture, and how often refused?

    python benchmarks/psf_estimation.py --images DIR [--limit N]

Every picture is blurred (psf of the generators, cropped to what the sensor saw), gets white noise, and is
given to `estimate_psf` with the right kind; sharp pictures and pictures blurred by another kind are given to
it as well, which should then refuse. Prints, per kind and noise level, the share refused and the median and
90th percentile of the errors among the accepted; and the share of false acceptance. The same seed gives the
same table.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from imaging.psf.errors import PsfNotFound
from imaging.psf.estimate import estimate_psf
from imaging.psf.generators import disk, gaussian, motion

MAKE = {"motion": motion, "gaussian": gaussian, "disk": disk}
BLURS = {
    "motion": [(7, 20), (9, 0), (12, 75), (15, 30), (18, 135), (21, 100), (25, 160)],
    "gaussian": [(0.8,), (1.2,), (1.6,), (2.0,), (2.5,), (3.0,)],
    "disk": [(2.0,), (3.0,), (4.0,), (5.0,), (6.0,)],
}
LEVELS = (0.005, 0.01)


def pictures(folder: Path, limit: int) -> list[np.ndarray]:
    """Grey pictures on [0, 1], sorted by name, evenly spread when limited."""
    import imageio.v3 as iio

    files = sorted(
        p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".bmp")
    )
    if not files:
        message = f"{folder} holds no pictures, wanted png, jpg, tif or bmp files: give another --images."
        raise SystemExit(message)
    chosen = [
        files[i]
        for i in np.unique(np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int))
    ]
    grey = []
    for path in chosen:
        picture = iio.imread(path) / 255.0
        grey.append(picture if picture.ndim == 2 else picture[..., :3] @ [0.299, 0.587, 0.114])
    return grey


def degraded(picture: np.ndarray, psf: np.ndarray | None, sigma: float, seed: int) -> np.ndarray:
    """Blurred, cropped to the valid part, noisy."""
    from scipy.signal import fftconvolve

    y = picture if psf is None else fftconvolve(picture, psf, mode="valid")
    return y + sigma * np.random.default_rng(seed).standard_normal(y.shape)


def errors(kind: str, truth: tuple[float, ...], found: dict[str, float]) -> tuple[float, ...]:
    """Relative error of the width or length; for motion the angle's error in degrees as well."""
    if kind != "motion":
        value = found["sigma" if kind == "gaussian" else "radius"]
        return (abs(value - truth[0]) / truth[0],)
    turn = abs((found["angle"] - truth[1] + 90) % 180 - 90)
    return abs(found["length"] - truth[0]) / truth[0], turn


def attempt(y: np.ndarray, kind: str) -> dict[str, float] | None:
    """The parameters found, None when refused."""
    try:
        return estimate_psf(y, kind).parameters
    except PsfNotFound:
        return None


def measure(kind: str, sigma: float, grey: list[np.ndarray], blurs: int | None) -> str:
    """One row of the table: one kind at one noise level."""
    rows, refused, tried = [], 0, 0
    for i, picture in enumerate(grey):
        for j, truth in enumerate(BLURS[kind]):
            if blurs is not None and (i + j) % len(BLURS[kind]) >= blurs:
                continue
            tried += 1
            found = attempt(degraded(picture, MAKE[kind](*truth), sigma, 100 * i + j), kind)
            if found is None:
                refused += 1
            else:
                rows.append(errors(kind, truth, found))
    wrong = [
        (other, BLURS[other][i % len(BLURS[other])])
        for i in range(len(grey))
        for other in MAKE
        if other != kind
    ]
    sharp = [attempt(degraded(p, None, sigma, i), kind) is not None for i, p in enumerate(grey)]
    misled = [
        attempt(degraded(grey[n // 2], MAKE[other](*truth), sigma, n), kind) is not None
        for n, (other, truth) in enumerate(wrong)
    ]
    size, *turn = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.array([np.nan]),)
    angles = f"{np.median(turn[0]):8.2f} {np.quantile(turn[0], 0.9):8.2f}" if turn else f"{'-':>8} {'-':>8}"
    return (
        f"{kind:9} {sigma:6.3f} {tried:6d} {refused / tried:8.1%}"
        f" {np.median(size):8.1%} {np.quantile(size, 0.9):8.1%}"
        f" {angles} {np.mean(sharp):8.1%} {np.mean(misled):8.1%}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of sharp pictures")
    parser.add_argument(
        "--limit", type=int, default=12, help="pictures used, evenly spread over the folder (12)"
    )
    parser.add_argument("--blurs", type=int, help="blurs of each kind per picture, in turn (all)")
    asked = parser.parse_args()
    grey = pictures(asked.images, asked.limit)
    print(f"{len(grey)} pictures; errors of the accepted: of the size relative, of the angle in degrees")
    print(
        f"{'kind':9} {'sigma':>6} {'tried':>6} {'refused':>8} {'size 50%':>8} {'90%':>8}"
        f" {'ang. 50%':>8} {'90%':>8} {'sharp+':>8} {'wrong+':>8}"
    )
    start = time.perf_counter()
    for kind in MAKE:
        for sigma in LEVELS:
            print(measure(kind, sigma, grey, asked.blurs), flush=True)
    print(f"sharp+, wrong+: sharp pictures, other kinds accepted. {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
