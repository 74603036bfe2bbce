"""`proxlab train deblur`: its options, their defaults, its recipe."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from proxlab.errors import UsageError

if TYPE_CHECKING:
    from priors.recipe import Recipe

FLAGS = {name: f"--{name}" for name in ("arch", "psf", "preprocess", "target", "noise", "inject")}
LOSSES = ("ln-mse",)  # beside those of the denoisers


def add_deblur_options(parser: ArgumentParser, levels: Any) -> None:
    """The options that only this training has; `levels` reads A:B."""
    add = parser.add_argument_group("deblur", "a network for one psf").add_argument
    add("--arch", choices=["ssnet", "unet", "nafnet", "bounded"], help="which network [ssnet]")
    add("--psf", metavar="SPEC", help="gaussian:1.3, motion:9@30, ... or a file (needed)")
    add(
        "--preprocess",
        metavar="SPEC",
        help="none, gaussian:WIDTH, cgls:STEPS,LAM, tikhonov, tv, denoise:NAME [none]",
    )
    add("--target", metavar="SPEC", help="truth or tikhonov:LAM, Tikhonov's answer from clean data [truth]")
    add("--noise", type=levels, metavar="A:B", help="noise levels, of the data range [0:0]")
    add("--inject", choices=["before", "after", "none"], help="noise before or after --preprocess [before]")


def deblur_recipe(args: Namespace) -> Recipe:
    """Blurred by one psf -> sharp."""
    from priors.deblurring import Deblurring

    if args.psf is None:
        message = "say which blur the network is for: --psf gaussian:1.3, for example."
        raise UsageError(message)
    return Deblurring(
        kind=args.kind,
        arch=args.arch or "ssnet",
        config=args.net or {},
        psf=_rows(args.psf),
        preprocess=args.preprocess or "none",
        target=args.target or "truth",
        noise=args.noise or (0.0, 0.0),
        inject=args.inject or "before",
        loss=args.loss or "ln-mse",
        color=bool(args.color),
        batch=args.batch or 8,
        patch=args.patch or 128,
        seed=args.seed or 0,
    )


def _rows(text: str) -> tuple[tuple[float, ...], ...]:
    """The psf of a text, sum 1, as rows of numbers that JSON can hold."""
    import numpy as np

    from imaging.psf.text import Auto, parse_psf

    psf = parse_psf(text)
    if isinstance(psf, Auto) or np.ndim(psf) != 2:
        message = f"--psf {text}: a network is trained for one grey psf that is known beforehand."
        raise UsageError(message)
    return tuple(tuple(float(v) for v in row) for row in psf / psf.sum())
