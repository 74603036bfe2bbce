"""Make the pictures of this folder from photographs that scikit-image ships: python data/make.py

What a camera gives: light blurred on a field larger than the sensor, noise, 8 or 16 bits. Origins and
licences are in README.md.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from imaging.files import Picture, Scale, from_float, linear_to_srgb, srgb_to_linear, write_picture
from imaging.psf.files import write_psf
from imaging.psf.text import parse_psf


class Shot(NamedTuple):
    """One picture: file, photograph, psf text, window (top, left, height, width), seed, noise."""

    file: str
    origin: str
    psf: str
    window: tuple[int, int, int, int]
    seed: int
    sigma: float  # standard deviation as a fraction of the range
    electrons: float | None  # full well of the shot noise; then blur and noise are in linear light


SHOTS = (
    Shot("camera_shake.png", "camera.png", "shake:11", (64, 128, 256, 256), 1, 0.01, None),
    Shot("coffee_motion.png", "coffee.png", "motion:15@30", (56, 104, 256, 320), 2, 0.01, None),
    Shot("astronaut_defocus.tif", "astronaut.png", "disk:4", (8, 112, 224, 224), 3, 0.0005, 10000.0),
    Shot("chelsea_gaussian.jpg", "chelsea.png", "gaussian:1.6", (30, 80, 216, 288), 4, 0.006, None),
)


def photograph(name: str) -> np.ndarray:
    """Return a photograph of scikit-image's, float64 on [0, 1], without downloading anything."""
    import imageio.v3 as iio
    import skimage

    return iio.imread(Path(skimage.__file__).parent / "data" / name) / 255.0


def blurred(x: np.ndarray, psf: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Return the window of the true convolution of x with psf, whose centre is index n // 2.

    The definition, y[i] = sum_k psf[k] x[i + n // 2 - k], summed in one order: the same bits everywhere.
    """
    top, left, height, width = window
    y = np.zeros((height, width, *x.shape[2:]))
    for (a, b), weight in np.ndenumerate(psf):
        if weight:
            row, column = top + psf.shape[0] // 2 - a, left + psf.shape[1] // 2 - b
            assert 0 <= row <= x.shape[0] - height and 0 <= column <= x.shape[1] - width
            y += weight * x[row : row + height, column : column + width]
    return y


def exposed(shot: Shot, psf: np.ndarray) -> np.ndarray:
    """Return the picture of a shot before it is quantised."""
    x, rng = photograph(shot.origin), np.random.default_rng(shot.seed)
    if shot.electrons is None:
        y = blurred(x, psf, shot.window)
        return y + shot.sigma * rng.standard_normal(y.shape)
    y = blurred(srgb_to_linear(x), psf, shot.window)
    variance = y / shot.electrons + shot.sigma**2  # shot noise of many electrons is Gaussian
    return linear_to_srgb(y + np.sqrt(variance) * rng.standard_normal(y.shape))


def stored(x: np.ndarray, bits: int) -> np.ndarray:
    """Return x, nominally on [0, 1], as integers of 8 or 16 bits."""
    white = 2**bits - 1
    return from_float(x, Scale(np.dtype(f"uint{bits}"), 0.0, float(white), (0, white)))


def make(folder: Path) -> None:
    """Write the pictures into `folder`, their psfs and the sharp truths into psfs/ and sharp/ below it."""
    (folder / "psfs").mkdir(parents=True, exist_ok=True)
    (folder / "sharp").mkdir(exist_ok=True)
    for shot in SHOTS:
        psf = parse_psf(shot.psf)
        assert isinstance(psf, np.ndarray)
        name = Path(shot.file).stem
        picture = Picture(stored(exposed(shot, psf), 16 if shot.file.endswith(".tif") else 8), "npy")
        top, left, height, width = shot.window
        truth = photograph(shot.origin)[top : top + height, left : left + width]
        write_picture(folder / shot.file, picture, overwrite=True)
        write_psf(folder / "psfs" / f"{name}.npy", psf, overwrite=True)
        write_picture(folder / "sharp" / f"{name}.png", stored(truth, 8), overwrite=True)
    write_psf(folder / "psfs" / "camera_shake.png", parse_psf(SHOTS[0].psf), overwrite=True)


if __name__ == "__main__":
    make(Path(__file__).parent)
