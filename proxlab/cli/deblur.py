"""`proxlab deblur`: pictures in, sharper pictures and receipts out."""

from __future__ import annotations

import argparse
from typing import Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags, pair
from proxlab.cli.trust_file import HELP as TRUST_HELP
from proxlab.methods import METHODS

OPTIONS = (
    "sigma",
    "method",
    "prior",
    "boundary",
    "noise",
    "lam",
    "num_iter",
    "scale",
    "origin",
    "data_range",
    "max_memory",
    "cluster",
    "device",
    "seed",
    "linear",
    "tile",
)
PSF_HELP = (
    "a file (png, tif, npy, mat) or a text: gaussian:S, gaussian:SX,SY@ANGLE, motion:LENGTH@DEGREES, "
    "disk:RADIUS, box:N, shake:SEED, zernike:..., motion:auto, gaussian:auto, disk:auto"
)


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "deblur",
        help="deblur pictures whose blur is known",
        description="Deblur pictures. Beside each result lies a receipt (JSON) of what was chosen and done.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures, folders of pictures, or patterns")
    add("-p", "--psf", required=True, help=PSF_HELP)
    add("-o", "--output", metavar="OUT", help="file or folder [name_deblurred.ext beside the input]")
    _add_model(parser)
    _add_run(parser)
    add_output_flags(parser)
    parser.set_defaults(run=run)


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what the picture is").add_argument
    add("--sigma", type=float, help="noise as a fraction of the range [estimated]")
    add("--noise", help="gaussian, poisson or poisson:PEAK with PEAK counts at white [gaussian]")
    add("--boundary", help="unknown, circular, reflect, edge or zero [unknown]")
    add("--mask", metavar="FILE", help="picture, bright where pixels are valid; off: use clipped pixels too")
    add("--scale", type=int, help="make the picture this many times larger [1]")
    add("--origin", type=pair, metavar="R,C", help="centre of the psf, from 0 [its middle]")
    add("--data-range", type=float, help="the value of white [end of the integer type; 1 for floats]")
    add("--linear", action="store_true", default=None, help="sRGB picture: work in linear light")
    add("--roi", metavar="R0:R1,C0:C1", help="deblur these rows and columns only, the rest stays as it is")


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("how it is done").add_argument
    add("--method", help=f"{', '.join(METHODS)}; `proxlab info` says what each is [auto]")
    add("--prior", help="name of a shipped network, or a .safetensors file [the one that fits the method]")
    add("--lam", type=float, help="weight of the regulariser, larger is smoother [chosen]")
    add("--iter", type=int, dest="num_iter", metavar="N", help="number of iterations [chosen]")
    add("--same-as", metavar="RECEIPT", help="method, sigma, lam and iterations of an earlier run")
    add("--trust", metavar="FILE", help=TRUST_HELP)
    add("--seed", type=int, help="decides every random draw [0]")
    add("--device", help="cpu, cuda, cuda:1, ... [a GPU where there is one]")
    add("--max-memory", metavar="SIZE", help="the most to hold, such as 2G: larger work is done in tiles")
    add("--tile", type=int, metavar="SIDE", help="work in tiles of so many pixels [only where it must be]")
    add("--cluster", metavar="WHERE", help="local:N for N processes, or tcp://... of a Dask scheduler")
    add("--strict", action="store_true", default=None, help="write nothing that did not converge")
    add("--overwrite", action="store_true", default=None, help="replace existing outputs")
    add("--resume", action="store_true", default=None, help="pass over pictures that were done like this")
    add("--strip-metadata", action="store_true", default=None, help="leave out Exif, XMP, ICC and texts")
    add("--dry-run", action="store_true", default=None, help="print the plan, write nothing")


def run(args: argparse.Namespace) -> int:
    """Deblur as asked; returns the exit code."""
    from proxlab.cli.batch import NOT_CONVERGED, Batch
    from proxlab.cli.console import Console
    from proxlab.cli.outputs import find_sources, plan_targets
    from proxlab.cli.trust_file import check_trust, write_trust
    from proxlab.receipt import psf_file

    console = Console.of(args)
    batch = Batch.of(args, console)
    tools = [path for path in (psf_file(args.psf), batch.switches.mask) if path is not None]
    sources, passed_over = find_sources(args.inputs, tools)
    if passed_over:
        console.say(f"passing over {passed_over} files: results of earlier runs, or this run's psf and mask.")
    targets = plan_targets(sources, args.output)
    overwrite = batch.switches.overwrite
    map_file = check_trust(args.trust, targets, batch.work, overwrite=overwrite) if args.trust else None
    code = batch.run(targets, args.output)
    if map_file is not None and code in (0, NOT_CONVERGED) and not batch.switches.dry_run:
        write_trust(map_file, targets[0], batch.work, console, overwrite=overwrite)
    return code


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `proxlab.deblur` that were typed."""
    typed = {name: getattr(args, name) for name in OPTIONS}
    return {name: value for name, value in typed.items() if value is not None}
