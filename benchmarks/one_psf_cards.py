"""What cards.py says of a network for one psf: how it is made, and where it stands beside plain filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import ResultFile, markdown
from stabilizer_findings import NAMES, above_filters, best_filter, summary

from proxlab.methods.stnn import ESTIMATING

WHAT = """A network for one psf and no other, {pre} in front of it: method "stnn", which refuses any psf
    further than 2 % away. {method} of Evangelista, Morotti, Loli Piccolomini and Nagy (2023), trained
    towards {target}{noise}. {proof}"""
SHAPES = {
    "ssnet": """A narrow 3L-SSNet: the paper's is 128 channels wide (568 705 weights, 567 552
        multiplications a pixel), this one {width} ({multiplications:,.0f} a pixel), small in both.""",
    "unet": "A UNet of width {width}, {multiplications:,.0f} multiplications a pixel.",
    "nafnet": "A NAFNet of width {width}, {multiplications:,.0f} multiplications a pixel.",
    "bounded": """{multiplications:,.0f} multiplications a pixel, {width} channels.""",
}
PAPER = ("NN", "FiNN", "StNN", "ReNN", "StReNN")
UNPROVEN = "Nothing is proven of its answers."
PROVEN = """**Its Lipschitz constant is at most {:g}, by construction**: no change of its input, found or not,
    moves its answer by more than so many times its own norm (a pre-processor comes on top). Nothing is proven
    of its accuracy."""
SKIP = """Other than in the paper it adds to its input what it finds, and does not end in a ReLU."""
FRONT = {
    "none": "nothing",
    "gaussian": "a Gaussian filter",
    "cgls": "a few steps of conjugate gradients",
    "tikhonov": "Tikhonov's solution",
    "tv": "total variation",
    "denoise": "a denoiser",
}
LIMITS = """**It was trained for {gigapixels:.3f} Gpixel only, on one busy core.** An under-trained network
    looks stable: longer training raises its accuracy without noise and its noise gain with it, so these
    figures are of these weights and say little about the architecture. Grey, trained on periodic crops of
    {pictures} photographs scanned from film, blurred by this very psf; noise {noise}, white and Gaussian.
    Other borders are continued {continued}, which it never saw. On pictures unlike photographs, on
    noise that is coloured, and on a psf that is only nearly right, expect less, and invented detail."""


def psf_text(rows: Sequence[Sequence[float]]) -> str:
    """What the psf is, in words."""
    psf = np.array(rows)
    place = [np.arange(n) - n // 2 for n in psf.shape]
    spread = float(np.sqrt((psf * (place[0][:, None] ** 2)).sum()))
    bell = np.exp(-0.5 * (place[0][:, None] ** 2 + place[1] ** 2) / 1.3**2)
    if np.allclose(psf, bell / bell.sum(), atol=1e-6):
        return "the 11x11 Gaussian of 1.3 pixels, sum 1".replace("11x11", f"{psf.shape[0]}x{psf.shape[1]}")
    return f"{psf.shape[0]}x{psf.shape[1]} pixels, {spread:.2f} pixels wide along columns"


def levels(recipe: Mapping[str, Any]) -> tuple[float, float]:
    """The noise it was trained with."""
    return (0.0, 0.0) if recipe["inject"] == "none" else (recipe["noise"][0], recipe["noise"][1])


def noise_text(recipe: Mapping[str, Any]) -> str:
    low, high = levels(recipe)
    if high == 0:
        return "none"
    return f"{high:g} of the range" if low == high else f"{low:g} to {high:g} of the range"


def method_of(recipe: Mapping[str, Any]) -> str:
    """NN, FiNN, StNN, ReNN, StReNN, or the pre-processor itself."""
    name = NAMES.get(recipe["preprocess"].partition(":")[0], recipe["preprocess"])
    if recipe["target"] == "truth":
        return name
    return {"NN": "ReNN", "StNN": "StReNN"}.get(name, f"{name} to Tikhonov")


def what(made: Mapping[str, Any], network: Any, multiplications: float) -> str:
    """Its kind and shape in sentences."""
    recipe, config = made["recipe"], made["config"]
    towards = "the sharp picture"
    if recipe["target"] != "truth":
        weight = recipe["target"].partition(":")[2]
        towards = f"Tikhonov's solution from clean data, weight {weight}, so that nobody needs the truth,"
    high = levels(recipe)[1]
    noise = f" with noise {noise_text(recipe)} before the pre-processor" if high else " without noise"
    bound = getattr(network, "lipschitz", None)
    text = WHAT.format(
        proof=UNPROVEN if bound is None else PROVEN.format(bound),
        pre=FRONT[recipe["preprocess"].partition(":")[0]],
        method=method if (method := method_of(recipe)) in PAPER else "A variant of the StNN",
        target=towards,
        noise=noise,
    )
    shape = SHAPES[made["kind"]].format(
        width=config["width"],
        multiplications=multiplications,
    )
    return " ".join([text, f"The psf: {psf_text(recipe['psf'])}.", shape, SKIP if config.get("skip") else ""])


def words(recipe: Mapping[str, Any]) -> list[str]:
    """The options that only this training has; PSF.npy is the psf in numbers."""
    low, high = recipe["noise"]
    return [
        *("--arch", recipe["arch"], "--psf", "PSF.npy", "--preprocess", recipe["preprocess"]),
        *("--target", recipe["target"], "--noise", f"{low!r}:{high!r}", "--inject", recipe["inject"]),
    ]


def limits(made: Mapping[str, Any]) -> str:
    """What it is not for."""
    recipe = made["recipe"]
    return LIMITS.format(
        gigapixels=made["steps"] * recipe["batch"] * recipe["patch"] ** 2 / 1e9,
        pictures=made["pictures"],
        noise=noise_text(recipe),
        continued="by mirroring" if recipe["preprocess"].startswith(ESTIMATING) else "by their edge pixels",
    )


def standing(name: str, weights: str, results: Path) -> list[str]:
    """PSNR beside the blurred picture and the best filter, and the distance to the filters' frontier."""
    texts = []
    for path in sorted(results.glob("stabilizers_*.json")):
        rows, mine = _rows(ResultFile(path), weights)
        if mine is None:
            continue
        conditions = list(mine["psnr"])
        best = [best_filter(rows, c) for c in conditions]
        blurred = next(r for r in rows if r["kind"] == "input")
        body = [
            ["blurred", *[f"{blurred['psnr'][c]:.2f}" for c in conditions]],
            ["Tikhonov filter, best weight for each", *[f"{v:.2f}" for v in best]],
            [f"`{name}`", *[f"{mine['psnr'][c]:.2f}" for c in conditions]],
        ]
        for row in (r for r in rows if r["kind"] == "method"):
            body.insert(
                2, ["method `tikhonov`, automatic weight", *[f"{row['psnr'][c]:.2f}" for c in conditions]]
            )
        head = f"PSNR in dB, {mine['pictures']} pictures of {path.stem.removeprefix('stabilizers_')}"
        texts += [markdown([head, *conditions], body), _sentence(rows, mine)]
    return texts


