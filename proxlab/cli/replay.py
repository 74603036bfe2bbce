"""`proxlab replay`: do a run again from its receipt and see whether the same comes out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from proxlab.cli.parser import EXIT_CODES, add_output_flags


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help="run a receipt again and compare",
        description="Do again what a receipt says and compare the pixels; exit code 1 when they differ.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("receipt", metavar="RECEIPT", help="the .json file beside a result")
    parser.add_argument("-o", "--output", metavar="FILE", help="also write the picture")
    parser.add_argument("--overwrite", action="store_true", default=None, help="replace an existing output")
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the files, run, compare; returns the exit code."""
    import numpy as np

    from imaging.files.picture import write_picture
    from proxlab.cli.console import Console
    from proxlab.job import digest
    from proxlab.pictures import prepare_page
    from proxlab.progress import Bar
    from proxlab.receipt import file_digest, read_receipt

    console = Console.of(args)
    path = Path(args.receipt)
    record = read_receipt(path)
    changed = _changed_file(record, path) or _changed_weights(record)
    if changed:
        return _differs(console, record, changed)
    picture = _read(path.parent / record["source"])
    work = _work_of(record, path)
    with Bar(str(record["source"]), shown=not console.quiet) as bar:
        pages = [prepare_page(page, work).run(bar)[0] for page in picture.frames()]
    pixels = np.stack(pages) if picture.pages else pages[0]
    if args.output:
        write_picture(args.output, pixels, picture, overwrite=bool(args.overwrite))
    if digest(pixels) != record["result"]:
        return _differs(console, record, "the result differs" + _version_changes(record))
    written = path.parent / record["output"]
    if not written.exists():
        console.say(f"{record['output']} is no longer there; the receipt's result is what was compared.")
    elif file_digest(written) != record["files"]["output"]:
        return _differs(console, record, "the file has been changed since, the result itself is the same")
    console.data(f"the same: {record['output']}", {"same": True, "result": record["result"]})
    return 0


def _read(path: Path) -> Any:
    """The picture, a zarr too."""
    from imaging.files.picture import Picture, read_picture
    from imaging.files.rows import open_rows

    if path.suffix.lower() != ".zarr":
        return read_picture(path)
    with open_rows(path) as rows:
        return Picture(rows.rows(0, rows.shape[0]), "zarr")


def _work_of(record: dict[str, Any], receipt: Path) -> Any:
    """The work a receipt tells of, on the device it was done on."""
    from proxlab.cli.batch import read_mask
    from proxlab.front import request_of
    from proxlab.pictures import Work

    options = dict(record["options"])
    for where in ("max_memory", "cluster"):  # of then, no part of the result
        options.pop(where, None)
    options["device"] = str(record["info"]["device"]).split(" ")[0]
    if "origin" in options:
        options["origin"] = tuple(options["origin"])
    psf, prior = record["psf"], record.get("prior")
    if "prior" in record["files"]:
        prior = str(receipt.parent / record["prior"])
    if "psf" in record["files"]:
        psf = str(receipt.parent / psf)
    mask: Any = None
    if record["mask"] is not None:
        mask = False if record["mask"] == "off" else read_mask(receipt.parent / record["mask"])
    if record["verb"] != "denoise":
        options["prior"], prior = prior, None
    return Work(request_of(options), psf, mask, record["roi"], record["verb"], prior)


def _changed_file(record: dict[str, Any], receipt: Path) -> str | None:
    """Which of the inputs is no longer what it was, in words, or None."""
    from proxlab.errors import InputError
    from proxlab.receipt import file_digest

    for kind in ("source", "psf", "mask", "prior"):
        if kind not in record["files"]:
            continue
        name = record[kind]
        path = receipt.parent / name
        if kind == "psf" and ":" in name and not path.is_file():
            path = receipt.parent / name.rpartition(":")[0]
        if not path.exists():
            message = f"{receipt} needs {name}, which is not there: put it back beside the receipt."
            raise InputError(message)
        if file_digest(path) != record["files"][kind]:
            return f"{name} is not the file it was"
    return None


def _changed_weights(record: dict[str, Any]) -> str | None:
    """That a shipped network has other weights now than then, in words, or None."""
    from priors.base import available, find
    from proxlab.receipt import file_digest

    then = record["info"]["hashes"].get("prior")
    name = record["info"]["prior"] or record["info"]["method"]  # the verb denoise has it as the method
    if then is None or "prior" in record["files"] or name not in available():
        return None
    now = file_digest(find(name))
    return None if now == then else f"the weights of {name} were {then[:12]} then and are {now[:12]} now"


def _version_changes(record: dict[str, Any]) -> str:
    from proxlab.job import versions

    then, now = record["info"]["versions"], versions()
    moved = [f"{name} {then.get(name)} then, {now[name]} now" for name in now if then.get(name) != now[name]]
    return f" ({'; '.join(moved)})" if moved else " with the same versions"


def _differs(console: Any, record: dict[str, Any], why: str) -> int:
    import sys

    if console.json:
        console.data("", {"same": False, "why": why})
    print(f"proxlab: {record['output']} is not reproduced: {why}.", file=sys.stderr)
    return 1
