"""`proxlab noise`: how noisy a picture is."""

from __future__ import annotations

import argparse
from typing import Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags, pair


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "noise",
        help="estimate the noise of pictures",
        description="Print the standard deviation of the noise as a fraction of the data range.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="IMAGE", help="pictures, folders of pictures, or patterns"
    )
    parser.add_argument("-p", "--psf", help="file or text: makes the estimate of a blurred picture better")
    parser.add_argument("--origin", type=pair, metavar="R,C", help="centre of the psf, from 0 [its middle]")
    parser.add_argument("--data-range", type=float, help="the value of white")
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one level a page; returns the exit code."""
    from imaging.files.inputs import expand_inputs
    from imaging.files.picture import read_picture
    from proxlab.cli.batch import worst
    from proxlab.cli.console import Console
    from proxlab.level import noise_level

    console = Console.of(args)
    paths = expand_inputs(args.inputs)
    codes = []
    for path in paths:
        try:
            for number, page in enumerate(read_picture(path).frames()):
                colour = page[..., 0] if page.ndim == 3 and page.shape[2] == 2 else page
                sigma = noise_level(
                    colour, args.psf, channel_axis=None, data_range=args.data_range, origin=args.origin
                )
                name = "" if len(paths) == 1 else f"{path}\t"
                record = {"source": str(path), "page": number, "sigma": sigma}
                console.data(f"{name}{sigma:.6f}", record)
            codes.append(0)
        except Exception as error:
            codes.append(console.fail(error, str(path)))
    return worst(codes)
