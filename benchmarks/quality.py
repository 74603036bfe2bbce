"""How good are the pictures? PSNR by noise level, SSIM and seconds of each method, beside scikit-image's.

    python benchmarks/quality.py --images DIR --kernels DIR [--border circular unknown] [--methods tv]

Twelve pictures (the first by name, centre 256x256), every kernel, white noise of 2.55, 7.65 and 12.75 of 255,
not clipped and not rounded. With circular borders the centre itself is blurred; with unknown ones a larger
field of the full picture is, and what the sensor would see is kept. Methods are told the psf and nothing else
unless --given. Every finished case goes to results/quality_SET_BORDER.json at once and is not computed again
while pictures, kernels and code (that of the packages, comments aside; or scikit-image's version) are the
same. PSNR and SSIM on results clipped to [0, 1].
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    RESULTS,
    ROOT,
    ResultFile,
    circumstances,
    code_digest,
    digest,
    kernels,
    markdown,
    pictures,
    set_name,
    write_text,
)
from scipy.signal import fftconvolve
from skimage import __version__ as skimage_version
from skimage.restoration import richardson_lucy, unsupervised_wiener
from tqdm import tqdm

import proxlab
from imaging.metrics import psnr, ssim

LEVELS = (2.55, 7.65, 12.75)  # of 255
SIDE = 256
INPUT = "blurred input"
PEERS = {
    INPUT: lambda y, psf: y,
    "scikit-image richardson_lucy(10)": lambda y, psf: richardson_lucy(y, psf, num_iter=10),
    "scikit-image unsupervised_wiener": lambda y, psf: unsupervised_wiener(y, psf, rng=0)[0],
}
OURS = ("wiener", "tikhonov", "richardson-lucy", "tv", "auto")
SOURCES = ("imaging", "algorithms", "proxlab", "proxlab/methods")


@dataclass(frozen=True)
class Case:
    """One blurred picture; `name` says which, `digest` changes with its pixels."""

    name: str
    truth: np.ndarray
    y: np.ndarray
    psf: np.ndarray
    level: float
    digest: str


def blurred(picture: np.ndarray, psf: np.ndarray, border: str) -> tuple[np.ndarray, np.ndarray]:
    """(truth, its blur): the centre SIDE x SIDE, or what fits when the border is unknown."""
    size = [min(SIDE, n) for n in picture.shape]
    if border == "unknown":
        size = [min(s, n - k + 1) for s, n, k in zip(size, picture.shape, psf.shape, strict=True)]
    start = [(n - s) // 2 for n, s in zip(picture.shape, size, strict=True)]
    if border == "unknown":  # the field must not leave the picture
        start = [max(a, k - 1 - k // 2) for a, k in zip(start, psf.shape, strict=True)]
        start = [
            min(a, n - s - k // 2) for a, n, s, k in zip(start, picture.shape, size, psf.shape, strict=True)
        ]
    truth = picture[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))]
    if border == "circular":
        padded = np.zeros(truth.shape)
        padded[: psf.shape[0], : psf.shape[1]] = psf
        padded = np.roll(padded, [-(k // 2) for k in psf.shape], (0, 1))
        return truth, np.fft.irfft2(np.fft.rfft2(truth) * np.fft.rfft2(padded), truth.shape)
    first = [a - (k - 1 - k // 2) for a, k in zip(start, psf.shape, strict=True)]
    spans = [slice(f, f + s + k - 1) for f, s, k in zip(first, size, psf.shape, strict=True)]
    return truth, fftconvolve(picture[tuple(spans)], psf, "valid")


def cases(args: argparse.Namespace, border: str) -> Iterator[Case]:
    """All cases of a border, the noise of each seeded by its name alone."""
    for kernel, psf in kernels(args.kernels).items():
        for name, picture in pictures(args.images, args.limit).items():
            truth, clean = blurred(picture, psf, border)
            for level in args.levels:
                case = f"{name} {kernel} {level:g}"
                rng = np.random.default_rng(zlib.crc32(case.encode()))
                y = (clean + level / 255 * rng.standard_normal(clean.shape)).astype(np.float32)
                yield Case(case, truth, y, psf, level, digest(y, psf))


def ours(case: Case, *, method: str, border: str, given: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """A method of this project, told the psf and nothing else unless given."""
    sigma = case.level / 255 if given else None
    x, info = proxlab.deblur(
        case.y, case.psf, method=method, boundary=border, sigma=sigma, device="cpu", return_info=True
    )
    return x, {key: info[key] for key in ("sigma", "lam", "num_iter", "status")}


def peer(case: Case, *, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """A method of scikit-image, called as its documentation shows."""
    return PEERS[name](case.y, case.psf.astype(np.float32)), {}


@cache
def our_code() -> str:
    return code_digest(ROOT.parent / folder for folder in SOURCES)


def row_name(method: str, *, given: bool) -> str:
    """How a method is called in the tables."""
    return method if method in PEERS else f"proxlab {method}{' (sigma given)' if given else ''}"


def measure(args: argparse.Namespace, border: str) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """The records of each row in the order of the cases, and how many were computed just now."""
    file = ResultFile(args.out / f"quality_{set_name(args.images)}_{border}.json")
    rows: dict[str, list[dict[str, Any]]] = {}
    computed = 0
    work = [(case, method) for case in cases(args, border) for method in [*PEERS, *args.methods]]
    for case, method in tqdm(work, desc=border, disable=None):
        name = row_name(method, given=args.given)
        wanted = {"case": case.digest, "code": skimage_version if method in PEERS else our_code()}
        if args.keep:
            del wanted["code"]
        record = file.find(f"{name} | {case.name}", **wanted)
        if record is None:
            run = partial(peer, name=method)
            if method not in PEERS:
                run = partial(ours, method=method, border=border, given=args.given)
            record = {"case": case.digest, "code": skimage_version if method in PEERS else our_code()}
            record |= judged(case, run)
            file.add(f"{name} | {case.name}", record)
            computed += 1
        rows.setdefault(name, []).append({**record, "level": case.level})
    return rows, computed


def judged(case: Case, run: Any) -> dict[str, Any]:
    """What the tables are made of."""
    start = time.perf_counter()
    x, record = run(case)
    seconds = time.perf_counter() - start
    x = np.asarray(x, np.float64)
    scores = {"psnr": round(psnr(x, case.truth), 4), "ssim": round(ssim(x, case.truth), 4)}
    return {**scores, "seconds": round(seconds, 3), **record}


def mean(records: list[dict[str, Any]], what: str) -> float:
    return float(np.mean([record[what] for record in records]))


def table(rows: dict[str, list[dict[str, Any]]], circular: dict[str, list[dict[str, Any]]] | None) -> str:
    """Markdown: a row a method."""
    levels = sorted({record["level"] for record in rows[INPUT]})
    head = ["PSNR in dB at sigma", *[f"{level:g}/255" for level in levels], "mean", "SSIM"]
    head += ["beats input", "worst gain", "seconds"] + (["lost to unknown border"] if circular else [])
    lines = []
    for name, records in rows.items():
        gains = [a["psnr"] - b["psnr"] for a, b in zip(records, rows[INPUT], strict=True)]
        by_level = [mean([r for r in records if r["level"] == level], "psnr") for level in levels]
        line = [name, *[f"{v:.2f}" for v in by_level], f"{np.mean(by_level):.2f}"]
        line += [f"{mean(records, 'ssim'):.3f}"]
        line += ["", ""] if name == INPUT else [f"{np.mean(np.array(gains) > 0):.1%}", f"{min(gains):+.2f}"]
        line += ["" if name == INPUT else f"{np.median([r['seconds'] for r in records]):.2f}"]
        if circular:
            lost = mean(circular[name], "psnr") - mean(records, "psnr")
            line += [f"{lost:+.2f}"]
        lines.append(line)
    return markdown(head, lines)


def report(args: argparse.Namespace, border: str, text: str, cases_: int) -> None:
    """Print a table and keep it."""
    count = len(pictures(args.images, args.limit))
    title = f"# Deblurring, {border} borders: {count} pictures of {set_name(args.images)}, "
    title += f"{len(kernels(args.kernels))} kernels, {len(args.levels)} noise levels ({cases_} cases)"
    told = "psf and the noise level" if args.given else "psf and nothing else"
    foot = (
        f"Methods are told the {told}. Results clipped to [0, 1]; seconds: median of a case, float32. "
        f"{circumstances(torch.get_num_threads())}"
    )
    whole = f"{title}\n\n{text}\n\n{foot}\n"
    print("\n" + whole)
    suffix = "_given" if args.given else ""
    write_text(args.out / f"quality_{set_name(args.images)}_{border}{suffix}.md", whole)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="folder of pictures [scikit-image's own]")
    add("--kernels", type=Path, metavar="DIR", help="folder of .npy kernels [camera shakes made here]")
    add("--limit", type=int, default=12, help="number of pictures [12]")
    add("--levels", type=float, nargs="+", default=LEVELS, help="noise, of 255")
    add("--border", nargs="+", default=["circular", "unknown"], choices=["circular", "unknown"])
    add("--methods", nargs="+", default=["wiener", "tikhonov", "richardson-lucy", "tv"], choices=OURS)
    add("--given", action="store_true", help="tell our methods the noise level")
    add("--keep", action="store_true", help="accept rows computed by other code")
    add("--threads", type=int, default=2)
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    torch.set_num_threads(args.threads)
    circular = None
    for border in sorted(args.border):  # circular first: the other is held against it
        rows, computed = measure(args, border)
        report(args, border, table(rows, circular), len(rows[INPUT]))
        print(f"{computed} rows computed, {sum(map(len, rows.values())) - computed} taken from the file.")
        circular = rows if border == "circular" else None


if __name__ == "__main__":
    main()
