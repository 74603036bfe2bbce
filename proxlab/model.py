"""From a request to the operator: what the sensor did to the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from proxlab.blurs import Blur
from proxlab.data import Data
from proxlab.errors import UsageError
from proxlab.job import digest
from proxlab.request import Request
from proxlab.reuse import Recent

if TYPE_CHECKING:
    import torch

    from imaging.operator import LinearOperator


_OPERATORS = Recent(2)
LARGEST = 1 << 22  # samples of a picture whose operator is kept: its spectrum takes twice as many numbers


def choose_device(name: str | None) -> torch.device:
    """The device of that name; None is the GPU where there is one, else the CPU."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as cause:
        message = f"device {name!r} is not available here: use 'cpu', or leave device out."
        raise UsageError(message) from cause
    return device


def device_text(device: torch.device) -> str:
    """The device as a record should name it."""
    if device.type != "cuda":
        return str(device)
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


def build_operator(
    request: Request, blur: Blur, data: Data, device: torch.device, dtype: torch.dtype
) -> LinearOperator:
    """The operator from the sharp picture to the data, made in float64, then of that type on that device.

    Sampling by `scale` comes after the blur, the mask last. The blur of the last sizes is kept for pictures
    that follow: operators are frozen.
    """
    channels, height, width = data.layout.planes
    fine = (channels, height * request.scale, width * request.scale)
    # the kernels themselves decide: blur.digest is that of the psf as it was given, before it was changed
    key = (digest(blur.kernels), blur.origin, request.boundary, fine, str(device), dtype)

    def make() -> LinearOperator:
        return _blur(request, blur, fine).to(device, dtype)

    op = _OPERATORS.get(key, make) if math.prod(fine) <= LARGEST else make()
    if request.scale != 1:
        from imaging.sampling import Downsample

        op = Downsample(op, request.scale)
    if data.valid is not None:
        import torch

        from imaging.masks import Masked

        op = Masked(op, torch.from_numpy(data.valid)[None])
    return op.to(device, dtype)


def _blur(request: Request, blur: Blur, fine: tuple[int, int, int]) -> LinearOperator:
    import torch

    kernels = torch.from_numpy(blur.kernels)
    if blur.varying:
        if request.boundary != "unknown":
            message = f"a grid of psfs works with boundary='unknown', not {request.boundary!r}: leave it out."
            raise UsageError(message)
        from imaging.varying import VaryingBlur

        return VaryingBlur(kernels, fine, origin=blur.origin)
    from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
    from imaging.borders import Mode

    if request.boundary == "unknown":
        return WindowedBlur(kernels[0], fine, origin=blur.origin)
    if request.boundary == "circular":
        return CircularBlur(kernels[0], fine, origin=blur.origin)
    return PaddedBlur(kernels[0], fine, cast(Mode, request.boundary), origin=blur.origin)


def operator_text(request: Request, blur: Blur, data: Data) -> str:
    """The operator in words."""
    channels, height, width = data.layout.planes
    kind = "varying blur" if blur.varying else "blur"
    border = "unknown borders" if request.boundary == "unknown" else f"{request.boundary} borders"
    text = f"{kind} by {blur.size[0]}x{blur.size[1]}, {border}, data {height}x{width}"
    text += f"x{channels}" if channels > 1 else ""
    text += f", one sample in {request.scale}x{request.scale}" if request.scale > 1 else ""
    return text + (f", {data.masked} samples masked" if data.masked else "")
