"""What plug-and-play costs beside its denoiser, and beside deepinv's half-quadratic splitting.

    python benchmarks/pnp_cost.py [--side 512] [--threads 1] [--repeats 3]

One grey picture (scikit-image's astronaut), circular blur, level 7.65 of 255, told; the same process, the
same 8 pairs of level and step, the very same denoiser in float32, wrapped by a clock. Contenders take turns;
medians of processor time, others may compute beside it, after a small run to warm up. Ours is timed twice:
the solver alone, as deepinv's is, and through `proxlab.deblur`, where reading the request, comparing the
level with an estimate, the residual and the record count. Where the processor multiplies bfloat16, the whole
call is timed once more with the same weights in that arithmetic, which is what a user gets there. Every
contender builds its operator in its time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepinv
import numpy as np
import torch
from cases import blurred, noisy
from common import RESULTS, circumstances, markdown, write_text
from torch import Tensor

import priors
import proxlab
from algorithms.driver import last
from algorithms.pnp import data_term, in_turn
from algorithms.splitting import hqs
from imaging.blur import CircularBlur
from imaging.metrics import psnr
from imaging.psf.generators import shake
from priors.precision import has_bfloat16

LEVEL = 7.65
PSF_SIDE = 25
Runner = Callable[[], np.ndarray]
Runners = dict[str, tuple[Runner, "Clocked"]]


class Clocked(torch.nn.Module):
    """A denoiser that counts its calls and the seconds spent in it."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.reset()

    def reset(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def forward(self, x: Tensor, sigma: Any, **_: Any) -> Tensor:
        start = time.process_time()
        y: Tensor = self.inner(x, sigma)
        self.seconds += time.process_time() - start
        self.calls += 1
        return y


def problem(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(truth, data, psf), the photograph mirrored to the wanted size."""
    from skimage import data

    photograph = data.astronaut()[..., 1] / 255.0
    more = max(0, side - 512)
    photograph = np.pad(photograph, ((0, more), (0, more)), mode="symmetric")[:side, :side]
    psf = shake(1, PSF_SIDE)
    truth, clean = photograph, blurred_whole(photograph, psf)
    return truth, noisy(clean, LEVEL, "pnp_cost", counted=False), psf


def blurred_whole(picture: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """The circular blur of the whole picture."""
    import cases

    cases.SIDE = max(picture.shape)
    return blurred(picture, psf, "circular")[1]


def ours(y: np.ndarray, psf: np.ndarray, denoiser: Clocked) -> tuple[Runner, dict[str, Any]]:
    """Our run, and its ladder of levels and steps."""

    def run(return_info: bool = False) -> Any:
        return proxlab.deblur(
            y,
            psf,
            method="pnp",
            prior=denoiser,
            sigma=LEVEL / 255,
            boundary="circular",
            device="cpu",
            return_info=return_info,
        )

    return run, run(return_info=True)[1]["details"]


def solver(y: np.ndarray, psf: np.ndarray, denoiser: Clocked, ladder: dict[str, Any]) -> Runner:
    """Our solver with that ladder, as the method uses it."""
    data, kernel = torch.from_numpy(y)[None, None], torch.from_numpy(psf.astype(np.float32))[None, None]
    pairs = tuple(zip(ladder["levels"], ladder["gammas"], strict=True))

    def run() -> np.ndarray:
        op = CircularBlur(kernel, tuple(data.shape[1:]))
        with torch.no_grad():
            states = hqs(data_term(op, data, steps=1), in_turn(denoiser, pairs), pairs, x0=data)
            return last(states, len(pairs)).x[0, 0].numpy()

    return run


def theirs(y: np.ndarray, psf: np.ndarray, denoiser: Clocked, ladder: dict[str, Any]) -> Runner:
    """deepinv's splitting with the same ladder."""
    data, kernel = torch.from_numpy(y)[None, None], torch.from_numpy(psf.astype(np.float32))[None, None]

    def run() -> np.ndarray:
        model = deepinv.optim.HQS(
            data_fidelity=deepinv.optim.L2(),
            prior=deepinv.optim.PnP(denoiser=denoiser),
            stepsize=list(ladder["gammas"]),
            g_param=list(ladder["levels"]),
            max_iter=len(ladder["levels"]),
        )
        physics = deepinv.physics.BlurFFT(img_size=tuple(data.shape[1:]), filter=kernel)
        with torch.no_grad():
            return model(data, physics)[0, 0].numpy()

    return run


def measure(runners: Runners, repeats: int) -> dict[str, dict[str, Any]]:
    """Medians of the whole time and of the time outside the denoiser, its calls, and the picture."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    found: dict[str, dict[str, Any]] = {name: {} for name in runners}
    for _ in range(repeats):
        for name, (run, denoiser) in runners.items():
            denoiser.reset()
            start = time.process_time()
            picture = run()
            whole = time.process_time() - start
            times[name].append((whole, whole - denoiser.seconds))
            found[name] |= {"calls": denoiser.calls, "picture": picture}
    for name, pairs in times.items():
        found[name]["whole"] = statistics.median(whole for whole, _ in pairs)
        found[name]["outside"] = statistics.median(outside for _, outside in pairs)
    return found


def contenders(side: int, denoiser: Clocked, quick: Clocked | None) -> tuple[np.ndarray, Runners]:
    """The true picture, and who restores it with which denoiser; the ladder of levels is that of our own run.

    quick is the same denoiser in bfloat16, None where the processor has none.
    """
    truth, y, psf = problem(side)
    own, ladder = ours(y, psf, denoiser)
    runners = {
        "proxlab.deblur": (own, denoiser),
        "proxlab's solver": (solver(y, psf, denoiser, ladder), denoiser),
        "deepinv HQS": (theirs(y, psf, denoiser, ladder), denoiser),
    }
    if quick is not None:
        runners["proxlab.deblur, bfloat16"] = (ours(y, psf, quick)[0], quick)
    return truth, runners


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--side", type=int, default=512, help="of the square picture [512]")
    add("--threads", type=int, default=1)
    add("--repeats", type=int, default=3)
    add("--prior", default="denoiser-gray", help="name or file of the denoiser")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    denoiser = Clocked(priors.load(args.prior, precision="fp32"))
    quick = Clocked(priors.load(args.prior, precision="bf16")) if has_bfloat16("cpu") else None
    measure(contenders(64, denoiser, quick)[1], 1)  # libraries load their parts at the first call
    truth, runners = contenders(args.side, denoiser, quick)
    found = measure(runners, args.repeats)
    base = found["deepinv HQS"]
    lines = [
        [
            name,
            f"{psnr(np.asarray(r['picture'], np.float64), truth):.2f}",
            f"{r['calls']:.0f}",
            f"{r['whole']:.3f}",
            f"{r['outside']:.3f}",
            f"{r['outside'] / r['whole']:.1%}",
            f"{r['outside'] / base['outside']:.2f}",
            f"{base['whole'] / r['whole']:.2f}",
        ]
        for name, r in found.items()
    ]
    head = ["the same denoiser", "PSNR", "its calls", "CPU s", "outside it", "share outside"]
    head += ["outside, of deepinv's", "times as fast as deepinv"]
    title = f"# What plug-and-play costs: {args.side}x{args.side} grey, circular, 8 steps, one process"
    text = f"{title}\n\n{markdown(head, lines)}\n\n{arithmetic()}{circumstances(args.threads)}\n"
    print(text)
    write_text(args.out / "pnp_cost.md", text)


def arithmetic() -> str:
    """Whether the faster arithmetic of the network could have been used here."""
    if has_bfloat16("cpu"):
        return "All in float32 but the last row. "
    return "This processor has no bfloat16, which is where a whole run could be several times faster. "


if __name__ == "__main__":
    main()
