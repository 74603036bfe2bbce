"""How good is the estimate of memory? Peak resident size of processes of their own beside what was foretold.

    python benchmarks/memory.py [--megapixels 1 4 16] [--methods tikhonov tv] [--tiled 20000]

Each case is a process forked from one that has imported the libraries: `proxlab deblur` on a 16-bit TIFF made
here, its peak taken from outside (wait4), the estimate from the receipt. Few iterations: they repeat the same
memory. --tiled SIDE adds pictures of SIDE x SIDE under --max-memory, from file to file. Results:
results/memory.json and memory.md; what is in the file for the same code is not run again without --again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ROOT, ResultFile, circumstances, code_digest, markdown, write_text

PSF = "disk:3"
FEW = {  # enough to reach the peak
    "identity": [],
    "wiener": [],
    "tikhonov": [],
    "tv": ["--lam", "0.001", "--iter", "2"],
    "richardson-lucy": ["--iter", "2"],
    "pnp": ["--iter", "2"],
    "red": ["--iter", "2"],
    "certified": ["--iter", "2"],
    "unrolled": [],
}
FIXED = ["--lam", "0.1"]  # from 16 megapixels on, where choosing a weight takes minutes
TILED = {"tikhonov": ["--lam", "0.1"], "pnp": ["--iter", "2"]}
FOLDERS = ("imaging", "algorithms", "priors", "proxlab", "proxlab/methods", "proxlab/tiles", "proxlab/cli")
GOOD = (0.75, 1.25)


def picture(side: int, channels: int, path: Path) -> None:
    """A 16-bit TIFF, made row by row: smooth patches and noise."""
    from imaging.files.bands import Form, write_bands

    rng = np.random.default_rng(0)
    coarse = rng.random((side // 64 + 2, side // 64 + 2), np.float32)

    def bands() -> Iterator[np.ndarray]:
        for first in range(0, side, 64):
            rows = np.repeat(np.repeat(coarse[first // 64][None], 64, 1), min(64, side - first), 0)[:, :side]
            noisy = 0.1 + 0.8 * rows + rng.normal(0, 0.01, rows.shape)
            grey = (65535 * noisy.clip(0.01, 0.99)).astype(np.uint16)
            yield grey if channels == 1 else np.repeat(grey[..., None], 3, 2)

    shape = (side, side) if channels == 1 else (side, side, channels)
    write_bands(path, bands(), Form(shape, np.dtype(np.uint16)), overwrite=True)


def measured(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Peak, estimate and time of one command in a process of its own."""
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            from proxlab.__main__ import main

            code = main(arguments)
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    receipt = folder / "out.json"
    if os.waitstatus_to_exitcode(status) not in (0, 5) or not receipt.exists():
        return {"failed": os.waitstatus_to_exitcode(status)}
    info = json.loads(receipt.read_text())["info"]
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    receipt.unlink()
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "peak": peak,
        "estimate": info["memory_estimate"],
        "seconds": seconds,
        "cpu": cpu,
        "tile": info["details"].get("tile"),
    }


