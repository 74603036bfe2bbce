"""How fast? Richardson-Lucy, Wiener and total variation beside scikit-image's and deepinv's.

    python benchmarks/speed.py [--quick] [--sizes 256 512] [--threads 2 1] [--again]

The same arrays in one process, float32; contenders take turns, median of several runs after one to warm up;
no weight, level or iteration count is chosen inside the timing. Threads are given to torch and to scipy's
FFTs alike. TV: the same objective (circular blur, channels apart), each solver with just as many iterations
as bring it within 1e-4 of the best objective known, counted beforehand. Then the share of time in FFTs (torch
profiler) and the peak memory of a fresh process in units of the picture. --quick leaves out 2048 and the TV
of large colour pictures. Results: results/speed.json and results/speed.md; a group of contenders that is in
the file for the same code is not run again without --again.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import torch
from common import RESULTS, ROOT, ResultFile, circumstances, code_digest, markdown, status_bytes, write_text
from contenders import OURS, OURS_CIRCULAR, SIGMA, TASKS, Problem, Runner, our_states, tv_runners

from imaging.psf.generators import shake

TV = "Total variation"
PSF_SIDE = 25
FOLDERS = ("imaging", "algorithms", "benchmarks")


@cache
def problem(side: int, channels: int) -> Problem:
    """A sharp photograph, tiled by mirroring, blurred periodically by a camera shake, with noise."""
    from skimage import data

    photograph = np.moveaxis(data.astronaut() / 255.0, 2, 0)[3 - channels :]
    sharp = np.pad(photograph, [(0, 0), *[(0, max(0, side - 512))] * 2], mode="symmetric")[:, :side, :side]
    kernel = shake(1, PSF_SIDE)
    clear = Problem(np.ascontiguousarray(sharp), kernel)
    noise = SIGMA * np.random.default_rng(0).standard_normal(sharp.shape)
    y = clear.circular.A(clear.data)[0].numpy() + noise
    return Problem(y.astype(np.float32), kernel.astype(np.float32))


def timed(runners: dict[str, Runner | None], case: Problem, repeats: int) -> dict[str, float | None]:
    """Median seconds of each; they take turns, so that a busy moment of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(repeats + 1):
        for name, run in runners.items():
            if run is None:
                continue
            gc.collect()
            start = time.perf_counter()
            run(case)
            if turn > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) if found else None for name, found in times.items()}


def group(task: str, side: int, channels: int) -> dict[str, float | None]:
    """Seconds of all contenders of a task."""
    case = problem(side, channels)
    if task != TV:
        return timed(dict(TASKS[task]), case, 3 if side > 1024 else 7)
    return timed(tv_runners(case, side=side), case, 1 if side > 512 else 3)


def plan(args: argparse.Namespace) -> Iterator[tuple[str, int, int, int]]:
    """(task, side, channels, threads): the first number of threads everywhere, others for grey to 1024."""
    for position, threads in enumerate(args.threads):
        for task in [*TASKS, TV]:
            for side in args.sizes:
                for channels in (1, 3):
                    large = task == TV and side > 512 and (channels == 3 or (args.quick and side > 1024))
                    if (position and (channels == 3 or side > 1024)) or (args.quick and large):
                        continue
                    yield task, side, channels, threads


def ratios(found: dict[str, float | None]) -> Iterator[list[str]]:
    """A line a contender: milliseconds, and its time in units of ours."""
    ours = [next((t for name, t in found.items() if name.startswith(o)), None) for o in (OURS, OURS_CIRCULAR)]
    for name, seconds in found.items():
        own = name.startswith(("proxlab",))
        units = ["" if own or not (seconds and o) else f"{seconds / o:.2f}" for o in ours]
        yield [name, "not reached" if seconds is None else f"{1e3 * seconds:.1f}", *units]


def fft_share(run: Runner, case: Problem) -> float:
    """Share of the time that is spent in FFTs."""
    from torch.profiler import ProfilerActivity, profile

    run(case)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run(case)
    own = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return sum(v for key, v in own.items() if "fft" in key) / sum(own.values())


def our_runner(task: str) -> Runner:
    """Ours at an unknown border; TV with circular borders, as timed."""
    from algorithms.driver import last

    return TASKS[task][OURS] if task != TV else lambda p: last(our_states(p), 30).x


def peak(task: str, side: int, threads: int) -> float:
    """Peak memory above what was held before, in units of the float32 picture; run it in a fresh process."""
    torch.set_num_threads(threads)
    run, case = our_runner(task), problem(side, 1)
    run(problem(64, 1))  # libraries and their buffers
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = status_bytes("VmRSS")
    run(case)
    return (status_bytes("VmHWM") - before) / case.y.nbytes


def resources(side: int, threads: int) -> Iterator[list[str]]:
    """A line a task: share of FFTs, peak memory."""
    for task in [*TASKS, TV]:
        share = fft_share(our_runner(task), problem(side, 1))
        try:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                memory = f"{pool.submit(peak, task, side, threads).result():.1f}"
        except OSError:
            memory = "not told by this system"
        yield [task, f"{share:.0%}", memory]


def measured(args: argparse.Namespace) -> Iterator[str]:
    """The tables, each printed when it is done."""
    file = ResultFile(args.out / "speed.json")
    code = code_digest(ROOT.parent / folder for folder in FOLDERS)
    for task, side, channels, threads in plan(args):
        torch.set_num_threads(threads)
        colour = "grey" if channels == 1 else "colour"
        key = f"{task}, {side}x{side} {colour}, {threads} threads, float32"
        record: dict[str, Any] | None = None if args.again else file.find(key, code=code)
        if record is None:
            with scipy.fft.set_workers(threads), torch.no_grad():
                record = {"code": code, "seconds": group(task, side, channels)}
            file.add(key, record)
        head = [key, "ms", "in units of ours, unknown border", "in units of ours, circular"]
        yield markdown(head, ratios(record["seconds"]))
    side, threads = max(s for s in args.sizes if s <= 1024), args.threads[0]
    torch.set_num_threads(threads)
    head = [f"ours, {side}x{side} grey, {threads} threads, float32", "time in FFTs", "peak, pictures"]
    yield markdown(head, resources(side, threads))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="without 2048 and without the TV of large colour pictures")
    add("--sizes", type=int, nargs="+", help="sides of the pictures [256 512 1024 2048]")
    add("--threads", type=int, nargs="+", default=[2, 1], help="the first for everything [2 1]")
    add("--again", action="store_true", help="measure what is in the file, too")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    args = parser.parse_args()
    args.sizes = args.sizes or ([256, 512, 1024] if args.quick else [256, 512, 1024, 2048])
    texts = ["# Seconds beside scikit-image and deepinv", circumstances(args.threads[0])]
    for text in measured(args):
        print(text + "\n", flush=True)
        texts.append(text)
        write_text(args.out / "speed.md", "\n\n".join(texts) + "\n")


if __name__ == "__main__":
    main()
