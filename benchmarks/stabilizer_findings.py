"""What stabilizers.py finds in its records: the paper's claims as yes or no, the frontier of the filters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]
NAMES = {"none": "NN", "gaussian": "FiNN", "cgls": "StNN"}
SSNET = (568_705, 567_552)  # weights and multiply-adds a pixel of the paper's 3L-SSNet


def facts_of(network: Any, recipe: Any) -> dict[str, Any]:
    """What a row says about its network, from the file alone."""
    high = 0.0 if recipe.inject == "none" else recipe.noise[1]
    method = NAMES.get(recipe.preprocess.partition(":")[0], recipe.preprocess)
    if recipe.target != "truth":
        method = {"NN": "ReNN", "StNN": "StReNN"}.get(method, f"{method} to {recipe.target}")
    return {
        "kind": "network",
        "arch": network.kind,
        "width": network.config.width,
        "method": method,
        "noise": [0.0 if recipe.inject == "none" else recipe.noise[0], high],
        "inject": recipe.inject,
        "lipschitz": getattr(network, "lipschitz", None),
        "weights": sum(p.numel() for p in network.parameters()),
        "minutes": round(network.card.get("processor_seconds", network.card.get("seconds", 0.0)) / 60, 1),
        "gigapixels": network.card.get("steps", 0) * recipe.batch * recipe.patch**2 / 1e9,
    }


def label(facts: dict[str, Any]) -> str:
    """A row's name, such as "ssnet 128 StNN, trained at 0:0.05"."""
    low, high = facts["noise"]
    noise = f"{high:g}" if low == high else f"{low:g}:{high:g}"
    after = " after the pre-processor" if facts["inject"] == "after" else ""
    bound = f" L={facts['lipschitz']:g}" if facts["lipschitz"] else ""
    length = f"{facts['gigapixels']:.2g} Gpixel"
    return f"{facts['arch']} {facts['width']}{bound} {facts['method']}, trained at {noise}{after}, {length}"


def summary(records: Sequence[dict[str, Any]], conditions: Sequence[str]) -> dict[str, Any]:
    """Means over pictures, and the constants at noise 0.01."""
    means = {c: np.mean([r[c] for r in records], axis=0) for c in conditions}
    clean, moved = (np.array([r[c][2] for r in records]) for c in ("0", "0.01"))
    noise = np.array([r["noise"] for r in records])
    return {
        "psnr": {c: float(m[0]) for c, m in means.items()},
        "spread": {c: float(np.std([r[c][0] for r in records])) for c in conditions},
        "ssim": {c: float(m[1]) for c, m in means.items()},
        "gain": float(np.mean([r["gain"] for r in records])),
        "g": float(np.mean(np.sqrt(np.clip(moved**2 - clean**2, 0, None)) / noise)),
        "ratio": float(np.mean((moved - clean) / noise)),
        "eta": float(clean.max()),
        "pictures": len(records),
    }


def networks(rows: Rows) -> Rows:
    return [r for r in rows if r["kind"] == "network"]


def above_filters(rows: Rows, row: dict[str, Any]) -> float:
    """Clean PSNR minus that of the Tikhonov filter of the same noise gain (interpolated in its logarithm).

    A gain beyond the filters' range is compared with the nearest of them.
    """
    filters = sorted((r["gain"], r["psnr"]["0"]) for r in rows if r["kind"] == "filter")
    best, points = -np.inf, []
    for gain, value in filters:  # the frontier: more gain is only worth something where it buys accuracy
        best = max(best, value)
        points.append((np.log(gain), best))
    at, values = zip(*points, strict=True)
    return float(row["psnr"]["0"] - np.interp(np.log(max(row["gain"], 1e-9)), at, values))


def best_filter(rows: Rows, condition: str) -> float:
    """PSNR of the Tikhonov filter whose weight is best for this condition, which takes the truth to know."""
    return max(float(r["psnr"][condition]) for r in rows if r["kind"] == "filter")


