"""What a learned regulariser prefers: R of photographs with noise added, blurred, and mixed two by two.

    python benchmarks/prior_study.py --images BSD68 [--prior lpn-gray FILE ...] [--sigma 0.1] [--plot FILE]

For every picture (its middle, --crop a side) R is read along three paths, in float64: white noise of sigma 0
to 0.1, Gaussian blur of 0 to 4 pixels, mixing with another picture (the first with the last, and so on) by 0
to 1. Fang, Buchanan and Sulam, "What's in a Prior?" (2024), did this on MNIST digits: there R rose with noise
and with blur, and a mixture cost more than its parts. Interrupt it whenever you like: every picture is in
`results/prior_study.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, ResultFile, circumstances, digest, markdown, pictures, set_name, write_text

from priors.base import available, find
from proxlab.errors import UsageError
from proxlab.reading import BLUR, MIXTURE, NOISE, Reader, paths_from, reader
from proxlab.receipt import file_digest

Curves = dict[str, list[float]]
MIDDLE = MIXTURE.index(0.5)


def curves(read: Reader, pixels: tuple[np.ndarray, np.ndarray], crop: int, seed: int) -> Curves:
    """R a pixel along the three paths from the first picture; the second is what it is mixed with."""
    start, other = (read.planes(p, crop) for p in pixels)
    paths = paths_from(start, other, seed=seed)
    return {k: [read.value(x).value / x[0].numel() for x in found] for k, (_, found) in paths.items()}


def study(name: str, args: argparse.Namespace, file: ResultFile) -> list[Curves]:
    """The curves of every picture; those that the file has are not computed again."""
    read = reader(name, args.sigma, rtol=args.rtol, max_iter=args.max_iter)
    whole = list(pictures(args.images, args.limit).values())
    weights, found = file_digest(find(name))[:8], []
    for number, pixels in enumerate(whole):
        pair = pixels, whole[-1 - number]
        key = f"{Path(name).stem}|{args.sigma:g}|{number:02d}"
        known = {"picture": digest(*pair), "weights": weights, "crop": args.crop}
        record = file.find(key, **known)
        if record is None:
            values = curves(read, pair, args.crop, number)
            record = {**known, **{k: [float(f"{v:.8g}") for v in row] for k, row in values.items()}}
            file.add(key, record)
        found.append({k: record[k] for k in ("noise", "blur", "mixing")})
        print(f"{Path(name).stem} {number + 1}/{len(whole)}", end="\r", flush=True)
    return found


def share(found: list[Curves], holds: Callable[[Curves], bool]) -> float:
    return float(np.mean([holds(one) for one in found]))


def rising(row: list[float]) -> bool:
    return all(a < b for a, b in pairwise(row))


QUESTIONS: dict[str, Callable[[Curves], bool]] = {
    "R rises with every step of noise": lambda c: rising(c["noise"]),
    "R is higher at noise 0.1 than without": lambda c: c["noise"][-1] > c["noise"][0],
    "R rises with every step of blur": lambda c: rising(c["blur"]),
    "R falls with every step of blur": lambda c: rising(c["blur"][::-1]),
    "R of the even mixture is above both its parts": lambda c: (
        c["mixing"][MIDDLE] > max(c["mixing"][0], c["mixing"][-1])
    ),
    "R of the even mixture is above the mean of its parts": lambda c: (
        c["mixing"][MIDDLE] > (c["mixing"][0] + c["mixing"][-1]) / 2
    ),
}


def in_words(found: list[Curves]) -> str:
    """The shares in one sentence, for a card."""
    return "; ".join(f"{question}: {share(found, holds):.0%}" for question, holds in QUESTIONS.items())


def tables(all_found: dict[str, list[Curves]]) -> str:
    """Markdown: the shares, then the mean curves."""
    names = [f"`{name}`" for name in all_found]
    rows = [[q, *[f"{share(f, holds):.1%}" for f in all_found.values()]] for q, holds in QUESTIONS.items()]
    texts = [markdown(["share of the pictures", *names], rows)]
    for path, places in (("noise", NOISE), ("blur", BLUR), ("mixing", MIXTURE)):
        head = [f"mean R a pixel, {path}", *[f"{place:g}" for place in places]]
        rows = [
            [f"`{name}`", *[f"{v:.4g}" for v in np.mean([c[path] for c in found], axis=0)]]
            for name, found in all_found.items()
        ]
        texts.append(markdown(head, rows))
    return "\n\n".join(texts)


def plot(path: Path, all_found: dict[str, list[Curves]]) -> None:
    """Mean R along each path, less its value at the picture, over its value at noise 0.1."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    labels = {"noise": (NOISE, "noise added (sigma)"), "blur": (BLUR, "Gaussian blur (pixels)")}
    labels["mixing"] = (MIXTURE, "share of the other picture")
    for axes, (name, (places, label)) in zip(figure.subplots(1, 3), labels.items(), strict=True):
        for prior, found in all_found.items():
            mean = {k: np.mean([c[k] for c in found], axis=0) for k in ("noise", name)}
            unit = mean["noise"][-1] - mean["noise"][0]
            axes.plot(places, (mean[name] - mean["noise"][0]) / unit, "o-", label=prior)
        axes.axhline(0, color="0.8", zorder=0)
        axes.set(xlabel=label, ylabel="mean R, noise 0 to 0.1 as unit")
    axes.legend()
    figure.savefig(path, dpi=150)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="folder of pictures [scikit-image's own]")
    add("--prior", nargs="+", help="names or files [those that ship and have a regulariser, grey]")
    add("--sigma", type=float, default=0.1, help="level of R [0.1]")
    add("--crop", type=int, default=96, help="side of the middle that is used [96]")
    add("--limit", type=int, help="number of pictures [all]")
    add("--rtol", type=float, default=1e-5, help="relative residual of an inversion [1e-5]")
    add("--max-iter", type=int, default=5000, help="most steps of an inversion [5000]")
    add("--plot", type=Path, metavar="FILE")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")
    return parser.parse_args()


def readable(name: str) -> bool:
    try:
        return reader(name, 0.1, rtol=None, max_iter=None).channels == 1
    except UsageError:
        return False


def main() -> None:
    args = parsed()
    names = args.prior or [name for name in available() if readable(name)]
    if not names:
        message = "no prior with a regulariser ships with this version: give --prior FILE."
        raise SystemExit(message)
    file = ResultFile(args.out / "prior_study.json")
    all_found = {}
    for name in names:
        found = all_found[Path(name).stem] = study(name, args, file)
        weights = file_digest(find(name))[:8]
        summary: dict[str, Any] = {
            "weights": weights,
            "set": f"{len(found)} pictures of {set_name(args.images)}",
        }
        summary["text"] = f"{in_words(found)} (level {args.sigma:g}, {args.crop}x{args.crop} pixels)."
        file.add(f"summary|{Path(name).stem}", summary)
    count = len(next(iter(all_found.values())))
    title = f"# What R prefers: {count} pictures of {set_name(args.images)}, level {args.sigma:g}"
    text = f"{title}\n\n{tables(all_found)}\n\n{circumstances(torch.get_num_threads())}\n"
    print("\n" + text)
    write_text(args.out / "prior_study.md", text)
    if args.plot:
        plot(args.plot, all_found)


if __name__ == "__main__":
    main()
