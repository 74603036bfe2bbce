"""How much noise is in a picture: white Gaussian level, Poisson peak, and whether it is white at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from imaging import noise_patches, noise_spectrum

REMOVED = 1e-2  # |H|^2 below which a blur counts as removing a frequency
ENOUGH = 0.02  # share of removed frequencies below which the psf is no help
SMALLEST = 32  # pixels a side below which there are too few frequencies for a fit
NEAR_SIGNAL = (
    0.48**2
)  # least that white noise gave on blurred photographs; after JPEG smooth blurs give 0.15 to 0.3
DISBELIEF = 1.5  # so many times less noise in the flattest patches than in the spectrum: one of them is wrong
COLOURED = 0.8  # it is the spectrum where what it calls noise falls with frequency
TARGET = "give sigma, the standard deviation as a fraction of the range."
ROUGH_TILE, ROUGH_TILES = 256, 2  # for a rough look: side of the subwindows, and how many a side at most
ROUGH_PATCHES = 10_000


class NoiseLook:
    """The numbers of `estimate_sigma`, `colour_of_noise` and `level_beside_signal` of the same pictures.

    What they share, spectra and patches, is made once. roughly: spectra from smaller windows and held against
    fewer patches, for a seventh of the time, good enough to see that a level is wrong; without a psf that
    helps there is no such short cut. On 9 photographs, 4 psfs and 3 levels it was within 3 % of the level.

    Args:
        y, psf, mask: as in `estimate_sigma`.

    Raises:
        TypeError, ValueError: as in `estimate_sigma`, at once or by the methods.

    >>> y = 0.5 + 0.03 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> look = NoiseLook(y)
    >>> bool(look.sigma() == estimate_sigma(y)), bool(look.colour() == colour_of_noise(y))
    (True, True)
    """

    def __init__(
        self, y: Tensor, psf: Tensor | None = None, *, mask: Tensor | None = None, roughly: bool = False
    ) -> None:
        self._like = y
        self._samples = [
            [_Channel(*channel, roughly) for channel in sample] for sample in _samples(y, psf, mask)
        ]

    def sigma(self) -> Tensor:
        """The level, as `estimate_sigma` gives it."""
        return self._pooled(_variance)

    def colour(self) -> Tensor:
        """High over low frequencies, as `colour_of_noise` gives it."""
        return self._pooled(_colour)

    def beside_signal(self) -> Tensor:
        """The level where the signal ends, as `level_beside_signal` gives it."""
        return self._pooled(_beside_signal)

    def _pooled(self, of_channel: Callable[[_Channel], float]) -> Tensor:
        values = [np.mean([of_channel(channel) for channel in sample]) for sample in self._samples]
        return torch.as_tensor(np.sqrt(values), dtype=self._like.dtype, device=self._like.device)


def estimate_sigma(y: Tensor, psf: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Standard deviation of white Gaussian noise, one number a picture; channels are pooled.

    With a psf that removes frequencies, signal and noise spectra are fitted together and the noise is read
    where the blur leaves little (`imaging.noise_spectrum`); borders may be of any kind. Otherwise from the
    flattest patches (`imaging.noise_patches`), also where the picture shows that this psf did not blur it.
    Regions where values pile up at exactly 0 or 1 are left out: clipping cuts the noise.

    Args:
        y: (B, C, H, W) on [0, 1], floating, at least 3 pixels a side.
        psf: (1|B, 1|C, h, w), any sum but 0, or None when the blur is not known.
        mask: broadcasts with y; nonzero where a pixel is observed. Unobserved pixels may hold anything.

    Returns:
        (B,), on the device and in the dtype of y; sqrt of the mean variance over channels.

    Raises:
        TypeError: y is not floating.
        ValueError: shapes do not fit, NaN in an observed pixel, or too few observed pixels.

    >>> y = 0.5 + 0.03 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> round(float(estimate_sigma(y)), 2)
    0.03
    """
    return NoiseLook(y, psf, mask=mask).sigma()


