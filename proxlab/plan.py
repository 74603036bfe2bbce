"""What a run will take, before it starts: memory from the sizes, time from two short trials."""

from __future__ import annotations

import sys
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from imaging.heap import SPARE
from proxlab.memory import resident

if TYPE_CHECKING:
    from proxlab.blurs import Blur
    from proxlab.methods.base import Method
    from proxlab.request import Request

Shape = tuple[int, int, int]

# In planes of float32 in the size of the picture, held pixels included, as benchmarks/memory.py found them.
LEVEL = (8.8, 3.75)  # estimating the noise: for one channel at a time, and for each channel
ROWS = 9  # of a row of tiles, as stored: gathered from what was read, solved, laid out, written; and heap
PATCHES = 27_000_000  # bytes of the patches it looks at, as many in every picture
STORED = 4.0  # storing the result, for each channel
GRID = (24.0, 20.0)  # a grid of psfs on top: for the grid itself, and for each channel
HELD = 6.0  # what a method keeps for each channel while its network is at work
LATER = 150_000_000  # libraries that come with the first run: what it imports, and what they set up

# FFTs of the whole field, and evaluations of the network, in a run that is left to itself; a step of those
# that take num_iter is the second pair. Everything else about takes as long as the FFTs again.
# Counted on a photograph of one megapixel; small ones need more and large ones fewer (imaging.frame), and
# where a method stops by itself the picture decides.
WORK: dict[str, tuple[tuple[float, int], tuple[float, int]]] = {
    "identity": ((2, 0), (0, 0)),
    "wiener": ((80, 0), (0, 0)),
    "tikhonov": ((80, 0), (0, 0)),
    "tv": ((340, 0), (4.3, 0)),
    "richardson-lucy": ((160, 0), (4, 0)),
    "pnp": ((110, 8), (13, 1)),
    "red": ((140, 17), (8, 1)),
    "certified": ((581, 25), (33, 1)),
    "auto": ((110, 8), (13, 1)),
    "unrolled": ((100, 8), (0, 0)),
    "stnn": ((20, 1), (0, 0)),
}
BEFORE = {"certified": (185, 13)}  # start and certificate, however many steps lie between
SEARCH = {"tv": 520}  # FFTs of finding the weight, however many iterations follow
OTHERS = 2.0  # time of a run in units of its FFTs


class Extent(NamedTuple):
    """The sizes that decide: the picture (C, H, W), the field its method works on, bytes of a stored and of a
    working number, and whether there is a grid of psfs.
    """

    planes: Shape
    field: Shape
    stored: int
    working: int
    varying: bool


def extent_of(request: Request, blur: Blur, planes: Shape, stored: int, working: int) -> Extent:
    """The sizes of a request for a picture (C, H, W), without building anything."""
    from imaging.fft import good_size

    channels, height, width = planes
    rows, columns = height * request.scale, width * request.scale
    if request.boundary != "circular":
        rows, columns = (good_size(n + k - 1) for n, k in zip((rows, columns), blur.size, strict=True))
    return Extent(planes, (channels, rows, columns), stored, working, blur.varying)


def working_memory(method: Method, prior: Any, field: Shape, working: int, *, device: str = "cpu") -> int:
    """Bytes a method holds at its peak, its operator and its network's feature maps included."""
    from proxlab.networks import network_memory

    alone = method.memory(field) * working // 4
    network = network_memory(prior, method, field, working)
    picture = working * field[0] * field[1] * field[2]
    held = int(HELD * picture)
    if network and alone - held > SPARE and device == "cpu":
        return max(alone, network + held)  # what a data step freed was given back
    return alone + network


def needed_memory(method: Method, prior: Any, extent: Extent) -> int:
    """Bytes above what the process holds before it has the picture, at the worst moment of the run."""
    channels, height, width = extent.planes
    plane = 4 * height * width
    level = plane * (LEVEL[0] + LEVEL[1] * channels) + PATCHES
    store = plane * STORED * channels
    run = working_memory(method, prior, extent.field, extent.working)
    if extent.varying:
        run += int(plane * (GRID[0] + GRID[1] * channels) * extent.working / 4)
    return int(max(level, store, run))


