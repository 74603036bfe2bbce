"""Power spectrum of a picture and its Whittle fit: noise floor + blur x spectrum of a natural picture."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LOWEST = 0.03  # cycles per pixel; below, the taper leaks and pictures differ most
STEPS = 40  # scoring steps; a fit needs 5 to 15
_FLOOR = 1e-9  # least noise variance
# Neighbouring frequencies, overlapping tiles and a spectrum that is only roughly smooth: a picture holds far
# less evidence than independent periodogram ordinates would. With this share the widths of gaussian blurs of
# the training photographs come out unbiased, and sharp photographs come out sharp.
_TEMPER = 0.04


@dataclass(frozen=True)
class Spectrum:
    """Averaged periodogram of a picture on the frequencies used.

    power (n,): the periodogram scaled so that white noise of deviation s has power s^2; basis (n, k): the log
    spectra a natural picture is made of; use (tile, tile // 2 + 1): which frequencies; looks: effective
    number of independent tiles averaged.
    """

    power: np.ndarray
    basis: np.ndarray
    use: np.ndarray
    tile: int
    looks: float

    def thinned(self, step: int) -> "Spectrum":
        """Every step-th frequency, in single precision: for a cheap first look."""
        use = np.zeros_like(self.use)
        use.flat[np.flatnonzero(self.use)[::step]] = True
        power, basis = self.power[::step].astype(np.float32), self.basis[::step].astype(np.float32)
        return Spectrum(power, basis, use, self.tile, self.looks * step)


class Fits(NamedTuple):
    """Maxima of the likelihood, one a psf: log likelihood, spectrum weights (K, 9), noise variance."""

    score: np.ndarray
    weights: np.ndarray
    noise: np.ndarray


# Weights of the log power of sharp photographs on `log_basis`, relative to the level (the first weight, left
# free): mean and standard deviation over the 200 training photographs of BSDS500 (Arbelaez et al., PAMI
# 2011).
PRIOR_MEAN = np.array([0.0, -2.45, -0.61, -0.09, -0.01, 0.32, -0.01, 0.01, 0.01])
PRIOR_SD = np.array([np.inf, 0.42, 0.24, 0.42, 0.23, 0.25, 0.13, 0.18, 0.10])


def tile_size(shape: tuple[int, ...]) -> int:
    """Side of the tiles: 128, in large pictures up to 512, so that longer blurs are resolved."""
    return 128 << int(np.clip(np.log2(max(min(shape) / 600, 1)), 0, 2))


def frequencies(tile: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column frequencies of the half spectrum, in cycles per pixel."""
    row, column = np.meshgrid(np.fft.fftfreq(tile), np.fft.rfftfreq(tile), indexing="ij")
    return row, column


def log_basis(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Smooth log spectra (n, 9): level, two powers of log frequency, their change with direction."""
    u = np.log(np.hypot(row, column) / 0.15)
    a = np.arctan2(row, column)
    turns = [np.cos(2 * a), np.sin(2 * a), np.cos(4 * a), np.sin(4 * a)]
    return np.stack([np.ones_like(u), u, u * u, *turns, u * turns[0], u * turns[1]], axis=-1)


def spectrum_of(image: np.ndarray) -> Spectrum:
    """Average periodogram of half-overlapping Hann tiles (Welch 1967) of a grey picture (H, W)."""
    tile = tile_size(image.shape)
    window = np.outer(*[np.sin(np.pi * (np.arange(tile) + 0.5) / tile) ** 2] * 2)
    window /= np.sqrt((window**2).sum())
    power, count = np.zeros((tile, tile // 2 + 1)), 0
    for top in _starts(image.shape[0], tile):
        for left in _starts(image.shape[1], tile):
            part = image[top : top + tile, left : left + tile]
            part = part - (part * window).sum() / window.sum()
            power += np.abs(np.fft.rfft2(part * window)) ** 2
            count += 1
    row, column = frequencies(tile)
    use = np.hypot(row, column) >= LOWEST
    use &= ~((column == 0) & (row < 0))  # the mirror of a frequency already there
    looks = _TEMPER * min(count, image.size / tile**2)
    return Spectrum(power[use] / count, log_basis(row[use], column[use]), use, tile, looks)


def _starts(length: int, tile: int) -> np.ndarray:
    return np.unique(np.linspace(0, length - tile, 1 + -(-2 * (length - tile) // tile)).round().astype(int))


def gain_of(psf: np.ndarray, tile: int, use: np.ndarray) -> np.ndarray:
    """|OTF|^2 of a psf (at most tile x tile) on the frequencies used, smeared as the taper smears."""
    gain = np.abs(np.fft.rfft2(psf, s=(tile, tile))) ** 2
    gain = np.concatenate([gain[:, 1:2], gain, gain[:, -2:-1]], axis=1)  # real psf: |OTF| is even
    gain[:, [0, -1]] = np.roll(gain[::-1, [0, -1]], 1, axis=0)
    gain = (
        2 / 3 * gain + (np.roll(gain, 1, 0) + np.roll(gain, -1, 0)) / 6
    )  # power of a Hann taper: 1/6, 2/3, 1/6
    return (2 / 3 * gain[:, 1:-1] + (gain[:, :-2] + gain[:, 2:]) / 6)[use]


def whittle(spectrum: Spectrum, gains: np.ndarray, *, steps: int = STEPS) -> Fits:
    """Maximise sum of -looks (log m + P / m) + log prior over m = noise + gain exp(basis w), for K gains (K,
    n) at once.

    The periodogram P of a stationary field is exponential about its spectrum m (Whittle, Arkiv for Matematik
    1953); damped Fisher scoring, every psf with its own damping; `steps` bounds the scoring steps.
    """
    x = _starting_point(spectrum, gains)
    damping = np.full(len(x), 1e-2)
    now = _evaluate(spectrum, gains, x)
    for _ in range(steps):
        step = _scoring_step(spectrum, now, x, damping)
        trial = x + np.clip(step, -2, 2)
        trial[:, -1] = np.maximum(trial[:, -1], np.log(_FLOOR))
        new = _evaluate(spectrum, gains, trial)
        gained = new.score - now.score
        better = gained > 0
        x = np.where(better[:, None], trial, x)
        now = _State(
            *(np.where(better.reshape(-1, *[1] * (b.ndim - 1)), a, b) for a, b in zip(new, now, strict=True))
        )
        damping = np.where(better, np.maximum(damping / 5, 1e-6), damping * 10)
        if ((gained < 0.002) & (better | (damping > 1e4) | (gained > -1e-6))).all():
            break
    return Fits(now.score, x[:, :-1], np.exp(x[:, -1]))


class _State(NamedTuple):
    score: np.ndarray  # (K,)
    share: np.ndarray  # (K, n) signal / m
    excess: np.ndarray  # (K, n) P / m - 1
    noise_share: np.ndarray  # (K, n) noise / m


def _starting_point(spectrum: Spectrum, gains: np.ndarray) -> np.ndarray:
    """Mean natural spectrum at the level of the picture, noise at the floor of its periodogram."""
    natural = np.exp(spectrum.basis @ PRIOR_MEAN)
    level = np.log((spectrum.power / natural).mean() / (gains.mean(1) + 1e-3))
    x = np.tile(np.append(PRIOR_MEAN, np.log(max(np.quantile(spectrum.power, 0.2), _FLOOR))), (len(gains), 1))
    x[:, 0] = level
    return x


def _evaluate(spectrum: Spectrum, gains: np.ndarray, x: np.ndarray) -> _State:
    x = x.astype(spectrum.basis.dtype)
    signal = gains * np.exp(x[:, :-1] @ spectrum.basis.T)
    noise = np.exp(x[:, -1:])
    m = signal + noise
    ratio = spectrum.power / m
    pull = ((x[:, :-1] - PRIOR_MEAN) ** 2 / PRIOR_SD**2).sum(1) / 2
    return _State(-spectrum.looks * (np.log(m) + ratio).sum(1) - pull, signal / m, ratio - 1, noise / m)


def _scoring_step(spectrum: Spectrum, now: _State, x: np.ndarray, damping: np.ndarray) -> np.ndarray:
    basis, looks = spectrum.basis, spectrum.looks
    k = basis.shape[1]
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    fisher = np.empty((len(x), k + 1, k + 1))
    fisher[:, :k, :k] = (now.share**2 @ pairs).reshape(-1, k, k)
    fisher[:, :k, k] = fisher[:, k, :k] = (now.share * now.noise_share) @ basis
    fisher[:, k, k] = (now.noise_share**2).sum(1)
    gradient = np.column_stack([(now.share * now.excess) @ basis, (now.noise_share * now.excess).sum(1)])
    fisher, gradient = looks * fisher, looks * gradient
    gradient[:, :k] -= (x[:, :-1] - PRIOR_MEAN) / PRIOR_SD**2
    index = np.arange(k + 1)
    fisher[:, index[:k], index[:k]] += 1 / PRIOR_SD**2
    fisher[:, index, index] += damping[:, None] * (fisher[:, index, index] + looks)
    return np.linalg.solve(fisher, gradient[..., None])[..., 0]
