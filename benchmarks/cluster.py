"""What Dask costs and gains on a folder, and what one command saves beside one command a picture.

    python benchmarks/cluster.py folder [--pictures 64] [--repeats 3] [--method tikhonov] [--single]
    python benchmarks/cluster.py one    [--pictures 1000] [--separate 20]

`folder`: the same folder by one plain process, by two at once with half of it each, and by Dask with one and
with two workers, in turns; every process has one thread. Whole commands are timed, starting included; from
the results' times what a further picture takes once all is started. Seconds of processor time, of all
processes together, are there too: they say what is lost where the cores have other work as well.

`one`: seconds a picture of one command for all, and of separate commands.

Pictures are 512x512, 8 bits, from scikit-image's photographs; written to results/cluster.json and cluster.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import RESULTS, circumstances, markdown, pictures
from scipy.signal import fftconvolve

from imaging.files import write_picture
from imaging.psf.generators import disk

SIDE, NOISE = 512, 0.01
FILE = RESULTS / "cluster.json"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def fill(folder: Path, count: int) -> list[Path]:
    """Blurred, noisy pictures, turned and mirrored so that no two are the same."""
    sources = [p for p in pictures(None, 12).values() if min(p.shape) >= SIDE]
    rng, psf, paths = np.random.default_rng(0), disk(3), []
    folder.mkdir()
    for n in range(count):
        sharp = np.rot90(sources[n % len(sources)][:SIDE, :SIDE], n // len(sources))
        blurred = fftconvolve(np.pad(sharp, 3, mode="reflect"), psf, mode="valid")
        noisy = (0.1 + 0.8 * blurred + rng.normal(0, NOISE, blurred.shape)).clip(0, 1)
        paths.append(folder / f"{n:04d}.png")
        write_picture(paths[-1], np.round(255 * noisy).astype(np.uint8))
    return paths


def command(inputs: list[Path], out: Path, method: str, *more: str) -> list[str]:
    names = [str(path) for path in inputs]
    options = ["-p", "disk:3", "--sigma", str(NOISE), "--method", method, "-o", f"{out}/", "--quiet", *more]
    return [sys.executable, "-m", "proxlab", "deblur", *names, *options]


def timed(commands: list[list[str]], out: Path) -> dict[str, float]:
    """Run them at the same time into one folder: seconds in all, of processors, and a further picture."""
    shutil.rmtree(out, ignore_errors=True)
    start, before = time.time(), os.times()
    running = [subprocess.Popen(c, env=ENVIRONMENT, stdout=subprocess.DEVNULL) for c in commands]
    if any(process.wait() for process in running):
        message = f"a command failed: {commands[0][:6]}"
        raise SystemExit(message)
    wall, after = time.time() - start, os.times()
    ends = sorted(path.stat().st_mtime for path in out.glob("*.png"))
    few = len(ends) // 8  # until here processes are still starting
    return {
        "wall": wall,
        "cpu": after.children_user + after.children_system - before.children_user - before.children_system,
        "further": (ends[-1] - ends[few]) / max(1, len(ends) - 1 - few),
        "pictures": len(ends),
    }


def folder(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Four ways in turns; the median of each."""
    paths, out = fill(place / "in", args.pictures), place / "out"
    halves = [paths[::2], paths[1::2]]
    ways = {
        "one process": [command(paths, out, args.method)],
        "two processes": [command(half, out, args.method) for half in halves],
        "Dask, one worker": [command(paths, out, args.method, "--cluster", "local:1")],
        "Dask, two workers": [command(paths, out, args.method, "--cluster", "local:2")],
    }
    if args.single:
        ways = {name: commands for name, commands in ways.items() if "two" not in name}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for repeat in range(args.repeats):
        for name, commands in ways.items():
            runs[name].append(timed(commands, out))
            print(repeat, name, json.dumps(runs[name][-1]), f"load {os.getloadavg()[0]:.1f}", flush=True)
    middle = {
        name: {key: median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }
    return {"method": args.method, "pictures": args.pictures, "repeats": args.repeats, "ways": middle}


def ratios(ways: dict[str, dict[str, float]], key: str) -> list[str]:
    """Gain of two processes, of two workers, the second over the first, and the overhead of one worker; what
    was not measured is empty.
    """
    names = ("one process", "two processes", "Dask, one worker", "Dask, two workers")
    one, two, dask_one, dask_two = (ways[name][key] if name in ways else float("nan") for name in names)
    found = (one / two, one / dask_two, two / dask_two, dask_one / one - 1)
    return ["" if value != value else f"{value:.3f}" for value in found]


def one(args: argparse.Namespace, place: Path) -> dict[str, Any]:
    """All pictures by one command, some by one command each."""
    paths, out = fill(place / "in", args.pictures), place / "out"
    together = timed([command(paths, out, args.method)], out)
    print(json.dumps(together), flush=True)
    few = paths[:: max(1, len(paths) // args.separate)][: args.separate]
    alone = [timed([command([path], out, args.method)], out) for path in few]
    walls, cpus = ([run[key] for run in alone] for key in ("wall", "cpu"))
    return {
        "method": args.method,
        "pictures": args.pictures,
        "separate": len(few),
        "together": {key: together[key] / args.pictures for key in ("wall", "cpu")},
        "alone": {"wall": sum(walls) / len(few), "cpu": sum(cpus) / len(few)},
    }


def text(record: dict[str, Any]) -> str:
    """The tables of what was measured."""
    parts = [f"# What Dask and one command for all cost and gain\n\n{circumstances(1)}\n"]
    if found := record.get("folder"):
        ways = found["ways"]
        parts.append(
            f"{found['pictures']} pictures of 512x512 by `{found['method']}`, one thread a process, median "
            f"of {found['repeats']}; load before {found['load']:.1f} on {found['cores']} cores.\n"
        )
        rows = [
            [name, *(f"{way[key]:.2f}" for key in ("wall", "further", "cpu"))] for name, way in ways.items()
        ]
        parts.append(markdown(["", "seconds in all", "a further picture", "processor seconds"], rows))
        rows = [
            [said, *(ratios(ways, key)[n] for key in ("wall", "further", "cpu"))]
            for n, said in enumerate(
                (
                    "two processes over one",
                    "two workers over one process",
                    "the second over the first (0.95 asked)",
                    "overhead of one worker (0.05 asked)",
                )
            )
        ]
        parts.append(markdown(["", "in all", "a further picture", "processor"], rows))
    if found := record.get("one"):
        parts.append(
            f"{found['pictures']} pictures by one `{found['method']}` command, and {found['separate']} by "
            f"one command each; load before {found['load']:.1f} on {found['cores']} cores.\n"
        )
        rows = [
            [key, f"{together:.3f}", f"{alone:.3f}", f"{alone / together:.1f}"]
            for key, together, alone in (
                (k, found["together"][k], found["alone"][k]) for k in ("wall", "cpu")
            )
        ]
        parts.append(markdown(["seconds a picture", "one command", "separate commands", "ratio"], rows))
    return "\n".join(parts)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["folder", "one"])
    parser.add_argument("--pictures", type=int, default=None, help="[64 for folder, 1000 for one]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--separate", type=int, default=20)
    parser.add_argument("--method", default="tikhonov")
    parser.add_argument("--single", action="store_true", help="folder: one process and one worker only")
    args = parser.parse_args(argv)
    args.pictures = args.pictures or {"folder": 64, "one": 1000}[args.what]
    record = json.loads(FILE.read_text()) if FILE.exists() else {}
    load = os.getloadavg()[0]
    with TemporaryDirectory() as place:
        found = {"folder": folder, "one": one}[args.what](args, Path(place))
    record[args.what] = {**found, "load": load, "cores": len(os.sched_getaffinity(0))}
    FILE.write_text(json.dumps(record, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(text(record))
    print(text(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
