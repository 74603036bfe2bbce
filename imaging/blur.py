"""Blur by one psf: true convolution, the centre at n // 2 unless origin says otherwise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad as pad_tensor

from imaging.borders import Border, Mode, checked_mode, extend, fold
from imaging.fft import Origin, centre_of, convolve, correlate, good_size, irfft2, otf_of, power_of, rfft2
from imaging.frame import Frame
from imaging.operator import Factored, Linear, LinearOperator, Shape, checked_size, column


def checked_psf(psf: Tensor, channels: int) -> Tensor:
    """psf (1|B, 1|C, h, w), finite float32 or float64; ValueError or TypeError with advice otherwise."""
    if psf.dtype not in (torch.float32, torch.float64):
        message = f"psf has dtype {psf.dtype}, wanted float32 or float64: convert it with .to()."
        raise TypeError(message)
    if psf.ndim != 4 or psf.shape[1] not in (1, channels) or psf.numel() == 0:
        message = f"psf has shape {tuple(psf.shape)}, wanted (1 or B, 1 or {channels}, rows, columns)."
        raise ValueError(message)
    if not bool(torch.isfinite(psf).all()):
        message = "psf has values that are not finite: repair it before building an operator."
        raise ValueError(message)
    return psf


def peak_of(otf: Tensor) -> float:
    """max |otf|, rounded up: the norm of the circular convolution, a bound for every crop or mask of it."""
    return float(power_of(otf).max()) ** 0.5 * (1 + 16 * torch.finfo(torch.float32).eps)


def _same(x: Tensor) -> Tensor:
    return x


class CircularBlur(LinearOperator):
    """Blur with periodic borders, y = psf * x: diagonal in frequency, so the prox is exact.

    Works at exactly the size given, odd ones too. psf (1|B, 1|C, h, w) no larger than img_size = (C, H, W).

    >>> psf = torch.zeros(1, 1, 3, 3)
    >>> psf[..., 1, 2] = 1  # one pixel to the right of the centre
    >>> CircularBlur(psf, (1, 3, 4)).A(torch.eye(3, 4)[None, None])[0, 0].abs().round()
    tensor([[0., 1., 0., 0.],
            [0., 0., 1., 0.],
            [0., 0., 0., 1.]])
    """

    exact_prox = True
    spectrum: Tensor
    bound: float

    def __init__(self, psf: Tensor, img_size: Shape, *, origin: Origin | None = None) -> None:
        _, H, W = checked_size(img_size)
        otf = otf_of(checked_psf(psf, img_size[0]), (H, W), origin)
        parts = {"spectrum": torch.view_as_real(otf), "bound": peak_of(otf), "batch": len(psf)}
        super().__init__(img_size, img_size, parts)

    @property
    def otf(self) -> Tensor:
        """The transfer function, a complex half spectrum (1|B, 1|C, H, W // 2 + 1)."""
        return torch.view_as_complex(self.spectrum)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """psf * x."""
        self._expect(x, self.img_size, "x")
        return convolve(x, self.otf)

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """Correlation with the psf."""
        self._expect(y, self.img_size, "y")
        return correlate(y, self.otf)

    def prox_l2(self, z: Tensor | float | None, y: Tensor, gamma: Tensor | float, **_: object) -> Tensor:
        """(I + gamma K^T K)^-1 (z + gamma K^T y) by three FFTs; exact."""
        self._expect(y, self.img_size, "y")
        gamma = column(gamma, y)
        right = rfft2(y).mul_(self.otf.conj()) * gamma
        right = right + (rfft2(z) if isinstance(z, Tensor) else rfft2(torch.full_like(y, float(z or 0))))
        return irfft2(right / (1 + gamma * self.spectrum.square().sum(-1)), (y.shape[-2], y.shape[-1]))

    def A_dagger(self, y: Tensor, **_: object) -> Tensor:
        """The pseudo-inverse: frequencies below rounding, max(H, W) eps max|otf|, count as removed by the
        blur.
        """
        self._expect(y, self.img_size, "y")
        otf = self.otf
        floor = max(y.shape[-2:]) * torch.finfo(y.dtype).eps * otf.abs().max()
        inverse = torch.where(otf.abs() > floor, 1 / otf, 0)
        return irfft2(rfft2(y) * inverse, (y.shape[-2], y.shape[-1]))

    def norm_bound(self) -> float:
        """max |otf|: the norm itself."""
        return self.bound

    def factored(self) -> Factored:
        """Nothing is hidden: S is the identity."""
        return Factored(self.otf, _same, _same, _same)

    def embed(self, y: Tensor) -> Tensor:
        """The data are a picture already."""
        return y


class WindowedBlur(LinearOperator):
    """Blur seen through a window, y = crop(psf * x): nothing is assumed about what lies outside the picture.

    x lives on a field of good FFT size, at least data + psf - 1 in each direction, so that no pixel of the
    window sees the field wrap around; window(x) is the part the sensor looked at. data_size = (C, h, w), psf
    (1|B, 1|C, ., .). place = (field, start) is another field with the window begun at start on it, such as a
    part of a larger one; ValueError where the window would then see around the field's end.

    >>> op = WindowedBlur(torch.ones(1, 1, 5, 5) / 25, (1, 12, 9))
    >>> op.img_size, op.window(op.embed(torch.rand(1, 1, 12, 9))).shape
    ((1, 16, 14), torch.Size([1, 1, 12, 9]))
    """

    spectrum: Tensor
    bound: float
    start: tuple[int, int]  # where the window begins on the field

    def __init__(
        self,
        psf: Tensor,
        data_size: Shape,
        *,
        origin: Origin | None = None,
        place: tuple[Origin, Origin] | None = None,
    ) -> None:
        channels, h, w = checked_size(data_size)
        checked_psf(psf, channels)
        field, start = field_of(psf, (h, w), origin) if place is None else place
        if place is not None:
            _check_place(psf, (h, w), origin, place)
        otf = otf_of(psf, field, origin)
        parts = {
            "spectrum": torch.view_as_real(otf),
            "bound": peak_of(otf),
            "start": start,
            "batch": len(psf),
        }
        super().__init__((channels, *field), data_size, parts)

    @property
    def otf(self) -> Tensor:
        """The transfer function on the field, a complex half spectrum."""
        return torch.view_as_complex(self.spectrum)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """crop(psf * x)."""
        self._expect(x, self.img_size, "x")
        return self.window(convolve(x, self.otf))

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """Correlation of the zero-filled data with the psf."""
        return correlate(self._scatter(y), self.otf)

    def _scatter(self, y: Tensor) -> Tensor:
        self._expect(y, self.data_size, "y")
        return pad_tensor(y, margins(self.img_size, self.data_size, self.start))

    def norm_bound(self) -> float:
        """max |otf| of the circular blur on the field: cropping cannot increase a norm."""
        return self.bound

    def factored(self) -> Factored:
        """Crop after the circular blur of the field."""
        (_, H, W), (_, h, w) = self.img_size, self.data_size
        frame = Frame((H, W), self.start, (h, w))
        return Factored(self.otf, self.window, self._scatter, self._keep, frame)

    def _keep(self, x: Tensor) -> Tensor:
        self._expect(x, self.img_size, "x")
        (top, left), (_, h, w) = self.start, self.data_size
        for part in (x[..., :top, :], x[..., top + h :, :], x[..., :left], x[..., left + w :]):
            part.zero_()
        return x

    def embed(self, y: Tensor) -> Tensor:
        """The data with their border pixels repeated outwards."""
        self._expect(y, self.data_size, "y")
        return pad_tensor(y, margins(self.img_size, self.data_size, self.start), mode="replicate")

    def window(self, x: Tensor) -> Tensor:
        """The pixels of the field that the sensor looked at."""
        self._expect(x, self.img_size, "x")
        (top, left), (_, h, w) = self.start, self.data_size
        return x[..., top : top + h, left : left + w]


class PaddedBlur(LinearOperator):
    """Blur of a picture that is extended across its borders by a rule: y = crop(psf * extend(x)).

    mode "reflect" (numpy.pad's "reflect", scipy.ndimage's "mirror": the border pixel is not repeated), "edge"
    (scipy's "nearest") or "zero". psf (1|B, 1|C, h, w); ValueError when a reflection would need more pixels
    than there are.

    >>> psf = torch.ones(1, 1, 1, 3) / 3
    >>> PaddedBlur(psf, (1, 1, 3), "zero").A(torch.ones(1, 1, 1, 3)).round(decimals=2)
    tensor([[[[0.6700, 1.0000, 0.6700]]]])
    """

    spectrum: Tensor
    bound: float
    borders: tuple[Border, Border]
    mode: Mode

    def __init__(self, psf: Tensor, img_size: Shape, mode: Mode, *, origin: Origin | None = None) -> None:
        channels, H, W = checked_size(img_size)
        kernel, (row, column) = psf.shape[-2:], centre_of(checked_psf(psf, channels), origin)
        borders = ((kernel[0] - 1 - row, row), (kernel[1] - 1 - column, column))
        checked_mode(mode, (H, W), borders)
        field = (good_size(H + kernel[0] - 1), good_size(W + kernel[1] - 1))
        otf = otf_of(psf, field, origin)
        bound = peak_of(otf)
        if mode != "zero":  # zero: extending and cropping are contractions. Otherwise Schur's test:
            size = psf.abs().double()
            columns = _padded_adjoint(
                size.new_ones(len(psf), channels, H, W), otf_of(size, field, origin), borders, mode
            )
            bound = schur(size.sum((-2, -1)).max(), columns.max(), psf.dtype)
        parts = {"spectrum": torch.view_as_real(otf), "borders": borders, "mode": mode}
        super().__init__(img_size, img_size, {**parts, "bound": bound, "batch": len(psf)})

    @property
    def otf(self) -> Tensor:
        """The transfer function on the extended picture, a complex half spectrum."""
        return torch.view_as_complex(self.spectrum)

    def A(self, x: Tensor, **_: object) -> Tensor:
        """crop(psf * extend(x))."""
        self._expect(x, self.img_size, "x")
        (top, _b), (left, _r) = self.borders
        seen = convolve(_to_field(extend(x, self.borders, self.mode), self.otf), self.otf)
        return seen[..., top : top + x.shape[-2], left : left + x.shape[-1]]

    def A_adjoint(self, y: Tensor, **_: object) -> Tensor:
        """fold(correlation of the zero-filled data with the psf)."""
        self._expect(y, self.img_size, "y")
        return _padded_adjoint(y, self.otf, self.borders, self.mode)

    def norm_bound(self) -> float:
        """max |otf| for "zero", else sqrt(largest row sum times largest column sum) of |A| (Schur's test)."""
        return self.bound

    def embed(self, y: Tensor) -> Tensor:
        """The data are a picture already."""
        return y

    def precondition(self, gamma: Tensor | float) -> Linear:
        """crop (1 + gamma |otf|^2)^-1 zero-fill."""
        diagonal = 1 + gamma * self.spectrum.square().sum(-1)

        def solve(r: Tensor) -> Tensor:
            return convolve(_to_field(r, self.otf), 1 / diagonal)[..., : r.shape[-2], : r.shape[-1]]

        return solve


def _to_field(x: Tensor, otf: Tensor) -> Tensor:
    H, W = otf.shape[-2], 2 * (otf.shape[-1] - 1)  # good sizes are even
    return pad_tensor(x, (0, W - x.shape[-1], 0, H - x.shape[-2]))


def _padded_adjoint(y: Tensor, otf: Tensor, borders: tuple[Border, Border], mode: Mode) -> Tensor:
    (top, bottom), (left, right) = borders
    h, w = y.shape[-2] + top + bottom, y.shape[-1] + left + right
    spread = correlate(_to_field(pad_tensor(y, (left, 0, top, 0)), otf), otf)
    return fold(spread[..., :h, :w], borders, mode)


def schur(rows: Tensor, columns: Tensor, dtype: torch.dtype) -> float:
    """sqrt(largest absolute row sum times largest absolute column sum), rounded up: Schur's test."""
    return float((rows * columns).sqrt()) * (1 + 16 * torch.finfo(torch.float32).eps)


def field_of(psf: Tensor, size: tuple[int, int], origin: Origin | None) -> tuple[Origin, Origin]:
    """Field (H, W) of good size for a window of this size behind psf, and where the window starts on it.

    y[i] sees x[i + o - k] for k = 0 .. n - 1 (o the centre, n the psf's size): n - 1 - o samples before the
    window and o after it. What a good size has to spare is shared between both sides.
    """
    field, start = [], []
    for length, n, o in zip(size, psf.shape[-2:], centre_of(psf, origin), strict=True):
        field.append(good_size(length + n - 1))
        start.append(n - 1 - o + (field[-1] - length - n + 1) // 2)
    return (field[0], field[1]), (start[0], start[1])


def _check_place(
    psf: Tensor, size: tuple[int, int], origin: Origin | None, place: tuple[Origin, Origin]
) -> None:
    for length, n, o, field, start in zip(size, psf.shape[-2:], centre_of(psf, origin), *place, strict=True):
        if start < n - 1 - o or start + length + o > field:
            message = (
                f"a window of {length} from {start} on a field of {field} sees around its end through a psf "
                f"of {n}: begin at {n - 1 - o} or later and leave {o} behind it."
            )
            raise ValueError(message)


def margins(field: Shape, data: Shape, start: Origin) -> tuple[int, int, int, int]:
    """Left, right, top and bottom margin of a window on its field, in the order torch's pad wants."""
    top, left = start
    return left, field[2] - data[2] - left, top, field[1] - data[1] - top
