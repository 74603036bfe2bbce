"""The trust map of one result: what the data do not explain or could not tell, and how it would scatter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from proxlab.blurs import Blur, Scene, read_blur
from proxlab.errors import UsageError
from proxlab.request import Request

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import ArrayLike, NDArray

    from proxlab.methods.base import Method, Progress, Task
    from proxlab.pipeline import Prepared

WIDTH, ANGLE = 0.05, 3.0  # standard deviations of a psf's jitter: share of its width, degrees
GREY = 1 / 255  # no detail is fainter than this, nor than the noise
LARGE = 3.0  # a residual beyond so many standard deviations is one in 370 by chance
Say = Callable[[str], object]


@dataclass(frozen=True)
class TrustMap:
    """Maps (H, W) of one result, float32, and the result with its record as `deblur` gives them.

    residual: (data - psf * result) / noise, on the data's grid, NaN where masked; undetermined: share of the
    detail that the data could not have determined, 0 to 1; noise_spread and psf_spread: standard deviation of
    the result, in units of the range, under new noise and under a jittered psf (None for a method that
    refuses other psfs).
    """

    result: NDArray[Any]
    info: dict[str, Any]
    residual: NDArray[np.float32]
    undetermined: NDArray[np.float32]
    noise_spread: NDArray[np.float32]
    psf_spread: NDArray[np.float32] | None

    @property
    def spread(self) -> NDArray[np.float32]:
        """Both spreads together, sqrt(noise^2 + psf^2)."""
        both = self.noise_spread**2 + (0 if self.psf_spread is None else self.psf_spread**2)
        spread: NDArray[np.float32] = np.sqrt(both)
        return spread

    def summary(self) -> dict[str, float | None]:
        """Each map as a number: share of residuals beyond 3 (0.0027 by chance), means of the others."""
        seen = self.residual[np.isfinite(self.residual)]
        return {
            "residual_beyond_3": float((np.abs(seen) > LARGE).mean()) if seen.size else None,
            "undetermined": float(self.undetermined.mean()),
            "noise_spread": float(self.noise_spread.mean()),
            "psf_spread": None if self.psf_spread is None else float(self.psf_spread.mean()),
        }


def trust(  # noqa: PLR0913 (a flat call, like deblur)
    image: ArrayLike,
    psf: Any,
    *,
    draws: int = 5,
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
    data_range: float | None = None,
    device: str | None = None,
    seed: int = 0,
) -> TrustMap:
    """How far a result of `deblur` can be believed, pixel by pixel; options are those of `deblur`.

    Residual: (y - A x) / sigma; structure in it is misfit. Undetermined: the share of the local detail of x
    that the best linear estimate does not get back from A x, see `algorithms.trust.undetermined_share`; it
    was made by the method, true or not. Spread: the method is run on `draws` new sets of noise drawn around
    A x, and on the same data with `draws` psfs jittered by 5 % of their width and 3 degrees (standard
    deviations), weight and iterations of the classical methods as in the first run. A small spread is not a
    small error: what a method always invents does not scatter, see undetermined for that.

    Raises what `deblur` raises.

    >>> import numpy as np
    >>> picture = np.random.default_rng(0).normal(0.5, 0.01, (24, 24))
    >>> found = trust(picture, np.ones((3, 3)), method="wiener", sigma=0.01, draws=2)
    >>> found.spread.shape, bool(found.undetermined.max() <= 1)
    ((24, 24), True)
    """
    from proxlab.front import request_of

    given = {
        "sigma": sigma,
        "method": method,
        "prior": prior,
        "boundary": boundary,
        "noise": noise,
        "lam": lam,
        "num_iter": num_iter,
        "scale": scale,
        "origin": origin,
        "data_range": data_range,
        "device": device,
        "seed": seed,
    }
    return map_trust(request_of(given), np.asarray(image), psf, mask, draws=draws)


def map_trust(
    request: Request, image: NDArray[Any], psf: Any, mask: Any, *, draws: int, say: Say | None = None
) -> TrustMap:
    """`trust` for a finished request; say is told how far it is."""
    import torch

    from algorithms.trust import residual_scores, scatter, undetermined_share
    from proxlab.data import read_data
    from proxlab.methods.common import variance_of
    from proxlab.methods.tikhonov import fitted_weight
    from proxlab.pipeline import prepare, run

    if draws < 2:
        message = f"draws is {draws}: give 2 or more, a spread needs something to compare."
        raise UsageError(message)
    speak = say or _silent
    data = read_data(
        image, mask, channel_axis=request.channel_axis, data_range=request.data_range, linear=request.linear
    )
    blur = read_blur(psf, Scene(data.planes, request.scale, request.seed), origin=request.origin)
    prepared = prepare(request, image, blur, mask)
    result, job = run(prepared, None)
    assert job.outcome is not None
    task, method = _again(prepared, job)
    x = job.outcome.x
    with torch.no_grad():
        scores = residual_scores(task.op, x, task.y, variance_of(task, task.y))
        share = undetermined_share(task.op, x, lam=fitted_weight(task)[0], faint=max(task.sigma, GREY))
        fresh = list(_under_noise(task, method, x, draws, speak))
        turned = list(_under_jitter(prepared, blur, (task, method), draws, speak))
    return TrustMap(
        result=result,
        info=job.info(),
        residual=_plane(scores),
        undetermined=_plane(share),
        noise_spread=_plane(scatter(fresh)),
        psf_spread=_plane(scatter(turned)) if turned else None,
    )


def _again(prepared: Prepared, job: Any) -> tuple[Task, Method]:
    """The task of the finished run, and the method that ran; classical methods keep what they chose."""
    from proxlab.methods import load_method

    method, out = load_method(job.method), job.outcome
    chose = not method.supports.prior  # methods with a prior take what follows from the noise, at no cost
    task = prepared.task(_unseen)
    return replace(
        task,
        lam=out.lam if chose and method.supports.lam else task.lam,
        num_iter=(out.num_iter or None) if chose and method.supports.num_iter else task.num_iter,
        prior=(out.prior or task.prior) if method.supports.prior else None,  # auto may take another
    ), method


def _under_noise(task: Task, method: Method, x: torch.Tensor, draws: int, say: Say) -> Iterator[torch.Tensor]:
    """Results on new noise around what the first result predicts."""
    from imaging.noise import gaussian, poisson

    clean = task.op.A(x)
    for draw in range(draws):
        say(f"new noise {draw + 1} of {draws}")
        seed = task.seed + 1 + draw
        if task.noise.kind == "poisson":
            assert task.noise.peak is not None
            y = poisson(clean.clamp_min(0), task.noise.peak, seed)
        else:
            y = gaussian(clean, task.sigma, seed)
        yield task.op.window(method.run(replace(task, y=y)).x)


def _under_jitter(
    prepared: Prepared, blur: Blur, run: tuple[Task, Method], draws: int, say: Say
) -> Iterator[torch.Tensor]:
    """Results on the same data with other psfs; none for a method that refuses them."""
    from proxlab.model import build_operator

    task, method = run
    generator = np.random.default_rng(task.seed)
    for draw in range(draws):
        say(f"other psf {draw + 1} of {draws}")
        zoom, angle = generator.normal(1, WIDTH), generator.normal(0, ANGLE)
        other = jittered(blur, zoom=max(zoom, 1 - 3 * WIDTH), angle=angle)
        op = build_operator(prepared.job.request, other, prepared.data, task.y.device, task.y.dtype)
        try:
            yield op.window(method.run(replace(task, op=op)).x)
        except UsageError:  # a network for one psf: there is nothing to jitter
            return


def jittered(blur: Blur, *, zoom: float, angle: float) -> Blur:
    """The blur with every kernel widened and turned about its origin."""
    from proxlab.trials.shifts import changed_psf

    rows, columns = (max(o, n - 1 - o) for o, n in zip(blur.origin, blur.size, strict=True))
    canvas = np.zeros((*blur.kernels.shape[:3], 2 * rows + 1, 2 * columns + 1))
    top, left = rows - blur.origin[0], columns - blur.origin[1]
    canvas[..., top : top + blur.size[0], left : left + blur.size[1]] = blur.kernels
    flat = [changed_psf(k, zoom=zoom, angle=angle) for k in canvas.reshape(-1, *canvas.shape[3:])]
    kernels = np.stack(flat).reshape(*canvas.shape[:3], *flat[0].shape)
    return replace(blur, kernels=kernels, origin=(flat[0].shape[0] // 2, flat[0].shape[1] // 2))


def draw_trust(found: TrustMap, path: Path, *, overwrite: bool) -> None:
    """The maps as one figure (png, pdf, svg), or as arrays (npz)."""
    from imaging.files.atomic import atomic_write

    if path.suffix.lower() == ".npz":
        names = ("residual", "undetermined", "noise_spread", "psf_spread")
        arrays = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
        with atomic_write(path, overwrite=overwrite) as stream:
            np.savez_compressed(stream, **arrays)
        return
    figure = trust_figure(found)
    with atomic_write(path, overwrite=overwrite) as stream:
        figure.savefig(stream, format=path.suffix.lower().lstrip(".") or "png", dpi=120)


def trust_figure(found: TrustMap) -> Any:
    """Result and maps side by side, each map with its scale (a matplotlib Figure)."""
    from matplotlib.figure import Figure

    from imaging.files.scaling import to_float

    numbers, spread = found.summary(), found.spread
    top = float(np.quantile(spread, 0.995)) or 1.0
    jitter = " and other psfs" if found.psf_spread is not None else ""
    shown = to_float(np.asarray(found.result))[0] if found.result.dtype.kind in "iu" else found.result
    beyond = numbers["residual_beyond_3"]
    panels: list[tuple[str, NDArray[Any], dict[str, Any]]] = [
        (f"result: {found.info['method']}", np.clip(shown, 0, 1), {"cmap": "gray", "vmin": 0, "vmax": 1}),
        (
            f"residual / noise: {0 if beyond is None else beyond:.2%} beyond 3 (by chance 0.27%)",
            found.residual,
            {"cmap": "RdBu_r", "vmin": -4, "vmax": 4},
        ),
        (
            f"detail the data could not determine: {numbers['undetermined']:.0%} on average",
            found.undetermined,
            {"cmap": "magma", "vmin": 0, "vmax": 1},
        ),
        (
            f"spread under new noise{jitter}: {spread.mean():.3f} of the range on average",
            spread,
            {"cmap": "viridis", "vmin": 0, "vmax": top},
        ),
    ]
    height, width = found.undetermined.shape
    figure = Figure(figsize=(11, 2 * (4.6 * height / width + 0.3)), layout="constrained")
    for axis, (title, values, options) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        drawn = axis.imshow(values, **options)
        axis.set_title(title, fontsize=10)
        axis.axis("off")
        if values is not panels[0][1]:
            figure.colorbar(drawn, ax=axis, shrink=0.85)
    return figure


def _plane(x: torch.Tensor) -> NDArray[np.float32]:
    plane: NDArray[np.float32] = x[0, 0].detach().cpu().numpy().astype(np.float32)
    return plane


def _unseen(step: Progress) -> None:
    """Nobody watches a repetition."""


def _silent(text: str) -> None:
    """Nobody listens."""
