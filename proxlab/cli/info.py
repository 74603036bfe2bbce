"""`proxlab info`: what is installed, which devices and methods there are."""

from __future__ import annotations

import argparse
from typing import Any

from proxlab.cli.parser import add_output_flags


def add_parser(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "info",
        help="versions, devices, methods, formats",
        description="Print versions, devices, methods with what they support, and file formats.",
        allow_abbrev=False,
    )
    add_output_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is here; returns the exit code."""
    from imaging.files.formats import EXTENSIONS
    from proxlab.cli.console import Console
    from proxlab.job import versions
    from proxlab.methods import METHODS, load_method

    methods = {name: load_method(name) for name in METHODS}
    found = versions()
    record = {
        "versions": found,
        "devices": devices(),
        "methods": {name: method.summary for name, method in methods.items()},
        "formats": sorted(EXTENSIONS),
    }
    lines = ["versions"] + [f"  {name:16} {number}" for name, number in found.items()]
    lines += ["devices"] + [f"  {device}" for device in devices()]
    lines += ["methods"] + [f"  {name:16} {method.summary}" for name, method in methods.items()]
    lines += ["formats", f"  {' '.join(sorted(EXTENSIONS))}", f"  {zarr()}"]
    Console.of(args).data("\n".join(lines), record)
    return 0


def zarr() -> str:
    """Whether zarr, which an extra brings, is read and written here."""
    from importlib.util import find_spec

    here = find_spec("zarr") is not None
    return ".zarr, by deblur alone" if here else ".zarr is not installed: pip install 'proxlab[zarr]'"


def devices() -> list[str]:
    """The devices torch can use, the first being the default's fallback."""
    import torch

    found = [f"cpu ({torch.get_num_threads()} threads)"]
    for index in range(torch.cuda.device_count()):
        found.append(f"cuda:{index} ({torch.cuda.get_device_name(index)})")
    return found
