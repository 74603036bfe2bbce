"""White noise read from the frequencies that a known blur removes.

The periodogram of a tapered picture is modelled as P(f) = s n(f) + |H(f)|^2 S(f): s the wanted variance, n =
1 (or the response of white noise to the filling of unobserved pixels), H the transfer function, and S a
smooth spectrum of natural pictures. Signal and noise are fitted together, because no real blur removes a band
completely.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

TILE = 512  # side of the subwindows: a larger picture only gives more of them
MAX_TILES = 6  # a side: bounds the cost of very large pictures
MAX_FILLED = 3  # the same where unobserved pixels have to be filled
LOWEST = 0.05  # cycles a pixel below which the smooth model of S does not hold
CLIP = 5.0  # periodogram over model: beyond, an isolated line (weave, JPEG blocks), not the spectrum
KAPPA = 20.0  # frequencies with that many times more signal than noise say nothing about the noise
SLOPE = 2.5  # natural pictures: S falls like 1/|f|^2 to 1/|f|^3


# weights of the neighbours in Delta^2 x = 0 with 20 at the centre
BIHARMONIC = {(0, 1): 8, (1, 0): 8, (1, 1): -2, (1, -1): -2, (0, 2): -1, (2, 0): -1}
BIHARMONIC |= {(-i, -j): weight for (i, j), weight in BIHARMONIC.items()}


class Spectrum(NamedTuple):
    """Flat arrays over the half plane |f| > LOWEST."""

    power: np.ndarray  # mean periodogram; white noise of variance s gives s times `noise`
    noise: np.ndarray  # n(f)
    radius: np.ndarray  # |f|, cycles a pixel
    angle: np.ndarray  # of f, radians
    gain: np.ndarray  # |H(f)|^2
    tiles: int  # number of averaged periodograms


def spectrum(
    y: np.ndarray, psf: np.ndarray, observed: np.ndarray, *, side: int = TILE, most: int = MAX_TILES
) -> Spectrum:
    """Mean tapered periodogram of one channel, and |H|^2 on the same grid.

    I(f) = |sum_j w_j r_j e^{-2 pi i f j}|^2 / sum_j w_j^2, w a Hann window (its side lobes fall like 1/|f|^6,
    so that unknown borders do not leak), r the picture less its weighted plane.

    Args:
        y: (H, W), at least 32 pixels a side. psf: (h, w), sum 1. observed: (H, W) bool. side: of the
            subwindows whose periodograms are averaged; most: how many of them a direction.

    >>> s = spectrum(np.random.default_rng(0).normal(size=(64, 64)), np.ones((1, 1)), np.ones((64, 64), bool))
    >>> bool(0.9 < s.power.mean() < 1.1)
    True
    """
    shape = tuple(_smooth_size(min(n, side)) for n in y.shape)
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape))
    whole = bool(observed.all())
    parts = list(_tiles(y.shape, shape, most if whole else min(most, MAX_FILLED)))
    power, noise, tiles = np.zeros((shape[0], shape[1] // 2 + 1)), np.zeros((shape[0], shape[1] // 2 + 1)), 0
    rng = np.random.default_rng(0)  # white probes of the filling, the same for every picture
    for part in parts:
        seen = observed[part]
        weight = float((window**2)[seen].sum())
        if weight < 0.1 * float((window**2).sum()):
            continue  # mostly unobserved: little to learn, much to fill
        probes = 0 if whole else max(1, 4 // len(parts))
        power += _periodogram(fill(y[part], seen), window) / weight
        noise += sum(
            _periodogram(fill(rng.standard_normal(shape), seen), window) / weight / probes
            for _ in range(probes)
        )
        tiles += 1
    if tiles == 0:
        msg = (
            f"only {observed.mean():.1%} of the pixels are observed, scattered: give the noise level instead."
        )
        raise ValueError(msg)
    response = np.ones_like(power) if whole else _local_mean(noise / tiles)
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]), indexing="ij")
    radius = np.hypot(fy, fx)
    keep = radius > LOWEST
    gain = np.abs(np.fft.rfft2(_fold(psf, shape))) ** 2
    arrays = (power / tiles, response, radius, np.arctan2(fy, fx), gain)
    power, response, radius, angle, gain = (a[keep] for a in arrays)
    return Spectrum(power, response, radius, angle, gain, tiles)


def fit_noise(s: Spectrum) -> tuple[float, np.ndarray]:
    """Noise variance and the signal |H|^2 S at every frequency, by a robust Whittle likelihood.

    Minimises sum_f w(f) (log P + I / P) over log s and b in P = s n + |H|^2 exp(sum_j b_j phi_j(f)), with phi
    = 1, log |f|, log^2 |f|, and cos, sin of 2 and 4 times the angle of f (a picture's edges have directions).
    I / P is clipped, w = 1 / (1 + (signal / KAPPA noise)^2); Fisher scoring with step control.

    Returns:
        (variance, signal of the shape of s.power); (0, 0) for a picture without any power.
    """
    from scipy.special import gammainc, gammaincc  # heavy to load: only those who estimate pay

    basis = _basis(s)
    alpha, beta = _start(s, basis)
    if not np.isfinite(alpha):
        return 0.0, np.zeros_like(s.power)
    n = s.tiles  # the mean of min(Gamma(n) / n, CLIP), so that clipping does not bias
    expected = gammainc(n + 1, n * CLIP) + CLIP * gammaincc(n, n * CLIP)
    start, stiffness = beta, np.r_[1e-3, np.full(len(beta) - 1, 10.0)]
    for _ in range(60):
        noise, signal = np.exp(alpha) * s.noise, s.gain * np.exp(np.clip(basis @ beta, -60, 30))
        model = noise + signal
        excess = np.minimum(s.power / model, CLIP) / expected - 1
        weight = 1 / (1 + (signal / (KAPPA * noise)) ** 2)
        jacobian = np.column_stack([noise / model, (signal / model)[:, None] * basis])
        weighted = weight[:, None] * jacobian
        score, fisher = weighted.T @ excess, weighted.T @ jacobian
        score[1:] -= stiffness * (beta - start)
        fisher[np.diag_indices_from(fisher)] += np.r_[1e-9 * len(excess), stiffness]
        step = np.linalg.solve(fisher, score)
        step *= min(1.0, 1.0 / np.abs(step).max())
        alpha, beta = alpha + step[0], beta + step[1:]
        if np.abs(step).max() < 1e-4:
            break
    return float(np.exp(alpha)), s.gain * np.exp(np.clip(basis @ beta, -60, 30))


def quietest(s: Spectrum, share: float) -> np.ndarray:
    """Indices of the share of frequencies where a natural picture blurred by H has the least signal.

    The smallest |H|^2 / |f|^SLOPE.
    """
    count = max(32, int(share * len(s.power)))
    return np.argsort(s.gain / s.radius**SLOPE, kind="stable")[:count]


def knee(s: Spectrum) -> float:
    """Power where the spectrum leaves the signal, |H|^2 / |f|^SLOPE fitted to the loudest tenth.

    From loud to quiet in blocks of a fiftieth: the first whose median is 5 times what the signal explains.
    NaN when there is none.
    """
    level, shape = s.power / s.noise, s.gain / s.radius**SLOPE
    order = np.argsort(-shape, kind="stable")
    loud = order[: max(32, len(order) // 10)]
    signal = shape * np.median(level[loud] / shape[loud])
    block = max(32, len(order) // 50)
    for start in range(0, len(order) - block, block // 2):
        part = order[start : start + block]
        if np.median(level[part]) > 5 * np.median(signal[part]):
            return float(np.median(level[part]) / np.log(2))
    return float("nan")


def fill(y: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Replace unobserved pixels by Gaussian averages of the observed ones, then bend them smooth.

    The averages are as local as the hole allows; damped Jacobi steps towards Delta^2 x = 0 at the unobserved
    pixels follow, without which errors of the averages look like noise. Linear in y, so that what it does to
    noise can be measured by filling noise.

    >>> fill(np.array([[1.0, 9.0, 1.0]]), np.array([[True, False, True]])).round(6).tolist()
    [[1.0, 1.0, 1.0]]
    """
    from scipy.ndimage import gaussian_filter

    if observed.all():
        return y
    known, out = observed.copy(), np.where(observed, y, 0.0)
    values, scale = out.copy(), 1.0
    while not known.all():
        weight = gaussian_filter(observed.astype(np.float64), scale, mode="nearest", truncate=2.0)
        take = ~known & (weight > 0.02)
        local = gaussian_filter(values, scale, mode="nearest", truncate=2.0)
        out[take] = local[take] / weight[take]
        known |= take
        if scale > max(y.shape):
            out[~known] = values.sum() / max(int(observed.sum()), 1)
            break
        scale *= 2
    return _bend(out, ~observed)


def _bend(x: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Damped Jacobi for the biharmonic equation inside a hole; 0.6 x 64 / 20 < 2 keeps it stable."""
    rows, columns = np.nonzero(hole)
    neighbours = []
    for (i, j), weight in BIHARMONIC.items():
        clipped = np.clip(rows + i, 0, x.shape[0] - 1) * x.shape[1] + np.clip(columns + j, 0, x.shape[1] - 1)
        neighbours.append((clipped, weight / 20))
    flat, here = x.ravel(), rows * x.shape[1] + columns
    for _ in range(12):
        target = sum(weight * flat[index] for index, weight in neighbours)
        flat[here] += 0.6 * (target - flat[here])
    return flat.reshape(x.shape)


def _start(s: Spectrum, basis: np.ndarray) -> tuple[float, np.ndarray]:
    """Log variance from the quietest frequencies, amplitude of S from the others, the usual slope."""
    quiet = quietest(s, 0.05)
    level = np.median(s.power[quiet] / s.noise[quiet])
    if level <= 0:
        return -np.inf, np.zeros(basis.shape[1])
    shape = s.gain / s.radius**SLOPE
    loud = shape > np.median(shape)
    amplitude = np.median(s.power[loud] / shape[loud])
    beta = np.zeros(basis.shape[1])
    beta[:2] = np.log(max(amplitude, 1e-300)) - SLOPE * np.log(0.25), -SLOPE
    return float(np.log(level / np.log(2) if s.tiles == 1 else level)), beta


def _basis(s: Spectrum) -> np.ndarray:
    radial = np.log(s.radius / 0.25)
    turns = [trig(k * s.angle) for k in (2, 4) for trig in (np.cos, np.sin)]
    return np.column_stack([np.ones_like(radial), radial, radial**2, *turns])


def _periodogram(tile: np.ndarray, window: np.ndarray) -> np.ndarray:
    rows, columns = (np.linspace(-1, 1, n) for n in tile.shape)
    total = window.sum()  # the window is even: its weighted plane has orthogonal parts
    weighted = window * tile
    slope_y = (rows[:, None] * weighted).sum() / (rows[:, None] ** 2 * window).sum()
    slope_x = (columns * weighted).sum() / (columns**2 * window).sum()
    plane = weighted.sum() / total + slope_y * rows[:, None] + slope_x * columns
    return np.abs(np.fft.rfft2(window * (tile - plane))) ** 2


def _tiles(size: tuple[int, ...], shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, slice]]:
    """Evenly spread subwindows that overlap by up to a half, at most `most` a side."""
    starts = []
    for n, m in zip(size, shape, strict=True):
        count = 1 if n < 1.25 * m else min(most, int(np.ceil(2 * n / m)) - 1)
        starts.append(np.linspace(0, n - m, count).astype(int) if count > 1 else [(n - m) // 2])
    for i in starts[0]:
        for j in starts[1]:
            yield slice(int(i), int(i) + shape[0]), slice(int(j), int(j) + shape[1])


def _local_mean(a: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return uniform_filter(a, 15, mode=("wrap", "nearest"))


def _fold(psf: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The psf on a grid of the given shape, wrapped where it is larger: the same transform on that grid."""
    out = np.zeros(shape)
    rows, columns = (np.arange(n) % m for n, m in zip(psf.shape, shape, strict=True))
    np.add.at(out, (rows[:, None], columns[None, :]), psf)
    return out


def _smooth_size(n: int) -> int:
    """The largest size up to n whose prime factors are 2, 3 and 5."""
    for m in range(n, 1, -1):
        rest = m
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return m
    return n
