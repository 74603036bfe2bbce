"""How good and how fast the denoisers are: PSNR at sigma 15, 25 and 50 of 255, seconds and memory.

    python benchmarks/denoising.py --images BSD68 [--prior NAME_OR_FILE ...] [--sizes 512 2048]
    python benchmarks/denoising.py --images BSDS500/val --like BSD68 [--prior ...]      (colour: CBSD68)

PSNR as published for BSD68: noise not clipped, result clipped to [0, 1], mean over the pictures; noise is
seeded by picture and level. Time and memory stand beside those of deepinv's networks with random weights:
their time is what is compared. Interrupt it whenever you like: every picture is in
`results/denoising_SET.json`, every time in `results/denoising_speed.json`, and only what is missing or was
measured with other weights is computed again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from common import (
    RESULTS,
    ResultFile,
    circumstances,
    digest,
    markdown,
    processor,
    set_name,
    status_bytes,
    write_text,
)

import priors
from imaging.metrics import psnr
from priors.base import find
from priors.checkpoint import read_provenance
from priors.claims import claims_of
from priors.data import load_pictures
from priors.precision import resolve
from proxlab.receipt import file_digest

LEVELS = (15, 25, 50)
RIVALS = ("DnCNN", "DRUNet")  # deepinv's
# On BSD68 and CBSD68. DnCNN has a network a level, DRUNet 32 M weights and thousands of pictures.
PUBLISHED = {
    1: {
        "BM3D": (31.07, 28.57, 25.62),
        "DnCNN": (31.72, 29.23, 26.23),
        "FFDNet": (31.63, 29.19, 26.29),
        "DRUNet": (31.91, 29.48, 26.59),
    },
    3: {"CBM3D": (33.52, 30.71, 27.38), "FFDNet": (33.87, 31.21, 27.96), "DRUNet": (34.30, 31.69, 28.51)},
}
ALIKE = 3 / 255  # block means of a colour picture made grey and of the same picture published in grey


class Entry(NamedTuple):
    """A network that takes part: its name in the tables, what loads it, the digest of its weights."""

    name: str
    source: str
    weights: str
    channels: int


def entries(sources: list[str], precision: str) -> list[Entry]:
    """The named priors, or all that ship; arithmetic other than the usual is part of the name."""
    found = []
    for source in sources or [name for name in priors.available() if denoises(name)]:
        path = find(source)
        config = priors.load(source).config
        name = path.stem if precision == "auto" else f"{path.stem} ({precision})"
        found.append(Entry(name, source, file_digest(path)[:8], config.channels))
    return found


def denoises(name: str) -> bool:
    """Whole reconstructors ship too; they are for `stabilizers.py`."""
    return read_provenance(find(name)).get("recipe", {}).get("kind") not in ("deblur", "unrolled")


def block_means(pixels: np.ndarray) -> np.ndarray:
    """(8, 8) means of a picture (C, H, W), made grey: enough to tell photographs apart."""
    grey = pixels[0] if len(pixels) == 1 else np.tensordot((0.299, 0.587, 0.114), pixels, axes=1)
    rows, columns = (np.array_split(np.arange(n), 8) for n in grey.shape)
    return np.array([[grey[np.ix_(r, c)].mean() for c in columns] for r in rows]) / 255


def chosen_pictures(args: argparse.Namespace, channels: int) -> list[np.ndarray]:
    """The pictures (C, H, W), uint8, sorted by name; with --like those that a second folder holds too."""
    pictures = list(load_pictures([args.images], color=channels == 3).pixels)
    if args.like:
        pictures = [match(p, pictures) for p in load_pictures([args.like], color=False).pixels]
    return pictures[: args.limit]


def match(wanted: np.ndarray, pictures: list[np.ndarray]) -> np.ndarray:
    """The picture with the same content; SystemExit where there is none."""
    alike = [p for p in pictures if p.shape[1:] == wanted.shape[1:]]
    means = block_means(wanted)
    gaps = [float(np.abs(block_means(p) - means).max()) for p in alike]
    if not gaps or min(gaps) > ALIKE:
        message = "a picture of --like has no counterpart in --images: give the folder it was taken from."
        raise SystemExit(message)
    return alike[int(np.argmin(gaps))]


@torch.no_grad()
def quality(entry: Entry, pictures: list[np.ndarray], args: argparse.Namespace, file: ResultFile) -> None:
    """PSNR of every picture at every level that the file does not have yet."""
    network = priors.load(entry.source, precision=args.precision)
    for level in args.levels:
        for number, pixels in enumerate(pictures):
            key = f"{entry.name}|{level}|{number:02d}"
            known = {"picture": digest(pixels), "weights": entry.weights}
            if file.find(key, **known):
                continue
            clean = torch.from_numpy(pixels).float()[None] / 255
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1000 * level + number))
            start = time.perf_counter()
            result = network(clean + level / 255 * noise, level / 255)
            seconds = round(time.perf_counter() - start, 3)
            file.add(key, {**known, "psnr": round(float(psnr(result, clean)), 4), "seconds": seconds})


def means(file: ResultFile, entry: Entry, level: int, count: int) -> float:
    """The mean PSNR of the first `count` pictures; nan where one is missing."""
    keys = [f"{entry.name}|{level}|{number:02d}" for number in range(count)]
    found = [file.find(key, weights=entry.weights) for key in keys]
    return float(np.mean([r["psnr"] if r else np.nan for r in found]))


def proven(network: Any) -> str:
    """What a network can claim, in words: where several are proximal operators, this tells them apart."""
    claims = claims_of(network)
    if claims.proximal:
        how = "R by inversion" if hasattr(network, "read") else "explicit R, solved"
        return f"proximal operator, Jacobian >= {claims.convexity:.2g}, {how}"
    return "step down an explicit function" if claims.descent else "nothing"


def seconds(file: ResultFile, entry: Entry, level: int, count: int) -> float:
    """Median seconds a picture at one level."""
    found = [file.find(f"{entry.name}|{level}|{n:02d}", weights=entry.weights) for n in range(count)]
    return float(np.median([r["seconds"] if r else np.nan for r in found]))


def quality_table(found: list[Entry], file: ResultFile, levels: list[int], count: int) -> str:
    """Markdown: the published peers where the pictures are theirs, then ours."""
    rows = []
    for name, values in PUBLISHED[found[0].channels].items() if count == 68 else ():
        known = dict(zip(LEVELS, values, strict=True))
        rows.append(
            [f"{name} (published)", *[f"{known[v]:.2f}" if v in known else "" for v in levels], "", ""]
        )
    for entry in found:
        row = [f"`{entry.name}`", *[f"{means(file, entry, v, count):.2f}" for v in levels]]
        took = seconds(file, entry, levels[len(levels) // 2], count)
        rows.append([*row, f"{took:.2f}", proven(priors.load(entry.source))])
    head = ["PSNR in dB", *[f"{level}/255" for level in levels]]
    return markdown([*head, "seconds a picture, machine as busy as it was", "what is proven"], rows)


def network_of(name: str, channels: int, precision: str) -> torch.nn.Module:
    """A denoiser of ours, or one of deepinv's with random weights."""
    if name not in RIVALS:
        return priors.load(name, precision=precision)
    import deepinv

    made = getattr(deepinv.models, name)(in_channels=channels, out_channels=channels, pretrained=None)
    return made.eval().requires_grad_(False)


