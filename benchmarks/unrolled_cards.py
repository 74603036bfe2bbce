"""What cards.py says of an unrolled network: where it stands beside plug-and-play on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from common import ResultFile, markdown

WHAT = """A whole reconstructor, called as (op, y, sigma), method "unrolled": {steps} steps of {family}
    around one {prior} whose weights all steps share, the level and the step size of each learned with it.
    Psf, level, size and border are inputs. Nothing is proven of its answers."""
FAMILIES = {
    "hqs": "half-quadratic splitting",
    "pgd": "proximal gradient",
    "admm": "alternating directions",
}
LIMITS = """ Psfs of its training: camera shakes, even motion, Gaussian and defocus blur of at most {reach}
    pixels a side, drawn at random; circular and unknown borders. Larger psfs, masks, counted light and twice
    the size go through the same steps, but it was not trained for them."""
MINE, PEER = "proxlab unrolled", "proxlab pnp"
Records = dict[str, dict[str, Any]]


def what(config: Any) -> str:
    """What it is, from its configuration."""
    return WHAT.format(steps=config.steps, family=FAMILIES[config.family], prior=config.prior)


def limits(recipe: Mapping[str, Any]) -> str:
    """What it was trained for."""
    return LIMITS.format(reach=recipe["reach"])


def standing(weights: str, results: Path) -> list[str]:
    """A table for each result file of quality.py and each thing that methods were told in it."""
    texts = []
    for path in sorted(results.glob("quality_*.json")):
        records = ResultFile(path).records
        ours = sorted(k for k, r in records.items() if k.startswith(MINE) and r.get("weights") == weights)
        for told in sorted({_told(key) for key in ours}):
            cases = {key.partition(" | ")[2]: records[key] for key in ours if _told(key) == told}
            texts.append(_table(path.stem.removeprefix("quality_"), told, cases, records))
    return texts


def _told(key: str) -> str:
    """ "(sigma given)" of a record's key, or nothing."""
    row = key.partition(" | ")[0]
    return row[row.index(" (") :] if " (" in row else ""


def _table(study: str, told: str, cases: Records, records: Records) -> str:
    """Mean PSNR by level; plug-and-play only where it has the same cases."""
    levels = sorted({float(case.rpartition(" ")[2]) for case in cases})
    peers = {case: records[f"{PEER}{told} | {case}"] for case in cases if f"{PEER}{told} | {case}" in records}
    lines = [_line("this network", cases, levels)]
    lines += [_line("plug-and-play", peers, levels)] if len(peers) == len(cases) else []
    unit = "peak {:g}" if "poisson" in study else "{:g}/255"
    head = [f"PSNR in dB, {study}{told}, {len(cases)} cases", *[unit.format(v) for v in levels], "mean"]
    return markdown(head, lines)


def _line(name: str, cases: Records, levels: list[float]) -> list[str]:
    means = []
    for level in levels:
        values = [r["psnr"] for case, r in cases.items() if float(case.rpartition(" ")[2]) == level]
        means.append(fmean(values))
    return [name, *[f"{v:.2f}" for v in [*means, fmean(means)]]]
