"""`proxlab denoise`: noisy pictures in, cleaner pictures and receipts out."""

from __future__ import annotations

import argparse
from typing import Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags

OPTIONS = ("sigma", "noise", "data_range", "max_memory", "device", "seed", "linear")


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "denoise",
        help="remove noise from pictures",
        description="Denoise pictures. Beside each result lies a receipt (JSON) of what was chosen and done.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="pictures, folders of pictures, or patterns")
    add("-o", "--output", metavar="OUT", help="file or folder [name_denoised.ext beside the input]")
    add("--prior", help="name of a shipped prior, or a .safetensors file [the denoiser for grey or colour]")
    add("--sigma", type=float, help="noise as a fraction of the range [estimated]")
    add("--noise", help="gaussian, poisson or poisson:PEAK with PEAK counts at white [gaussian]")
    add("--mask", metavar="FILE", help="picture, bright where pixels are valid; the others are filled in")
    add("--roi", metavar="R0:R1,C0:C1", help="denoise these rows and columns only, the rest stays as it is")
    add("--data-range", type=float, help="the value of white [end of the integer type; 1 for floats]")
    add("--linear", action="store_true", default=None, help="sRGB picture: work in linear light")
    add("--seed", type=int, help="decides every random draw [0]")
    add("--device", help="cpu, cuda, cuda:1, ... [a GPU where there is one]")
    add("--max-memory", metavar="SIZE", help="refuse work that needs more, such as 2G")
    add("--strict", action="store_true", default=None, help="write nothing that did not converge")
    add("--overwrite", action="store_true", default=None, help="replace existing outputs")
    add("--strip-metadata", action="store_true", default=None, help="leave out Exif, XMP, ICC and texts")
    add("--dry-run", action="store_true", default=None, help="print the plan, write nothing")
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Denoise as asked; returns the exit code."""
    from pathlib import Path

    from proxlab.cli.batch import Batch, Switches, read_mask
    from proxlab.cli.console import Console
    from proxlab.cli.outputs import find_sources, plan_targets
    from proxlab.denoising import choose_prior
    from proxlab.front import request_of
    from proxlab.pictures import Work

    console = Console.of(args)
    typed = {name: getattr(args, name) for name in OPTIONS}
    request = request_of({**{k: v for k, v in typed.items() if v is not None}, "method": "identity"})
    choose_prior(args.prior, channels=1)  # a mistake in it is said once, not for each picture
    path = Path(args.mask) if args.mask else None
    switches = Switches(
        overwrite=bool(args.overwrite),
        strip_metadata=bool(args.strip_metadata),
        dry_run=bool(args.dry_run),
        strict=bool(args.strict),
        mask=path,
    )
    sources, passed_over = find_sources(args.inputs, [path] if path else [])
    if passed_over:
        console.say(f"passing over {passed_over} files: results of earlier runs, or this run's mask.")
    work = Work(request, None, read_mask(path) if path else None, args.roi, "denoise", args.prior)
    batch = Batch(work, switches, console)
    return batch.run(plan_targets(sources, args.output, suffix="_denoised"))
