"""What does a megapixel cost, in small pictures and in large ones, and how much of it is unavoidable?

    python benchmarks/scaling.py [--methods wiener pnp] [--sizes 0.25 1 4] [--tile 1024] [--repeats 2]
                                 [--max-seconds 600]

Each case is a process of its own, forked from one that has the libraries and has done a small picture: a
grey 16-bit photograph (scikit-image's astronaut, mirrored and repeated), blurred and noisy, through
`proxlab.deblur` with psf, level and weight given and few iterations; no files. Seconds are processor time,
the least of --repeats runs, as the floor's are of several.
The floor beside it: the FFTs of the method's own steps, counted by size while it runs, and the evaluations
of the network, each times what one of them takes alone, at the same size (a network at most at 4096x4096), in
the same process; the table counts FFTs as so many of the whole piece (those of its frame alone are small).
What is measured once for a whole picture (the level's plausibility, a sample, how far tiles reach) counts as
cost, not as floor. --tile cuts; without it a picture is done in one piece, as it is wherever memory allows.
Sizes whose time is expected to exceed --max-seconds are left out and named. Results: results/scaling.json and
scaling.md; what is in the file for the same code is not run again without --again.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, ROOT, ResultFile, circumstances, code_digest, markdown, status_bytes, write_text

import proxlab
from imaging.fft import irfft2, rfft2
from imaging.heap import kept_heap
from imaging.psf.generators import disk

PSF, SIGMA = disk(3), 0.01
OPTIONS: dict[str, dict[str, Any]] = {  # few iterations: what they cost is repeated
    "identity": {},
    "wiener": {"lam": 0.05},
    "tikhonov": {"lam": 0.05},
    "tv": {"lam": 1e-3, "num_iter": 5},
    "richardson-lucy": {"num_iter": 10},
    "pnp": {"num_iter": 2},
    "red": {"num_iter": 2},
    "certified": {"num_iter": 1},
    "unrolled": {},
}
EVALUATIONS = {"pnp": 2, "red": 2, "unrolled": 8}  # of the network, in a run or in a tile
FAMILY = {"pnp": "denoiser-gray", "red": "denoiser-gray", "unrolled": "unrolled-gray"}
PART = 4096  # the largest side on which a network is timed alone
FOLDERS = ("imaging", "algorithms", "priors", "proxlab", "proxlab/methods", "proxlab/tiles")
MEGA = float(1 << 20)


class Scene:
    """The photograph and its mirror images, of period 1024, sharp and blurred; rows of any size of it."""

    def __init__(self) -> None:
        from skimage import data

        self.sharp = 0.05 + 0.9 * np.pad(data.astronaut()[..., 1] / 255.0, (0, 512), mode="symmetric")
        psf = np.zeros_like(self.sharp)
        psf[: PSF.shape[0], : PSF.shape[1]] = PSF
        psf = np.roll(psf, [-(n // 2) for n in PSF.shape], (0, 1))
        self.blurred = np.fft.irfft2(np.fft.rfft2(self.sharp) * np.fft.rfft2(psf), self.sharp.shape)
        self._rng = np.random.default_rng(0)

    def rows(self, first: int, last: int, side: int) -> np.ndarray:
        """Data with noise, uint16; draws anew at each call."""
        rows = self.blurred[np.arange(first, last) % 1024][:, np.arange(side) % 1024]
        noisy = rows + SIGMA * self._rng.standard_normal(rows.shape, np.float32)
        return (65535 * noisy.clip(0.001, 0.999)).astype(np.uint16)


def picture(side: int) -> np.ndarray:
    """Data (side, side), uint16."""
    scene, out = Scene(), np.empty((side, side), np.uint16)
    for first in range(0, side, 256):
        last = min(first + 256, side)
        out[first:last] = scene.rows(first, last, side)
    return out


class Counted:
    """Counts torch's real FFTs by size while the method itself is at work, and the tiles it works on."""

    def __init__(self) -> None:
        self.on, self.ffts, self.pieces = False, Counter[tuple[int, int]](), 0
        self.wanted = True  # in the first run alone

    def install(self) -> None:
        """Put counters around the FFTs, and around the run of a whole picture and of a tile."""
        import proxlab.pipeline
        import proxlab.tiles.run

        torch.fft.rfft2 = self._fft(torch.fft.rfft2, lambda a, k: tuple(a[0].shape))
        torch.fft.irfft2 = self._fft(torch.fft.irfft2, lambda a, k: (*a[0].shape[:-2], *k["s"]))
        packed = lambda a, k: (*a[0].shape[:-1], 2 * a[0].shape[-1])  # noqa: E731 (see imaging.fft)
        torch.fft.ifft2 = self._fft(torch.fft.ifft2, packed)
        proxlab.pipeline.run = self._work(proxlab.pipeline.run)
        proxlab.tiles.run.solve_piece = self._work(proxlab.tiles.run.solve_piece)

    def _fft(self, plain: Any, shape: Callable[[Any, Any], tuple[int, ...]]) -> Any:
        def fft(*args: Any, **options: Any) -> Any:
            if self.on:
                *many, rows, columns = shape(args, options)
                self.ffts[rows, columns] += int(np.prod(many))
            return plain(*args, **options)

        return fft

    def _work(self, plain: Any) -> Any:
        def work(*args: Any, **options: Any) -> Any:
            self.on, self.pieces = self.wanted, self.pieces + self.wanted
            try:
                return plain(*args, **options)
            finally:
                self.on = False

        return work


