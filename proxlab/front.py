"""The front door for arrays: one flat call each, which builds one frozen record and hands it on."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any

from imaging.heap import kept_heap
from proxlab.errors import ProxlabWarning
from proxlab.progress import Callback
from proxlab.request import Request

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from proxlab.job import Job


def deblur(
    image: ArrayLike,
    psf: Any,
    *,
    sigma: float | None = None,
    method: str = "auto",
    prior: object | None = None,
    boundary: str = "unknown",
    noise: str = "gaussian",
    lam: float | None = None,
    num_iter: int | None = None,
    mask: ArrayLike | bool | None = None,
    scale: int = 1,
    origin: tuple[int, int] | None = None,
    channel_axis: int | None = None,
    data_range: float | None = None,
    max_memory: float | str | None = None,
    cluster: object | None = None,
    device: str | None = None,
    seed: int = 0,
    linear: bool = False,
    tile: int | None = None,
    callback: Callback | None = None,
    return_info: bool = False,
) -> Any:
    """A sharper picture from a blurred one whose psf is known.

    Solves y = S(psf * x) + noise for x, where S is what the sensor kept: by default its window, nothing
    being assumed about what lies outside (`boundary`), every `scale`-th sample, and the pixels where `mask`
    is True.

    Parameters
    ----------
    image: (H, W) or (H, W, C) with C = 1, 3 or 4 (the fourth is alpha and passes through), uint8, uint16,
    float32 or float64; floats on [0, 1] unless `data_range` says what white is. Another layout needs
    `channel_axis`. psf: (h, w), (h, w, C), a nested list rows by columns of those (a grid over the picture),
    or a text such as "motion:15@30" or "gaussian:auto". Its centre is n // 2 unless `origin` = (row,
    column). sigma: standard deviation of the noise as a fraction of the data range; estimated when None.
    method: a name of `proxlab.methods.METHODS`. prior: for the methods that take one, the name of a shipped
    network (`priors.available()`), a .safetensors file of your own, or anything called as (x, sigma); a grey
    one takes the channels of a colour picture one by one. boundary: "unknown", "circular", "reflect", "edge"
    or "zero". noise: "gaussian", "poisson:PEAK" (PEAK counts at value 1) or "poisson" (peak estimated). lam:
    weight of the regulariser in |Ax - y|^2 / 2 + lam R(x); larger is smoother; chosen when None. num_iter:
    number of iterations; chosen when None. mask: True where a pixel is valid. When None, clipped areas of
    integer pictures are left out and this is said; False uses every pixel. scale: 2 makes a picture twice as
    large, of whose blur rows and columns 0, 2, 4, ... were seen. max_memory: bytes, or a text such as "2G":
    the most this process may hold, libraries included; what needs more is done in tiles, or refused before
    the start. tile: side of the tiles in pixels; None cuts only what does not fit into max_memory, or into
    the machine. cluster: "local:N" works in N processes of one thread, "tcp://..." at that Dask scheduler,
    a `dask.distributed.Client` with it: tiles are shared out, a picture in one piece goes to one worker,
    without callbacks; the result is to the bit what one thread gives here, max_memory holds for each worker,
    and a script needs `if __name__ == "__main__":`. device: "cpu", "cuda", ...; the GPU where there is one
    when None. seed: decides every random draw. linear: the picture is sRGB; work in linear light and turn
    back. callback: called with an `Update` (iteration, total, cost, residual, image) after iterations.
    return_info: also return the record of the run, a dict; otherwise its warnings are issued as
    ProxlabWarning.

    Returns
    -------
    The picture in the shape (times `scale`), type and range of the input: integers rounded and clipped,
    floats never clipped. With `return_info`, a pair (picture, info). For a dask array, a dask array of tiles
    to be computed: noise level, method, weight, iterations, overlap and what is clipped are chosen once, at
    the call, from up to nine windows of 512x512, the only pixels read then; info says what will be done.

    Raises UsageError, InputError (both ValueError), MemoryLimitError, ConvergenceError.

    >>> import numpy as np
    >>> picture = np.full((16, 16), 128, np.uint8)
    >>> sharp, info = deblur(picture, np.ones((3, 3)), method="identity", sigma=0.01, return_info=True)
    >>> sharp.dtype, sharp.shape, info["method"], info["sigma_rule"]
    (dtype('uint8'), (16, 16), 'identity', 'given')
    """
    from proxlab.cluster import connected
    from proxlab.engine import ready_there
    from proxlab.lazy import deblur_lazily, is_lazy

    request = Request(
        sigma=sigma,
        method=method,
        prior=prior,
        boundary=boundary,
        noise=noise,
        lam=lam,
        num_iter=num_iter,
        scale=scale,
        origin=origin,
        channel_axis=channel_axis,
        data_range=data_range,
        max_memory=max_memory,
        cluster=cluster,
        device=device,
        seed=seed,
        linear=linear,
        tile=tile,
    )
    if is_lazy(image):
        return _answer(*deblur_lazily(request, image, psf, mask, callback), return_info)
    with kept_heap(), connected(cluster) as workers:
        result, job = ready_there(workers, request, image, psf, mask).run(callback)
    return _answer(result, job, return_info)


def denoise(
    image: ArrayLike,
    *,
    sigma: float | None = None,
    prior: object | None = None,
    noise: str = "gaussian",
    mask: ArrayLike | bool | None = None,
    channel_axis: int | None = None,
    data_range: float | None = None,
    max_memory: float | str | None = None,
    device: str | None = None,
    seed: int = 0,
    linear: bool = False,
    callback: Callback | None = None,
    return_info: bool = False,
) -> Any:
    """A picture without its noise.

    x = prior(image, sigma). image, sigma, noise, layouts, types, device and the result are those of `deblur`.

    noise: "poisson:PEAK" or "poisson" denoises between Anscombe's transform and its exact unbiased inverse.
    mask: pixels where it is False are not looked at; they are filled from around them and the prior is
    applied until they no longer change, x = prior(mask image + (1 - mask) x, sigma), proximal gradient for
    |mask (x - image)|^2 / 2 + R where the prior is the prox of R. Clipped pixels are used as they are.

    prior: the name of a shipped one (`priors.available()`), a .safetensors file of your own, or anything
    called as (x, sigma) with x (B, C, H, W) on [0, 1]. When None, the shipped denoiser for grey or colour. A
    grey prior denoises the channels of a colour picture one by one.

    Raises UsageError, InputError (both ValueError), MemoryLimitError, ConvergenceError.

    >>> import numpy as np
    >>> picture = np.full((16, 16), 128, np.uint8)
    >>> cleaner, info = denoise(picture, sigma=0.1, prior=lambda x, sigma: x / (1 + sigma), return_info=True)
    >>> int(cleaner[0, 0]), info["status"]
    (116, 'exact')
    """
    from proxlab.denoising import prepare_denoising
    from proxlab.pipeline import run

    given = {
        "sigma": sigma,
        "noise": noise,
        "channel_axis": channel_axis,
        "data_range": data_range,
        "device": device,
    }
    more = {"max_memory": max_memory, "seed": seed, "linear": linear, "method": "identity"}
    with kept_heap():
        result, job = run(prepare_denoising(request_of({**given, **more}), image, prior, mask), callback)
    return _answer(result, job, return_info)


def estimate_noise(
    image: ArrayLike,
    psf: Any = None,
    *,
    channel_axis: int | None = None,
    data_range: float | None = None,
    origin: tuple[int, int] | None = None,
) -> float:
    """The standard deviation of Gaussian noise in a picture, as a fraction of its data range.

    With the psf known it is read from the frequencies the blur removed. Layouts as in `deblur`.

    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0.5, 0.02, (64, 64))
    >>> 0.018 < estimate_noise(noise) < 0.022
    True
    """
    from proxlab.level import noise_level

    return noise_level(image, psf, channel_axis=channel_axis, data_range=data_range, origin=origin)


def request_of(given: Mapping[str, Any]) -> Request:
    """The request `deblur` would build from these keyword arguments: its defaults are the only ones.

    >>> request_of({"sigma": 0.01}).method
    'auto'
    """
    defaults = {name: parameter.default for name, parameter in signature(deblur).parameters.items()}
    return Request(**{field.name: given.get(field.name, defaults[field.name]) for field in fields(Request)})


def _answer(result: Any, job: Job, return_info: bool) -> Any:
    """The result with its record, or alone, its warnings then issued to the caller of the front door."""
    if return_info:
        return result, job.info()
    for text in job.warnings:
        warnings.warn(text, ProxlabWarning, stacklevel=3)
    return result