def whole_memory(method: Method, prior: Any, extent: Extent, *, device: str) -> int:
    """Peak bytes of this process, or of the card, for a picture that is in memory already."""
    needed = needed_memory(method, prior, extent)
    if device != "cpu":
        return working_memory(method, prior, extent.field, extent.working, device=device)
    channels, height, width = extent.planes
    held = channels * height * width * (extent.stored + extent.working)
    return resident() + max(needed - held, 0) + later()


def tiled_memory(method: Method, prior: Any, extent: Extent, side: int) -> int:
    """Bytes above what the process holds, for tiles of that side: a tile or the sample, and rows around."""
    channels, height, width = extent.planes
    rows = ROWS * min(side, height) * width * channels * extent.stored
    tile = working_memory(method, prior, _part(extent, side).field, extent.working)
    return rows + max(tile, needed_memory(method, prior, _part(extent, 1024)))


def _part(extent: Extent, side: int) -> Extent:
    channels, height, width = extent.planes
    small = (channels, min(side, height), min(side, width))
    field = (channels, min(side, extent.field[1]), min(side, extent.field[2]))
    return extent._replace(planes=small, field=field)


class Speed(NamedTuple):
    """Seconds a pixel of one FFT, and of one evaluation of the network."""

    fft: float
    network: float


def measured_speed(prior: Any, channels: int) -> Speed:
    """Time a 512x512 FFT and a network on 96x96 pixels, the better of two each."""
    import torch

    picture = torch.rand(1, 1, 512, 512)
    fft = _least(lambda: torch.fft.irfft2(torch.fft.rfft2(picture))) / 2 / picture.numel()
    if prior is None:
        return Speed(fft, 0.0)
    from proxlab.denoising import by_channels

    if getattr(prior.network, "kind", None) == "unrolled":  # takes an operator: the denoiser inside
        prior = replace(prior, network=prior.network.network)
    weight = next(iter(getattr(prior.network, "parameters", lambda: ())()), None)
    part = torch.rand(1, channels, 96, 96)
    part = part if weight is None else part.to(weight)
    with torch.no_grad():
        network = _least(lambda: by_channels(prior, part, 0.05))
    return Speed(fft, network / 96**2)


def later() -> int:
    """Bytes that a first run in this process takes for libraries: none in the second."""
    return 0 if "scipy.optimize" in sys.modules else LATER


def _least(work: Any) -> float:
    times = []
    for _ in range(2):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times)


def seconds(
    method: str, num_iter: int | None, pixels: float, channels: int, speed: Speed, *, search: bool = False
) -> float | None:
    """About how long a run takes on fields of so many pixels in all; None for a method nobody timed.

    search: the weight is to be found on all of them.

    >>> round(seconds("pnp", 4, 1_000_000, 1, Speed(2e-8, 3e-6)), 1)
    14.1
    """
    if method not in WORK:
        return None
    (ffts, networks), step = WORK[method]
    if num_iter is not None and step[0]:
        before = BEFORE.get(method, (0, 0))
        ffts, networks = before[0] + num_iter * step[0], before[1] + num_iter * step[1]
    if search:
        ffts += SEARCH.get(method, 0)
    return pixels * (OTHERS * ffts * channels * speed.fft + networks * speed.network)


def in_time(amount: float) -> str:
    """Seconds for people.

    >>> in_time(0.2), in_time(7.2), in_time(340), in_time(9000)
    ('less than 1 s', 'about 7 s', 'about 6 min', 'about 2.5 h')
    """
    if amount < 1:
        return "less than 1 s"
    if amount < 100:
        return f"about {amount:.0f} s"
    return f"about {amount / 60:.0f} min" if amount < 6000 else f"about {amount / 3600:.1f} h"