def _sentence(rows: list[dict[str, Any]], mine: Mapping[str, Any]) -> str:
    apart = above_filters(rows, dict(mine))
    side = "above" if apart >= 0 else "BELOW"
    noisy = [c for c in mine["psnr"] if c.startswith("0.")]
    leads = ", ".join(f"{mine['psnr'][c] - best_filter(rows, c):+.2f} dB at {c}" for c in noisy)
    return (
        f"Noise gain at 0.01: {mine['gain']:.2f}. A Tikhonov filter of the same gain is the baseline: "
        f"without noise this network stands **{abs(apart):.2f} dB {side} the filters' frontier**. Against "
        f"the filter with the best weight for each level, found with the truth: {leads}."
    )


def _rows(file: ResultFile, weights: str) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Summaries of the blurred picture, the filters and these weights over the pictures of the latter."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    mine: dict[str, dict[str, Any]] = {}
    for key, record in file.records.items():
        row, _, picture = key.rpartition(" | ")
        groups.setdefault(row, {})[picture] = record
        if record["version"] == weights:
            mine[picture] = record
    if not mine:
        return [], None
    conditions = [c for c, v in next(iter(mine.values())).items() if isinstance(v, list)]

    def told(group: Mapping[str, Any], kind: str) -> dict[str, Any]:
        return {"kind": kind, **summary([group[picture] for picture in mine], conditions)}

    kinds = {"blurred": "input", "tikhonov": "method"}
    kinds |= {name: "filter" for name in groups if name.startswith("Tikhonov filter")}
    rows = [told(groups[n], k) for n, k in kinds.items() if n in groups and set(mine) <= set(groups[n])]
    return rows, told(mine, "network")