def colour_of_noise(y: Tensor, psf: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Level of the high half of the noise-only frequencies over that of the low half: 1 for white noise.

    JPEG compression and resizing remove high frequencies (below 1), fine sharpening raises them (above 1);
    rules that assume white noise must not be used far from 1. On blurred photographs white noise gives 0.91
    to 1.03 with the psf and 0.86 to 1 without it, JPEG of quality 85 or a picture enlarged 1.3 times 0.5 to
    0.8. Noise-only frequencies: with a psf the three tenths where it leaves least signal, split at the median
    of |f|; without, the DCT bands of the flattest patches above a quarter of the sampling rate, split at 0.48
    of it.

    Args:
        y, psf, mask: as in `estimate_sigma`.

    Returns:
        (B,), on the device and in the dtype of y; NaN where the picture is too small or holds no noise.

    Raises:
        TypeError, ValueError: as in `estimate_sigma`.

    >>> y = 0.5 + 0.03 * torch.randn(1, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    >>> 0.9 < float(colour_of_noise(y)) < 1.1
    True
    """
    return NoiseLook(y, psf, mask=mask).colour()


def level_beside_signal(y: Tensor, psf: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Level of noise that is not white (see `colour_of_noise`) at the frequencies where the signal ends.

    There deblurring amplifies most, and there JPEG leaves most: the larger of the fitted level over its
    colour, and the level at which the spectrum leaves the signal's course. Cautious: never below the white
    estimate, up to a half above it on white noise.

    Args:
        y, psf, mask: as in `estimate_sigma`.

    Returns:
        (B,), on the device and in the dtype of y; NaN where the psf removes nothing.

    Raises:
        TypeError, ValueError: as in `estimate_sigma`.
    """
    return NoiseLook(y, psf, mask=mask).beside_signal()


def estimate_peak(y: Tensor, *, mask: Tensor | None = None) -> float:
    """Poisson peak (count at value 1) of a picture whose noise has variance value / peak.

    Blocks of 2x2 pixels: their mean gives the value, their diagonal Haar coefficient (a - b - c + d) / 2 the
    variance. Groups of 8x8 pixels are ranked by the spread of their block means against their value; the
    flattest quarter of each brightness class gives one ratio variance / value, and 1 / peak is the median of
    the ratios weighted by value (mean-variance relation: Foi et al., IEEE TIP 17, 2008).

    Args:
        y: (B, C, H, W) on [0, 1], floating, at least 32 pixels a side. mask: as in `estimate_sigma`.

    Raises:
        TypeError: y is not floating.
        ValueError: NaN, too small or too dark a picture, or one without noise.

    >>> g = torch.Generator().manual_seed(0)
    >>> value = torch.linspace(0.2, 0.8, 128).expand(1, 1, 128, 128)
    >>> 90 < estimate_peak(torch.poisson(100 * value, generator=g) / 100) < 110
    True
    """
    ratios, weights = [], []
    for sample in _samples(y, None, mask):
        for channel, _, observed in sample:
            for value, variance in _mean_variance(channel, observed):
                ratios.append(variance / value)
                weights.append(value)
    total = _weighted_median(np.array(ratios), np.array(weights)) if ratios else 0.0
    if total <= 0:
        msg = f"no noise that grows with the light in {len(ratios)} brightness classes: give the peak."
        raise ValueError(msg)
    return 1 / total


@dataclass(frozen=True)
class _Channel:
    """One channel of one picture; its spectrum and its flat patches are made when they are first needed."""

    y: np.ndarray
    psf: np.ndarray | None
    observed: np.ndarray
    roughly: bool = False

    @cached_property
    def spectrum(self) -> noise_spectrum.Spectrum | None:
        """The spectrum, where there is a psf and it removes enough frequencies to see the noise alone."""
        if self.psf is None or min(self.y.shape) < SMALLEST:
            return None
        sizes = {"side": ROUGH_TILE, "most": ROUGH_TILES} if self.roughly else {}
        spectrum = noise_spectrum.spectrum(self.y, self.psf, self.observed, **sizes)
        return spectrum if (spectrum.gain < REMOVED).mean() > ENOUGH else None

    @cached_property
    def fitted(self) -> float:
        """The noise variance that fits the spectrum."""
        assert self.spectrum is not None
        return noise_spectrum.fit_noise(self.spectrum)[0]

    @cached_property
    def flat(self) -> np.ndarray | None:
        """The flattest patches; few do where there is a spectrum, which they are only held against."""
        few = self.roughly and self.spectrum is not None
        most = ROUGH_PATCHES if few else noise_patches.MAX_PATCHES
        return noise_patches.flat_patches(self.y, self.observed, most=most)


def _variance(channel: _Channel) -> float:
    spectrum, flat = channel.spectrum, channel.flat
    if spectrum is not None:
        level = channel.fitted
        # not blurred by this psf? then what the psf should have removed is there, and it is no noise
        doubtful = flat is not None and level > DISBELIEF**2 * noise_patches.smallest_variance(flat)
        if not doubtful or _spectral_colour(spectrum) > COLOURED**2:
            return level
    if flat is not None:
        return noise_patches.smallest_variance(flat)
    return noise_patches.tiny_picture_level(channel.y, channel.observed) ** 2


def _colour(channel: _Channel) -> float:
    """Squared ratio, so that pooling takes the root as it does for levels."""
    spectrum = channel.spectrum
    if spectrum is not None:
        return float(np.fmin(_spectral_colour(spectrum), _fall_from_signal(spectrum)))
    if channel.flat is None:
        return float("nan")
    bands = noise_patches.band_levels(channel.flat)
    k = np.arange(len(bands)) / len(bands)
    radius = np.hypot(k[:, None], k)
    return _ratio(np.median(bands[radius > 0.95]), np.median(bands[(radius > 0.55) & (radius <= 0.95)]))


def _spectral_colour(spectrum: noise_spectrum.Spectrum) -> float:
    quiet = noise_spectrum.quietest(spectrum, 0.3)
    level, radius = (spectrum.power / spectrum.noise)[quiet], spectrum.radius[quiet]
    high = radius > np.median(radius)
    return _ratio(np.median(level[high]), np.median(level[~high]))


def _fall_from_signal(spectrum: noise_spectrum.Spectrum) -> float:
    """Power of the quietest frequencies over the power where the signal ends, calibrated on white noise."""
    quiet = noise_spectrum.quietest(spectrum, 0.1)
    high = quiet[spectrum.radius[quiet] > np.median(spectrum.radius[quiet])]
    top = np.median(spectrum.power[high] / spectrum.noise[high]) / np.log(2)
    return _ratio(top, noise_spectrum.knee(spectrum)) / NEAR_SIGNAL


def _beside_signal(channel: _Channel) -> float:
    spectrum = channel.spectrum
    if spectrum is None:
        return float("nan")
    within = min(_spectral_colour(spectrum), 1.0)
    return float(np.fmax(channel.fitted / within, noise_spectrum.knee(spectrum)))


def _ratio(high: float, low: float) -> float:
    return float(high / low) if low > 0 else float("nan")


Arrays = tuple[np.ndarray, "np.ndarray | None", np.ndarray]  # picture, psf, observed


def _samples(y: Tensor, psf: Tensor | None, mask: Tensor | None) -> list[list[Arrays]]:
    """Validated float64 arrays, sample by sample, channel by channel."""
    if not y.is_floating_point():
        msg = f"got pixels of {y.dtype}, floating ones on [0, 1] are wanted: divide by the range of the type."
        raise TypeError(msg)
    if y.ndim != 4 or min(y.shape[2:]) < 3:
        msg = f"got a picture of shape {tuple(y.shape)}, (B, C, H, W) from 3x3 pixels up is wanted: {TARGET}"
        raise ValueError(msg)
    pixels = y.detach().to("cpu", torch.float64).numpy()
    seen = np.ones(pixels.shape, bool)
    if mask is not None:
        seen = np.broadcast_to(mask.detach().cpu().numpy() != 0, pixels.shape)
    if not np.isfinite(pixels[seen]).all():
        msg = "the picture holds NaN or infinity: mask those pixels."
        raise ValueError(msg)
    kernels: list[list[np.ndarray | None]] = [[None] * y.shape[1]] * y.shape[0]
    if psf is not None:
        kernels = _kernels(psf, y.shape)
    return [
        [(np.where(s, p, 0.0), k, _usable(p, s)) for p, k, s in zip(*sample, strict=True)]
        for sample in zip(pixels, kernels, seen, strict=True)
    ]


def _kernels(psf: Tensor, shape: torch.Size) -> list[list[np.ndarray | None]]:
    if psf.ndim != 4 or psf.shape[0] not in (1, shape[0]) or psf.shape[1] not in (1, shape[1]):
        msg = f"got a psf of shape {tuple(psf.shape)} for {tuple(shape)}: (1|B, 1|C, h, w) is wanted."
        raise ValueError(msg)
    k = psf.detach().to("cpu", torch.float64).numpy()
    total = k.sum((2, 3), keepdims=True)
    if not np.isfinite(total).all() or (np.abs(total) < 1e-9 * np.abs(k).sum((2, 3), keepdims=True)).any():
        msg = "the psf sums to 0 or holds NaN: check it before estimating noise with it."
        raise ValueError(msg)
    k = np.broadcast_to(k / total, (shape[0], shape[1], *k.shape[2:]))
    return [list(sample) for sample in k]


def _usable(y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Observed pixels outside the regions that pile up at exactly 0 or 1 (clipping halves the noise)."""
    from scipy.ndimage import uniform_filter

    if not seen.any():
        msg = f"the mask leaves no pixel: {TARGET}"
        raise ValueError(msg)
    if y[seen].min() < 0 or y[seen].max() > 1:
        return seen  # values outside the range: not clipped
    ends = seen & ((y <= 0) | (y >= 1))
    crowd = uniform_filter(ends.astype(np.float64), 9, mode="reflect")
    usable = seen & (crowd < 0.03)
    return usable if usable.sum() > 0.1 * seen.sum() else seen


def _mean_variance(y: np.ndarray, observed: np.ndarray) -> list[tuple[float, float]]:
    """(value, variance) of the flattest groups of each brightness class."""
    rows, columns = (n // 8 * 8 for n in y.shape)
    if min(rows, columns) < SMALLEST:
        return []

    def quad(a: np.ndarray) -> list[np.ndarray]:
        return [a[i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]

    def groups(a: np.ndarray) -> np.ndarray:  # (count, 16): the 4x4 blocks of 2x2 pixels in 8x8 pixels
        return a.reshape(rows // 8, 4, columns // 8, 4).swapaxes(1, 2).reshape(-1, 16)

    a, b, c, d = quad(y)
    whole = groups(np.logical_and.reduce(quad(observed))).all(1)
    means, diagonal = groups((a + b + c + d) / 4)[whole], groups((a - b - c + d) / 2)[whole]
    value, variance, spread = means.mean(1), (diagonal**2).mean(1), means.var(1)
    out = []
    edges = np.quantile(value, np.linspace(0, 1, 9)) if len(value) else []
    for low, high in pairwise(edges):
        inside = np.flatnonzero((value >= low) & (value <= high) & (value > 0.02))
        if len(inside) < 8:
            continue
        flat = inside[np.argsort(spread[inside] / value[inside], kind="stable")[: max(8, len(inside) // 4)]]
        out.append((float(value[flat].mean()), float(variance[flat].mean())))
    return out


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