@torch.no_grad()
def cost(name: str, size: int, channels: int, precision: str, threads: int) -> tuple[float, float]:
    """Least seconds of up to three calls after a first one, and MiB that the first one added to the peak."""
    torch.set_num_threads(threads)
    network, x = network_of(name, channels, precision), torch.rand(1, channels, size, size)
    network(x[..., :64, :64], 0.1)  # libraries load their parts at the first call
    before, times = status_bytes("VmHWM"), []
    start = time.perf_counter()
    network(x, 0.1)
    first = time.perf_counter() - start
    added = (status_bytes("VmHWM") - before) / 2**20
    while len(times) < 3 and sum(times) + first < 60:
        start = time.perf_counter()
        network(x, 0.1)
        times.append(time.perf_counter() - start)
    return min([*times, first]), added


def alone(*arguments: object) -> tuple[float, float]:
    """`cost` in a process of its own, since a peak never goes down again."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost, *arguments).result()


def timings(found: list[Entry], args: argparse.Namespace, file: ResultFile) -> Iterator[dict[str, Any]]:
    """A record a network and size: seconds, MiB; those of one size measured one after the other."""
    channels = found[0].channels
    rivals = [Entry(name, name, "random", channels) for name in RIVALS]
    for size in args.sizes:
        for entry in [*found, *rivals]:
            key = f"{entry.name}|{channels}|{size}|{args.threads}"
            circumstance = {"weights": entry.weights, "processor": processor(), "torch": torch.__version__}
            record = None if args.fresh else file.find(key, **circumstance)
            if record is None:
                took, added = alone(entry.source, size, channels, args.precision, args.threads)
                precision = "fp32" if entry.name in RIVALS else resolve(args.precision, "cpu")
                record = {**circumstance, "name": entry.name, "size": size, "precision": precision}
                record |= {"seconds": round(took, 4), "mebibytes": round(added)}
                file.add(key, record)
            yield record


def speed_table(records: list[dict[str, Any]]) -> str:
    """Markdown: seconds, memory, and how many times as long deepinv's DRUNet took."""
    slow = {r["size"]: r["seconds"] for r in records if r["name"] == "DRUNet"}
    rows = []
    for r in records:
        name = f"deepinv {r['name']}, random weights" if r["name"] in RIVALS else f"`{r['name']}`"
        rows.append([f"{name}, {r['precision']}", f"{r['size']}x{r['size']}", f"{r['seconds']:.3f}"])
        rows[-1] += [f"{r['mebibytes']}", f"{slow[r['size']] / r['seconds']:.1f}"]
    return markdown(["one picture", "size", "seconds", "peak MiB", "DRUNet's time over its own"], rows)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="folder of pictures, BSD68 for instance; none: times only")
    add("--like", type=Path, metavar="DIR", help="of --images only those that this folder holds too")
    add("--prior", nargs="+", default=[], help="names or files [all that ship]; grey or colour, not both")
    add("--limit", type=int, help="number of pictures [all]")
    add("--levels", type=int, nargs="+", default=list(LEVELS), help="noise, of 255")
    add("--sizes", type=int, nargs="*", default=[], help="sides of the pictures to time, such as 512 2048")
    add("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    add("--threads", type=int, default=torch.get_num_threads())
    add("--fresh", action="store_true", help="measure all times anew")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    return parser.parse_args()


def all_grey(args: argparse.Namespace) -> bool:
    """Whether no picture has colours; copied to three channels, grey ones make networks look better."""
    return all(bool((p == p[:1]).all()) for p in load_pictures([args.images], color=True).pixels)


def main() -> None:
    args = parsed()
    torch.set_num_threads(args.threads)
    found = entries(args.prior, args.precision)
    for channels in (1, 3):
        same = [entry for entry in found if entry.channels == channels]
        if channels == 3 and same and args.images and all_grey(args):
            print(f"{args.images} holds grey pictures only: {', '.join(e.name for e in same)} left out.")
        elif same:
            measure(same, args)


def measure(found: list[Entry], args: argparse.Namespace) -> None:
    """Both tables for networks of one number of channels."""
    channels = found[0].channels
    foot = circumstances(args.threads)
    if args.images:
        name = set_name(args.like or args.images) + ("_color" if channels == 3 else "")
        file, pictures = ResultFile(args.out / f"denoising_{name}.json"), chosen_pictures(args, channels)
        for entry in found:
            quality(entry, pictures, args, file)
            values = "  ".join(f"{means(file, entry, v, len(pictures)):.2f}" for v in args.levels)
            print(f"{entry.name}: {values}", flush=True)
        table = quality_table(found, file, args.levels, len(pictures))
        text = f"# Denoising: {len(pictures)} pictures of {name}\n\n{table}\n\n{foot}\n"
        print("\n" + text)
        write_text(args.out / f"denoising_{name}.md", text)
    if args.sizes:
        file = ResultFile(args.out / "denoising_speed.json")
        table = speed_table(list(timings(found, args, file)))
        kind = "grey" if channels == 1 else "colour"
        text = f"# Denoising: seconds and memory, {kind}\n\n{table}\n\n{foot}\n"
        print("\n" + text)
        write_text(args.out / f"denoising_speed_{kind}.md", text)


if __name__ == "__main__":
    main()