def least(work: Callable[[], Any], times: int) -> float:
    """Processor seconds of the quickest of several runs."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def floor(method: str, counted: Counted) -> dict[str, float]:
    """Seconds of the counted FFTs and of the network, alone."""
    ffts = 0.0
    for (rows, columns), count in counted.ffts.items():
        x = torch.rand(1, 1, rows, columns)
        spectrum = rfft2(x)
        times = 5 if rows * columns < 1 << 22 else 2
        pair = least(lambda x=x: rfft2(x), times)
        pair += least(lambda s=spectrum, size=(rows, columns): irfft2(s, size), times)
        ffts += count * pair / 2
    if method not in EVALUATIONS:
        return {"ffts": ffts, "network": 0.0}
    import priors

    network = priors.load(FAMILY[method])
    network = network.network if method == "unrolled" else network  # the denoiser inside
    rows, columns = max(counted.ffts)
    part = torch.rand(1, 1, min(rows, PART), min(columns, PART))
    with torch.no_grad():
        one = least(lambda: network(part, 0.05), 3) / part.numel()
    return {"ffts": ffts, "network": one * rows * columns * counted.pieces * EVALUATIONS[method]}


def case(method: str, side: int, tile: int | None, repeats: int) -> dict[str, Any]:
    """Everything measured of one case, in this process."""
    counted = Counted()
    counted.install()
    image = picture(side)
    before = status_bytes("VmRSS") - image.nbytes
    options = {**OPTIONS[method], "method": method, "sigma": SIGMA, "tile": tile, "device": "cpu"}
    runs, peak = [], 0.0
    for _ in range(repeats):
        wall, start = time.perf_counter(), time.process_time()
        _, info = proxlab.deblur(image, PSF, return_info=True, **options)
        runs.append((time.process_time() - start, time.perf_counter() - wall))
        counted.wanted, peak = False, peak or status_bytes("VmHWM")
    cpu, wall = min(runs)
    found = {"cpu": cpu, "wall": wall, "runs": len(runs), "memory": peak - before}
    pixels = {size: size[0] * size[1] for size in counted.ffts}
    fields = sum(count * pixels[size] for size, count in counted.ffts.items()) / max(pixels.values())
    found |= {"tiles": counted.pieces, "fft_count": fields / counted.pieces}
    gc.collect()
    with kept_heap():  # as the run had it
        return {**found, "num_iter": info["num_iter"], "floor": floor(method, counted)}


def apart(method: str, side: int, tile: int | None, repeats: int) -> dict[str, Any]:
    """The same in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(case(method, side, tile, repeats)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"failed": True}


def cases(
    args: argparse.Namespace, file: ResultFile, code: str
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """(method, megapixels, record), each measured or found in the file."""
    for method in args.methods:
        rate = 0.0  # seconds a megapixel of the size before
        for size in sorted(args.sizes):
            key = f"{method}, {size:g} MP, {f'tiles of {args.tile}' if args.tile else 'one piece'}"
            record = file.find(key) if args.keep else None if args.again else file.find(key, code=code)
            if record is None and (args.keep or rate * size > args.max_seconds):
                if not args.keep:
                    print(f"{key}: about {rate * size:.0f} s expected, left out", flush=True)
                continue
            if record is None:
                side = round((size * MEGA) ** 0.5)
                record = {"code": code, **apart(method, side, args.tile, args.repeats)}
                file.add(key, record)
            if "failed" not in record:
                rate = record["cpu"] / size
            yield method, size, record


def line(method: str, size: float, record: dict[str, Any], first: float | None) -> list[str]:
    """The table's row; first: seconds a megapixel at 1 megapixel."""
    if "failed" in record:
        return [method, f"{size:g}", "failed", *[""] * 7]
    rate, under = record["cpu"] / size, record["floor"]
    return [
        method,
        f"{size:g}",
        f"{rate:.3g}",
        f"{rate / first:.2f}" if first else "",
        f"{under['ffts'] / size:.3g}",
        f"{under['network'] / size:.3g}",
        f"{record['cpu'] / max(sum(under.values()), 1e-9):.2f}" if sum(under.values()) else "",
        f"{record['fft_count']:.0f}",
        str(record["tiles"]),
        f"{record['memory'] / 1e6 / size:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--methods", nargs="+", default=list(OPTIONS), choices=list(OPTIONS), help="[all]")
    add("--sizes", type=float, nargs="+", default=[0.25, 1, 4, 16, 64], help="megapixels [0.25 1 4 16 64]")
    add("--tile", type=int, metavar="SIDE", help="in tiles of that side [in one piece]")
    add("--repeats", type=int, default=2, help="runs of a case, of which the quickest counts [2]")
    add("--max-seconds", type=float, default=900, help="of a case, going by the size before [900]")
    add("--again", action="store_true", help="measure what is in the file, too")
    add("--keep", action="store_true", help="only the table of what is in the file, for whatever code")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.keep:
        for method in args.methods:  # what libraries load at the first call is no part of a case
            options = {**OPTIONS[method], "method": method, "sigma": SIGMA, "device": "cpu"}
            proxlab.deblur(picture(128), PSF, return_info=True, **options)
    file = ResultFile(args.out / "scaling.json")
    code = code_digest(ROOT.parent / folder for folder in FOLDERS)
    head = ["method", "MP", "CPU s/MP", "of 1 MP", "FFTs, s/MP", "network, s/MP", "over floor"]
    head += ["FFTs of a piece", "pieces", "memory, MB/MP"]
    lines, first = [], {}
    for method, size, record in cases(args, file, code):
        if size == 1 and "failed" not in record:
            first[method] = record["cpu"]
        lines.append(line(method, size, record, first.get(method)))
        print(" | ".join(lines[-1]), flush=True)
    how = f"tiles of {args.tile}" if args.tile else "one piece"
    text = [f"# Seconds and memory a megapixel, grey, {how}", circumstances(1), markdown(head, lines)]
    name = f"scaling_tiles_{args.tile}.md" if args.tile else "scaling.md"
    write_text(args.out / name, "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
