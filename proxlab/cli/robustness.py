"""`proxlab robustness`: how accurate and how stable reconstructions are, in one command."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags

UNRELIABLE = 5  # a sanity flag of level "error": the worst-case part is not to be believed


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "robustness",
        help="measure accuracy and stability against random, worst and unexpected noise",
        description=(
            "Measure methods on your pictures and psf: error under random noise, the worst noise of the same "
            "size that an attack finds, data that are not as believed. Writes report.html, report.json and "
            "per_image.csv. identity, wiener, tikhonov and tv are always measured too."
        ),
        epilog=EXIT_CODES + ";\n  here 5 also: an attack failed its own checks, its worst case is unreliable",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--method", required=True, metavar="A,B,...", help="methods, files, or your own as module:function")
    add("--images", required=True, nargs="+", metavar="DIR", help="sharp pictures: folders, files, patterns")
    add("-p", "--psf", required=True, help="a file or a text, as for deblur")
    add("--out", metavar="DIR", help="folder of the report [report]")
    size = parser.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "8 pictures, fixed sizes, minutes"),
        ("standard", "50, hours"),
        ("paper", "50, days"),
    ):
        size.add_argument(f"--{name}", dest="protocol", action="store_const", const=name, help=text)
    add("--minutes", type=float, metavar="M", help="leave out what does not fit, and say what [no limit]")
    add("--sizes", metavar="A=1,...", help="sizes of the study one by one; each report tells its own")
    add(
        "--resume", action="store_true", default=None, help="go on with what lies in the folder of the report"
    )
    add("--boundary", choices=["unknown", "circular"], help="what operators assume [unknown]")
    add("--prior", help="for methods that take one: a name or a .safetensors file")
    add("--seed", type=int, help="decides every random draw [0]")
    add("--cluster", metavar="WHERE", help="local:N for N processes, or tcp://... of a Dask scheduler")
    add("--device", help="cpu, cuda, cuda:1, ... [a GPU where there is one]")
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the study; returns the exit code."""
    from pathlib import Path

    from proxlab.cli.console import Console
    from proxlab.errors import UsageError
    from proxlab.pages.verdict import unreliable
    from proxlab.study import robustness

    console = Console.of(args)
    out = Path(args.out or "report")
    if (out / "report.json").exists() and not args.resume:
        message = f"{out} holds a report already: give another folder to --out, or --resume."
        raise UsageError(message)
    names = ("protocol", "minutes", "resume", "boundary", "prior", "seed", "device", "cluster")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.sizes is not None:
        given["sizes"] = _sizes(args.sizes)
    try:
        record = robustness(
            args.method,
            args.images,
            args.psf,
            out=out,
            say=console.say,
            command=shlex.join(["proxlab", *sys.argv[1:]]),
            **given,
        )
    except KeyboardInterrupt:
        console.say(f"what is done lies in {out}: the same command with --resume goes on.")
        raise
    console.data(f"{record['verdict']}\n{out / 'report.html'}", record)
    return UNRELIABLE if unreliable(record) else 0


def _sizes(text: str) -> dict[str, Any]:
    from proxlab.errors import UsageError
    from proxlab.trials.protocol import read_sizes

    try:
        return read_sizes(text)
    except ValueError as cause:
        raise UsageError(str(cause)) from cause
