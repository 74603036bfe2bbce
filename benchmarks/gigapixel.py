"""A picture larger than the memory it may take: 400 megapixels of 16 bits by command line under 2 GB.

    python benchmarks/gigapixel.py [--side 20000] [--methods tikhonov pnp] [--iter 1] [--allow 2G]

The picture (scikit-image's astronaut, mirrored and repeated, blurred by disk:3, noise 0.01) is made row by
row in a temporary folder, then `proxlab deblur IN -o OUT --max-memory 2G` runs as a process of its own, told
nothing but the psf, the method and, for pnp, how many steps. Its peak is what the kernel counted of it
(wait4). PSNR is that of 512 rows in the middle, before and after, beside the sharp photograph. A size whose
time is expected to exceed --max-seconds, going by 4 megapixels, is replaced by the largest that does not, and
the table says so. Results: results/gigapixel.json and gigapixel.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ResultFile, circumstances, markdown, write_text
from scaling import MEGA, SIGMA, Scene

from imaging.files.bands import Form, write_bands
from imaging.files.rows import open_rows

TRIAL = 2048  # side of the picture by whose time larger ones are judged
BAND = 512


def make(path: Path, side: int, scene: Scene) -> None:
    """The picture, row by row."""
    bands = (scene.rows(first, min(first + 64, side), side) for first in range(0, side, 64))
    write_bands(path, bands, Form((side, side), np.dtype(np.uint16)), overwrite=True)


def run(command: list[str]) -> dict[str, Any]:
    """Peak, seconds and processor seconds of a process, as the kernel counted them, and how it ended."""
    start = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return {
        "exit": child.returncode,
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def deblurred(args: argparse.Namespace, method: str, side: int, folder: Path) -> dict[str, Any]:
    """One picture made, deblurred and looked at."""
    scene = Scene()
    source, result = folder / f"in.{args.format}", folder / f"out.{args.format}"
    if not (source.exists() and shape_of(source) == (side, side)):
        make(source, side, scene)
    command = [sys.executable, "-m", "proxlab", "deblur", str(source), "-p", "disk:3", "-o", str(result)]
    command += ["--method", method, "--max-memory", args.allow, "--overwrite", "--quiet"]
    command += ["--iter", str(args.iter)] if method == "pnp" else []
    found = run(command)
    if found["exit"]:
        return found
    info = json.loads(result.with_suffix(".json").read_text())["info"]
    found |= {"estimate": info["memory_estimate"], **info["details"], "warnings": info["warnings"]}
    found |= {"lam": info["lam"], "sigma": info["sigma"], "bytes": source.stat().st_size}
    return found | {"psnr": [middle(path, scene) for path in (source, result)]}


def shape_of(path: Path) -> tuple[int, ...]:
    """Its header's."""
    with open_rows(path) as rows:
        return rows.shape


def middle(path: Path, scene: Scene) -> float:
    """PSNR of the rows in the middle."""
    with open_rows(path) as rows:
        height, width = rows.shape
        first = (height - BAND) // 2
        seen = rows.rows(first, first + BAND).astype(np.float64) / 65535
    true = scene.sharp[np.arange(first, first + BAND) % 1024][:, np.arange(width) % 1024]
    return float(-10 * np.log10(((seen - true) ** 2).mean()))


def side_within(args: argparse.Namespace, method: str, folder: Path) -> int:
    """The side asked for, or the largest multiple of 1000 that is expected to take no longer than allowed."""
    if args.max_seconds is None:
        return int(args.side)
    small = deblurred(args, method, TRIAL, folder)
    rate = small["seconds"] / TRIAL**2  # the start of the process counted in: on the careful side
    fits = int((args.max_seconds / rate) ** 0.5) // 1000 * 1000
    print(f"{method}: about {rate * args.side**2:.0f} s expected for {args.side}x{args.side}", flush=True)
    return min(args.side, max(fits, 2000))


def line(key: str, record: dict[str, Any], wanted: int) -> list[str]:
    """The table's row."""
    side = record["side"]
    if record["exit"]:
        return [key, f"{side}x{side}", f"exit {record['exit']}", *[""] * 7]
    before, after = record["psnr"]
    hours = record["seconds"] * (wanted / side) ** 2 / 3600
    return [
        key,
        f"{side}x{side}",
        f"{record['peak'] / 1e6:.0f}",
        f"{record['estimate'] / 1e6:.0f}",
        "x".join(map(str, record["tiles"])),
        "x".join(map(str, record["tile"])),
        str(record["overlap"]),
        f"{record['seconds']:.0f}" + ("" if side == wanted else f" ({hours:.1f} h at {wanted}x{wanted})"),
        f"{record['cpu'] / side**2 * MEGA:.2f}",
        f"{before:.2f} -> {after:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--side", type=int, default=20000, help="of the square picture [20000]")
    add("--methods", nargs="+", default=["tikhonov", "pnp"], help="[tikhonov pnp]")
    add("--iter", type=int, default=1, help="steps of pnp [1]")
    add("--allow", default="2G", metavar="SIZE", help="what the process may take [2G]")
    add("--format", default="tif", choices=["tif", "npy", "zarr"], help="of both files [tif]")
    add("--max-seconds", type=float, help="take a smaller picture where this is expected to take longer")
    add("--scratch", metavar="DIR", help="where pictures are made [the system's temporary folder]")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    file = ResultFile(args.out / "gigapixel.json")
    with tempfile.TemporaryDirectory(dir=args.scratch) as name:
        for method in args.methods:
            side = side_within(args, method, Path(name))
            steps = f", {args.iter} steps" if method == "pnp" else ""
            key = f"{method}{steps}, {args.allow} allowed, {side}x{side} {args.format}"
            record = {"method": method, "side": side, **deblurred(args, method, side, Path(name))}
            file.add(key, record)
            print(" | ".join(line(key, record, args.side)), flush=True)
    lines = [line(key, record, args.side) for key, record in file.records.items()]
    head = ["method, limit, file", "pixels", "peak MB", "estimate MB", "tiles", "of pixels", "overlap"]
    head += ["seconds", "CPU s/MP", "PSNR, dB"]
    text = [f"# A grey picture of 16 bits, noise {SIGMA:g}, larger than the memory", circumstances(1)]
    write_text(args.out / "gigapixel.md", "\n\n".join([*text, markdown(head, lines)]) + "\n")


if __name__ == "__main__":
    main()