def foretold(options: list[str], side: int, channels: int, folder: Path) -> int:
    """Only the estimate, by a dry run in a process of its own."""
    picture(side, channels, folder / "in.tif")
    told, child = folder / "plan.json", os.fork()
    if child == 0:
        try:
            os.dup2(os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            from proxlab.__main__ import main

            main(["deblur", str(folder / "in.tif"), "-p", PSF, "-o", str(folder / "o.tif"), *options])
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return int(json.loads(told.read_text())["plan"]["memory_estimate"])


def cases(args: argparse.Namespace) -> Iterator[tuple[str, int, int, list[str]]]:
    """(name, side, channels, options)."""
    for size in args.megapixels:
        side = round((size * 2**20) ** 0.5)
        for channels in (1, 3):
            for method in args.methods:
                options = FEW[method]
                if size >= 16 and method in ("wiener", "tikhonov"):
                    options = FIXED
                yield method, side, channels, ["--method", method, *options]
    for path in args.prior:
        for size in args.megapixels:
            name = f"pnp, {path.stem} given"
            yield (
                name,
                round((size * 2**20) ** 0.5),
                1,
                ["--method", "pnp", *FEW["pnp"], "--prior", str(path)],
            )
    for side in args.tiled:
        for method, options in TILED.items():
            if method in args.methods:
                more = ["--max-memory", args.allow, "--sigma", "0.01"]
                yield f"{method}, {args.allow} allowed", side, 1, ["--method", method, *options, *more]


def rows(args: argparse.Namespace, file: ResultFile, code: str) -> Iterator[list[str]]:
    """A line a case."""
    with tempfile.TemporaryDirectory(dir=args.scratch) as name:
        folder, made = Path(name), (0, 0)
        for method, side, channels, options in cases(args):
            colour = "grey" if channels == 1 else "colour"
            key = f"{method}, {side}x{side} {colour}"
            old = args.keep or args.foretell
            record = file.find(key) if old else None if args.again else file.find(key, code=code)
            if record is None and old:
                continue
            if record is not None and args.foretell and "failed" not in record:
                options = [*options, "--dry-run", "--json"]
                record = {**record, "estimate": foretold(options, side, channels, folder)}
                file.add(key, record)
            if record is None:
                if made != (side, channels):
                    picture(side, channels, folder / "in.tif")
                    made = (side, channels)
                command = ["deblur", str(folder / "in.tif"), "-p", PSF, "-o", str(folder / "out.tif")]
                command += ["--overwrite", "--quiet", *options]
                record = {"code": code, **measured(command, folder)}
                file.add(key, record)
            yield line(method, side, colour, record)


def line(method: str, side: int, colour: str, record: dict[str, Any]) -> list[str]:
    """The table's row."""
    size = f"{side**2 / 2**20:.3g}"
    if "failed" in record:
        return [method, size, colour, "", "", f"exit {record['failed']}", "", ""]
    ratio = record["estimate"] / record["peak"]
    tile = "" if record["tile"] is None else "x".join(map(str, record["tile"]))
    mark = "" if GOOD[0] <= ratio <= GOOD[1] else " (!)"
    figures = [f"{record[name] / 1e6:.0f}" for name in ("peak", "estimate")]
    return [method, size, colour, *figures, f"{ratio:.2f}{mark}", tile, f"{record['cpu']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--megapixels", type=float, nargs="*", default=[1, 4, 16], help="sizes [1 4 16]")
    add("--methods", nargs="*", default=list(FEW), choices=list(FEW), help="[all]")
    add("--prior", type=Path, nargs="*", default=[], metavar="FILE", help="denoisers that pnp takes as well")
    add("--tiled", type=int, nargs="*", default=[], metavar="SIDE", help="pictures under --allow, in tiles")
    add("--keep", action="store_true", help="only the table of what is in the file, for whatever code")
    add(
        "--foretell",
        action="store_true",
        help="the estimates of what is in the file anew, the peaks as they are",
    )
    add("--allow", default="2G", metavar="SIZE", help="what those pictures may take [2G]")
    add("--again", action="store_true", help="measure what is in the file, too")
    add("--scratch", metavar="DIR", help="where pictures are made [the system's temporary folder]")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    import torch

    import imaging.operator  # noqa: F401 (before the fork, so that no case imports it)

    torch.set_num_threads(1)
    file = ResultFile(args.out / "memory.json")
    code = code_digest(ROOT.parent / folder for folder in FOLDERS)
    head = ["method", "megapixels", "", "peak MB", "estimate MB", "ratio", "tile", "CPU s"]
    found: list[list[str]] = []
    for row in rows(args, file, code):
        found.append(row)
        print(" | ".join(row), flush=True)
    table = markdown(head, found)
    text = ["# Peak memory beside its estimate", circumstances(1), table]
    write_text(args.out / "memory.md", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
