"""`proxlab psf`: make a psf, look at one, check one, measure one in a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags, pair

if TYPE_CHECKING:
    import numpy as np

    from proxlab.cli.console import Console


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "psf",
        help="make, plot, check or measure a psf",
        description="Make a psf from a text, measure it at a point or a slanted edge, or check one.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "spec", nargs="?", metavar="SPEC", help="a psf text such as motion:15@30, or a psf file"
    )
    what.add_argument("--check", metavar="FILE", help="say what the doctor finds in a psf")
    what.add_argument("--from-point", metavar="FILE", help="cut the psf out of a picture of a point or star")
    what.add_argument("--from-edge", metavar="FILE", help="fit the psf to a slanted edge in a picture")
    add("--at", type=pair, metavar="R,C", help="row and column of the point or edge, from 0")
    add("--size", type=int, help="pixels of the window around it, odd [31 for a point, 61 for an edge]")
    add("--kind", choices=["gaussian", "disk"], help="what is fitted to an edge [gaussian]")
    add("--image", metavar="FILE", help="the picture that motion:auto, gaussian:auto or disk:auto looks at")
    add("-o", "--output", metavar="FILE", help="write the psf (png, tif, npy, mat)")
    add("--plot", metavar="FILE", help="draw the psf and its spectrum (png, pdf, svg)")
    add("--seed", type=int, help="seed of a bare 'shake' [0]")
    add("--overwrite", action="store_true", default=None, help="replace existing outputs")
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one of the four things; returns the exit code."""
    from proxlab.cli.console import Console

    console = Console.of(args)
    if args.check is not None:
        return check(Path(args.check), console)
    from imaging.files.atomic import check_target

    for path in (args.output, args.plot):
        if path:
            check_target(path, overwrite=bool(args.overwrite))
    psf, text = _psf_of(args)
    if args.output:
        from imaging.psf.files import write_psf

        write_psf(args.output, psf, overwrite=bool(args.overwrite))
    if args.plot:
        plot(psf, text, Path(args.plot), overwrite=bool(args.overwrite))
    record = {"psf": text, "shape": list(psf.shape), "sum": float(psf.sum()), "output": args.output}
    console.data(f"{text}: {'x'.join(map(str, psf.shape))}, sum {psf.sum():.6g}", record)
    return 0


def check(path: Path, console: Console) -> int:
    """Print the doctor's findings on a psf file, one a line."""
    from imaging.psf.doctor import diagnose
    from imaging.psf.files import read_psf
    from proxlab.errors import InputError

    if path.is_dir():
        message = f"{path} is a folder, but a psf file was wanted: name a file in it."
        raise InputError(message)
    found = diagnose(read_psf(path))
    record = {
        "psf": str(path),
        "shape": list(found.psf.shape),
        "origin": list(found.origin),
        "findings": [{"level": f.level, "text": f.text} for f in found.findings],
    }
    console.data(found.text, record)
    return 0


def _psf_of(args: argparse.Namespace) -> tuple[np.ndarray, str]:
    """The psf that was asked for, with a line about it."""
    if args.from_point is None and args.from_edge is None:
        return _from_text(args)
    from imaging.psf.measured import psf_from_edge, psf_from_point
    from proxlab.errors import UsageError

    if args.at is None:
        message = "--at is missing: say where the point or the edge is, as --at ROW,COLUMN."
        raise UsageError(message)
    picture = _unit_picture(args.from_point or args.from_edge)
    if args.from_point:
        found = psf_from_point(picture, args.at, size=args.size or 31)
    else:
        found = psf_from_edge(picture, args.at, size=args.size or 61, kind=args.kind or "gaussian")
    return found.psf, found.text


def _from_text(args: argparse.Namespace) -> tuple[np.ndarray, str]:
    from imaging.psf.text import Auto
    from proxlab.blurs import psf_from_text
    from proxlab.errors import UsageError

    found = psf_from_text(args.spec, args.seed or 0)
    if not isinstance(found, Auto):
        return found, args.spec
    if args.image is None:
        message = f"psf {args.spec!r} is estimated from a picture: name it with --image FILE."
        raise UsageError(message)
    from imaging.psf.estimate import estimate_psf

    estimate = estimate_psf(_unit_picture(args.image), found.kind)
    return estimate.psf, f"{estimate.text}, confidence {estimate.confidence:.2f}"


def _unit_picture(path: str) -> np.ndarray:
    """The first page of a picture as floats on [0, 1], (H, W) or (H, W, C), without alpha."""
    from imaging.files.picture import read_picture
    from imaging.files.scaling import split_alpha, to_float

    colour, _ = split_alpha(read_picture(path).frames()[0])
    return to_float(colour[..., 0] if colour.ndim == 3 and colour.shape[2] == 1 else colour)[0]


def plot(psf: np.ndarray, title: str, path: Path, *, overwrite: bool) -> None:
    """Draw a psf and the logarithm of its spectrum side by side."""
    import io

    import numpy as np
    from matplotlib.figure import Figure

    from imaging.files.atomic import atomic_write
    from proxlab.errors import UsageError

    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "pdf", "svg"):
        message = f"{path}: a plot is written as .png, .pdf or .svg."
        raise UsageError(message)
    grey = psf if psf.ndim == 2 else psf.mean(axis=2)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(grey / grey.sum(), (256, 256))))
    figure = Figure(figsize=(8, 4), layout="constrained")  # no pyplot: no window, nothing global
    left, right = figure.subplots(1, 2)
    left.imshow(grey, cmap="gray")
    left.set_title("psf")
    image = right.imshow(np.log10(spectrum + 1e-6), cmap="magma", extent=(-0.5, 0.5, 0.5, -0.5))
    right.set_title("log10 of its spectrum, cycles a pixel")
    figure.colorbar(image, ax=right)
    figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=120)
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(buffer.getvalue())