def answers(rows: Rows) -> list[str]:
    """The paper's findings and ours, each yes or no with its numbers; what has no networks is left out."""
    lines: list[str] = []
    paper = [r for r in networks(rows) if r["inject"] != "after"]
    shapes = sorted({(r["arch"], r["width"]) for r in paper if not r["lipschitz"]})
    losses: dict[str, tuple[int, float]] = {}
    for shape in shapes:
        name = f"{shape[0]} {shape[1]}"
        quiet = {r["method"]: r for r in paper if (r["arch"], r["width"]) == shape and r["noise"] == [0, 0]}
        loud = {
            r["method"]: r for r in paper if (r["arch"], r["width"]) == shape and r["noise"] == [0.025] * 2
        }
        lines += _ordered(f"{name}, without noise", quiet, ("NN", "StNN", "FiNN"), "0")
        lines += _ordered(f"{name}, trained at 0, tested at 0.01", quiet, ("StNN", "FiNN", "NN"), "0.01")
        if "NN" in quiet:
            fall = quiet["NN"]["psnr"]["0"] - quiet["NN"]["psnr"]["0.01"]
            losses[name] = (quiet["NN"]["weights"], fall)
            if "NN" in loud:
                times = quiet["NN"]["gain"] / loud["NN"]["gain"]
                lines.append(_line(f"{name}, injection lowers NN's gain", times > 1, f"{times:.1f} times"))
        if {"FiNN", "StNN", "NN"} <= loud.keys():
            gains = [loud[m]["gain"] for m in ("FiNN", "StNN", "NN")]
            text = "FiNN {:.3f}, StNN {:.3f}, NN {:.3f}".format(*gains)
            lines.append(_line(f"{name}, injected: gain FiNN < StNN < NN", falling(gains[::-1]), text))
        lines += _goals(name, quiet, rows) if shape[0] == "ssnet" else []
    if len(losses) > 1:
        by_size = [fall for _, fall in sorted(losses.values())]
        text = ", ".join(f"{n} {fall:.1f} dB" for n, (_, fall) in losses.items())
        lines.append(_line("NN trained at 0: the network with most weights loses most at 0.01",
                           by_size[-1] == max(by_size), text))  # fmt: skip
    return lines + _best_small(paper) + _proof(rows) + _small(paper)


def _ordered(title: str, found: dict[str, Any], order: Sequence[str], condition: str) -> list[str]:
    if not set(order) <= found.keys():
        return []
    values = [found[m]["psnr"][condition] for m in order]
    text = ", ".join(f"{m} {v:.2f}" for m, v in zip(order, values, strict=True))
    return [_line(f"{title}: {' > '.join(order)}", falling(values), text)]


def falling(values: Sequence[float]) -> bool:
    """Each less than the one before it."""
    return all(a > b for a, b in pairwise(values))


def _goals(name: str, quiet: dict[str, Any], rows: Rows) -> list[str]:
    blurred = next(r for r in rows if r["kind"] == "input")["psnr"]["0"]
    lines = []
    if "NN" in quiet:
        rise = quiet["NN"]["psnr"]["0"] - blurred
        lines.append(
            _line(f"{name} NN at least 3 dB above the blurred picture", rise >= 3, f"{rise:+.2f} dB")
        )
    if "StNN" in quiet:
        fall = quiet["StNN"]["psnr"]["0"] - quiet["StNN"]["psnr"]["0.01"]
        lines.append(
            _line(f"{name} StNN trained at 0 loses under 1.5 dB at 0.01", fall < 1.5, f"{fall:.2f} dB")
        )
    return lines


def _best_small(paper: Rows) -> list[str]:
    """Does a small one with a range of noise beat every single-level NN, FiNN and StNN from 0.01 on?"""
    rivals = [r for r in paper if r["noise"][0] == r["noise"][1] and not r["lipschitz"]]
    small = [r for r in paper if r["noise"][0] < r["noise"][1] and r["weights"] <= 600_000]
    lines = []
    for r in small if rivals else []:
        levels = ("0.01", "0.025", "0.05", "0.075")
        leads = [r["psnr"][c] - max(other["psnr"][c] for other in rivals) for c in levels]
        text = ", ".join(f"{c}: {lead:+.2f} dB" for c, lead in zip(levels, leads, strict=True))
        lines.append(_line(f"{r['name']} beats all at every level from 0.01", min(leads) > 0, text))
    return lines


def _proof(rows: Rows) -> list[str]:
    """The smallest proven Lipschitz constant that gains 1 dB over the blurred picture."""
    blurred = next(r for r in rows if r["kind"] == "input")["psnr"]["0"]
    rises = sorted((r["lipschitz"], r["psnr"]["0"] - blurred) for r in networks(rows) if r["lipschitz"])
    if not rises:
        return []
    text = ", ".join(f"L = {bound:g}: {rise:+.2f} dB" for bound, rise in rises)
    least = next((bound for bound, rise in rises if rise >= 1), None)
    title = "a network of proven Lipschitz constant gains 1 dB over the blurred picture"
    return [
        _line(
            title if least is None else f"{title}, the smallest with L = {least:g}", least is not None, text
        )
    ]


def _small(paper: Rows) -> list[str]:
    """Which architectures have at most a tenth of the weights, and of the multiply-adds, of the paper's
    3L-SSNet.
    """
    sizes = {
        f"{r['arch']} {r['width']}": (r["weights"], r["multiply_adds"]) for r in paper if not r["lipschitz"]
    }
    if len(sizes) < 2:
        return []
    small = [
        name
        for name, size in sorted(sizes.items())
        if all(10 * n <= p for n, p in zip(size, SSNET, strict=True))
    ]
    text = ", ".join(f"{name} {w:,} and {m:,.0f}" for name, (w, m) in sorted(sizes.items()))
    title = "small in both senses, a tenth of the paper's 3L-SSNet in weights and in multiply-adds a pixel"
    return [_line(f"{title}: {' and '.join(small) or 'none'}", bool(small), text)]


def _line(title: str, holds: bool, numbers: str) -> str:
    return f"- {'yes' if holds else 'NO '} {title} ({numbers})"
