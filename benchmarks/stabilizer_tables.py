"""The tables and the drawing of stabilizers.py: the paper's form, all rows, costs, the price of a proof."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stabilizer_findings import Rows, above_filters, networks, summary

Table = tuple[list[str], list[list[str]]]
METHODS = ("NN", "FiNN", "StNN")


def alike(rows: Rows, conditions: Sequence[str]) -> Rows:
    """All rows over the pictures that every one of them has seen, the first ones."""
    count = min(r["pictures"] for r in rows)
    return [{**r, **summary(r["records"][:count], conditions)} for r in rows]


def paper_form(rows: Rows, conditions: Sequence[str]) -> Table:
    """The authors' form: a line for each test, training noise and network, a column for each method.

    Mean and standard deviation over pictures; only rows over the same pictures as the first take part.
    """
    rows = [r for r in rows if r["pictures"] == rows[0]["pictures"]]
    references = [r for r in rows if r["kind"] in ("input", "method")]
    paper = [r for r in networks(rows) if r["inject"] != "after" and not r["lipschitz"]]
    kinds = sorted({(tuple(r["noise"]), r["arch"], r["width"]) for r in paper if r["method"] in METHODS})
    head = [f"PSNR in dB, {rows[0]['pictures']} pictures", "trained at", "network", *METHODS]
    body = []
    for condition in conditions:
        for noise, arch, width in kinds:
            found = {
                r["method"]: r
                for r in paper
                if (tuple(r["noise"]), r["arch"], r["width"]) == (noise, arch, width)
            }
            trained = f"{noise[1]:g}" if noise[0] == noise[1] else f"{noise[0]:g}:{noise[1]:g}"
            cells = [_spread(found.get(method), condition) for method in METHODS]
            body.append(
                [condition, trained, f"{arch} {width}", *cells, *(_spread(r, condition) for r in references)]
            )
    return [*head, *(r["name"] for r in references)], body


def _spread(row: dict[str, Any] | None, condition: str) -> str:
    return "" if row is None else f"{row['psnr'][condition]:.2f} ± {row['spread'][condition]:.2f}"


def table(rows: Rows, conditions: Sequence[str]) -> Table:
    """Every row: PSNR under all conditions, and the constants."""
    head = ["PSNR in dB", "pictures", *conditions, "SSIM 0", "SSIM 0.01", "gain", "g", "ratio", "eta"]
    body = []
    for r in rows:
        line = [r["name"], str(r["pictures"]), *(f"{r['psnr'][c]:.2f}" for c in conditions)]
        line += [f"{r['ssim'][c]:.3f}" for c in ("0", "0.01")]
        body.append([*line, f"{r['gain']:.2f}", f"{r['g']:.2f}", f"{r['ratio']:.2f}", f"{r['eta']:.1f}"])
    return head, body


def costs(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """What each network costs, and how far above the frontier of the filters it stands."""
    head = ["network", "weights", "multiply-adds a pixel", "Gpixel trained", "minutes", "ms, 256x256"]
    body = []
    for r in networks(rows):
        line = [r["name"], f"{r['weights']:,}", f"{r['multiply_adds']:,.0f}", f"{r['gigapixels']:.3f}"]
        body.append(
            [*line, f"{r['minutes']:.1f}", f"{r['milliseconds']:.0f}", f"{above_filters(rows, r):+.2f}"]
        )
    return [*head, "dB above the filters"], body


def price_of_the_proof(rows: Rows) -> Table:
    """Accuracy against the proven constant, beside the blurred picture and the best network without one."""
    blurred = next(r for r in rows if r["kind"] == "input")["psnr"]["0"]
    free = [r["psnr"]["0"] for r in networks(rows) if not r["lipschitz"] and r["noise"] == [0, 0]]
    head = ["Lipschitz constant, proven", "PSNR 0", "above blurred", "below the best without a bound"]
    head += ["above the filter of that constant", "PSNR 0.01", "PSNR 0.025", "gain measured"]
    body = []
    for r in sorted((r for r in networks(rows) if r["lipschitz"]), key=lambda r: r["lipschitz"]):
        price = f"{max(free) - r['psnr']['0']:.2f}" if free else ""
        line = [r["name"], f"{r['psnr']['0']:.2f}", f"{r['psnr']['0'] - blurred:+.2f}", price]
        equal = _filter_bounded_by(rows, r["lipschitz"])
        line.append("" if equal is None else f"{r['psnr']['0'] - equal:+.2f}")
        line += [f"{r['psnr'][c]:.2f}" for c in ("0.01", "0.025")]
        body.append([*line, f"{r['gain']:.2f}"])
    return head, body


def _filter_bounded_by(rows: Rows, constant: float) -> float | None:
    """PSNR without noise of the Tikhonov filter whose largest gain, 1 / (2 sqrt(weight)), is this constant.

    Interpolated in the logarithm of the weight; None beyond the weights that were measured.
    """
    known = sorted((r["weight"], r["psnr"]["0"]) for r in rows if r["kind"] == "filter")
    weight = 1 / (4 * constant**2)
    if not known or not known[0][0] <= weight <= known[-1][0]:
        return None
    weights, values = zip(*known, strict=True)
    return float(np.interp(np.log(weight), np.log(weights), values))


def draw(rows: Rows, same: Rows, path: Path) -> None:
    """Accuracy against the proven constant (left), everything in the plane of gain and accuracy (right).

    same: the rows over the pictures that all have seen (`alike`), for the right one.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    bounded = sorted((r["lipschitz"], r["psnr"]["0"]) for r in networks(rows) if r["lipschitz"])
    panels = 1 + bool(bounded)
    figure, axes = plt.subplots(
        1, panels, figsize=(5.5 * panels, 4.5), squeeze=False, constrained_layout=True
    )
    left, right = axes[0, 0], axes[0, -1]
    if bounded:
        blurred = next(r for r in rows if r["kind"] == "input")["psnr"]["0"]
        left.semilogx(*zip(*bounded, strict=True), "o-", base=2)
        left.axhline(blurred, color="grey", linestyle=":", label="blurred")
        left.axhline(blurred + 1, color="grey", linestyle="--", label="1 dB above it")
        left.set(xlabel="Lipschitz constant, by construction", ylabel="PSNR without noise, dB")
        left.legend()
    for kind, mark in (("filter", "-"), ("method", "s"), ("network", "o")):
        points = sorted((r["gain"], r["psnr"]["0"]) for r in same if r["kind"] == kind)
        if points:
            right.semilogx(*zip(*points, strict=True), mark, label=kind)
    count = same[0]["pictures"]
    right.set(xlabel="noise gain at 0.01", ylabel=f"PSNR without noise, dB, {count} pictures")
    right.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
