"""`proxlab prior`: read the regulariser of a learned prior, draw it, list what ships."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags

if TYPE_CHECKING:
    from proxlab.cli.console import Console
    from proxlab.reading import Reader


def add_parser(subparsers: Any) -> None:
    """Add the verb, with its three things to do, to the command line."""
    parser = subparsers.add_parser(
        "prior",
        help="read the regulariser of a learned prior, draw it, list priors",
        description="Read what a learned prior thinks of pictures: smaller is likelier.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    value = what.add_parser("value", help="print R of pictures, with its error", allow_abbrev=False)
    value.add_argument(
        "inputs", nargs="+", metavar="IMAGE", help="pictures, folders of pictures, or patterns"
    )
    draw = what.add_parser("plot", help="draw R along noise, blur and mixing", allow_abbrev=False)
    draw.add_argument("inputs", metavar="IMAGE", help="the picture to start from")
    draw.add_argument("-o", "--output", metavar="FILE", required=True, help="png, pdf or svg")
    draw.add_argument("--mix", metavar="IMAGE", help="picture to mix it with [its own mirror image]")
    draw.add_argument("--seed", type=int, help="decides the noise [0]")
    draw.add_argument("--overwrite", action="store_true", default=None, help="replace an existing output")
    for one in (value, draw):
        one.add_argument("--prior", required=True, help="name of a shipped prior, or a .safetensors file")
        one.add_argument("--sigma", type=float, required=True, help="level of R: the noise it removes")
        one.add_argument(
            "--crop", type=int, help="use the middle of so many pixels a side [all; 128 to draw]"
        )
        one.add_argument("--rtol", type=float, help="relative residual of the inversion [1e-6]")
        one.add_argument("--max-iter", type=int, help="most steps of the inversion [2000]")
        add_output_flags(one)
        one.set_defaults(run=run)
    listing = what.add_parser("list", help="the priors that ship", allow_abbrev=False)
    add_output_flags(listing)
    listing.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one of the three; returns the exit code."""
    from proxlab.cli.console import Console

    console = Console.of(args)
    if args.what == "list":
        return show_list(console)
    from proxlab.reading import reader

    read = reader(args.prior, args.sigma, rtol=args.rtol, max_iter=args.max_iter)
    return show_values(args, read, console) if args.what == "value" else draw_values(args, read, console)


def show_list(console: Console) -> int:
    """A line a shipped network: name, kind, channels, range of levels, PSNR of its own validation."""
    from priors.base import WEIGHTS, available
    from priors.checkpoint import read_provenance

    for name in available():
        card = read_provenance(WEIGHTS / f"{name}.safetensors")
        config, metrics, recipe = card["config"], card.get("metrics", {}), card.get("recipe", {})
        low, high = config.get("sigma", recipe.get("noise", (0.0, 0.0)))
        channels = config.get("channels", config.get("network", {}).get("channels", 1))
        trained = f"{channels} channel{'s' * (channels != 1)}\tsigma {low:.3g}"
        trained += f" to {high:.3g}" * (high > low)
        text = [", ".join(f"{k} {v:.2f} dB" for k, v in metrics.items())]
        if card["kind"] == "unrolled":
            text.append("deblurs with any psf: method 'unrolled'")
        if recipe.get("kind") == "deblur":
            text.append(f"deblurs one psf, {recipe['preprocess']} in front: method 'stnn'")
        line = f"{name}\t{card['kind']}\t{trained}\t{'; '.join(filter(None, text))}"
        console.data(line, {"name": name, **card})
    if available():
        console.say(
            "psnr_L: in dB on the crops each was validated on while it was trained, at noise L (of 255 above "
            "1, else of the range). What it does on photographs nobody trained on is in its card, with the "
            f"licence of its data: {WEIGHTS}."
        )
    else:
        console.say("no prior ships with this version: `proxlab train` makes one.")
    return 0


def show_values(args: argparse.Namespace, read: Reader, console: Console) -> int:
    """A line a page of a picture: R, a bound of its error, and the residual of the inversion."""
    from imaging.files.inputs import expand_inputs
    from imaging.files.picture import read_picture
    from proxlab.cli.batch import worst

    codes = []
    for path in expand_inputs(args.inputs):
        try:
            for number, page in enumerate(read_picture(path).frames()):
                found = read.value(read.planes(page, args.crop))
                record = {"source": str(path), "page": number, "prior": args.prior, "sigma": args.sigma}
                record |= {"value": found.value, "error": found.error, "residual": found.residual}
                certified = f"at most {found.error:.1e} too low" if found.error else "in closed form"
                console.data(f"{path}\t{found.value:.8g}\t{certified}", record)
            codes.append(0)
        except Exception as error:
            codes.append(console.fail(error, str(path)))
    return worst(codes)


def draw_values(args: argparse.Namespace, read: Reader, console: Console) -> int:
    """Three curves of R from the picture outwards: noise added, blurred, mixed with another picture."""
    from imaging.files.atomic import check_target
    from imaging.files.picture import read_picture
    from proxlab.reading import paths_from, plot_kind, plot_paths

    target = check_target(args.output, overwrite=bool(args.overwrite))
    plot_kind(Path(target))  # before the work
    crop = 128 if args.crop is None else args.crop
    start = read.planes(read_picture(args.inputs).frames()[0], crop)
    other = read.planes(read_picture(args.mix).frames()[0], crop) if args.mix else start.flip(3)
    curves = {}
    for name, (places, pictures) in paths_from(start, other, seed=args.seed or 0).items():
        values = [read.value(picture).value for picture in pictures]
        curves[name] = (places, values)
        line = "  ".join(f"{place:g}: {value:.6g}" for place, value in zip(places, values, strict=True))
        console.data(f"{name}\t{line}", {"path": name, "places": places, "values": values})
    plot_paths(curves, Path(target), overwrite=bool(args.overwrite))
    return 0
