"""The cards of the weights that ship: one Markdown file beside each, from what is written down elsewhere.

    python benchmarks/cards.py [--weights priors/weights] [--results benchmarks/results]

Where a network comes from is read from its checkpoint; figures from the result files of `denoising.py` and
`prior_study.py`, only those measured with exactly these weights; what was tried from `card_notes/NAME.md`
where there is one. Run it after every change of weights or figures; a test holds the two together.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import one_psf_cards as one_psf
import unrolled_cards as unrolled
from common import RESULTS, ROOT, ResultFile, markdown, write_text

from priors.base import WEIGHTS
from priors.checkpoint import load_network, read_provenance
from priors.claims import claims_of
from priors.networks import multiply_adds
from proxlab.receipt import file_digest

HEADINGS = ("What it is", "Data and licence", "How it was made", "Figures", "Limits")
WHAT = {
    "denoiser": """A noise-conditional convolutional denoiser, called as m(x, sigma): x (B, C, H, W) on [0,
        1] of any size, sigma a fraction of the range. Nothing is proven of it: it is fast, and the best in
        PSNR.""",
    "lpn": """A learned proximal network: the gradient of a potential that is strongly convex by
        parametrisation, hence exactly the proximal operator of a regulariser R, possibly not convex, which
        can be read: `proxlab prior value`.""",
    "ridge": """An explicit, weakly convex ridge regulariser: R in closed form, m(x, sigma) its proximal
        operator, solved to a proven distance.""",
    "gradient-step": """A gradient-step denoiser, m = x - grad g with g = |x - N(x)|^2 / 2 explicit: descent
        with backtracking is provable while iterates stay bounded. It is not a proximal operator.""",
}
LOSS = {
    "l1": "Fitted to the median of clean pictures given noisy ones (l1 loss).",
    "l1-level": "Fitted to the median of clean pictures given noisy ones (l1 loss in units of the noise).",
    "l2": "Fitted to the mean of clean pictures given noisy ones (l2 loss).",
    "pm": """Proximal matching after l2: it seeks the mode of the posterior instead of its mean, and so
        loses PSNR against the same network trained with l2. That is its purpose.""",
}
FOLDERS = {"train", "test"}  # of BSDS500; val holds the benchmark pictures and was never trained on
DATA = """BSDS500, the Berkeley Segmentation Data Set (Arbelaez, Maire, Fowlkes and Malik, 2011): folders
    {}, {} pictures (fingerprint {}). **BSDS500 is for non-commercial research and education only.** Whether
    that reaches weights trained on it is not settled. Take it that it does: use these weights for research
    and education, and train your own (`proxlab train`) for anything else. The MIT licence of this project
    covers the code, not the data. No picture of BSD68 or of the validation folder was trained on."""
MADE = """{} of {} planned steps, {:.2f} Gpixel, {} ({} process, arithmetic {}, {}). The averaged weights
    with the best validation PSNR were kept. VALIDATION is a folder with the pictures of BSDS500/val that
    are not in BSD68. The same seed on the same machine gives the same bits."""
LIMITS = """Trained on {} photographs of 481x321 pixels, scanned from film, JPEG, {}; noise white, Gaussian,
    not clipped, sigma {:.3g} to {:.3g} of the range. Weaker where noise is coloured (JPEG, resizing,
    demosaicking), and on what such photographs do not show: text, line drawings, medical or astronomical
    pictures. Like every learned prior it can invent plausible detail: do not use results as evidence."""


def card(path: Path, results: Path) -> str:
    """The Markdown text for one file of weights."""
    made, network = read_provenance(path), load_network(path)
    weights = sum(p.numel() for p in network.parameters())
    kind, recipe = made["kind"], made["recipe"]
    mode = "colour" if recipe["color"] else "grey"
    size = f"{weights / 1e6:.2f} M" if weights > 1e6 else f"{weights / 1e3:.1f} k"
    alone = recipe["kind"] == "deblur"  # for one psf
    if kind == "unrolled":
        kind_text = unrolled.what(network.config)
    else:
        kind_text = one_psf.what(made, network, multiply_adds(network)) if alone else WHAT[kind]
    what = [kind_text, f"{mode.capitalize()}, {size} weights, {path.stat().st_size / 1e6:.2f} MB."]
    parts = [
        f"# {path.stem}",
        *section("What it is", flat(" ".join([*what, LOSS.get(recipe.get("loss"), "")]))),
    ]
    parts += section("Data and licence", data_text(made))
    parts += section("How it was made", making(path.stem, made))
    parts += section("Figures", figures(path, made, network, results))
    notes = ROOT / "card_notes" / f"{path.stem}.md"
    if notes.exists():
        parts += section("What was tried", notes.read_text(encoding="utf-8").strip())
    parts += section("Limits", flat(one_psf.limits(made) if alone else usual_limits(made, mode)))
    return "\n".join(parts).rstrip() + "\n"


def usual_limits(made: Mapping[str, Any], mode: str) -> str:
    """What a prior or an unrolled network is not for."""
    recipe = made["recipe"]
    text = LIMITS.format(made["pictures"], mode, *recipe["sigma"])
    return text + (unrolled.limits(recipe) if recipe["kind"] == "unrolled" else "")


def section(title: str, text: str) -> list[str]:
    return ["", f"## {title}", "", text.strip()]


def flat(text: str) -> str:
    """One paragraph, one line."""
    return " ".join(text.split())


def data_text(made: Mapping[str, Any]) -> str:
    """What it was trained on; SystemExit for folders whose licence is not known here."""
    if not set(made["data"]) <= FOLDERS:
        message = (
            f"trained on {made['data']}: say in cards.py what these pictures are and under which licence."
        )
        raise SystemExit(message)
    return flat(DATA).format(
        " and ".join(f"`{d}`" for d in made["data"]), made["pictures"], made["data_hash"]
    )


def command(name: str, made: Mapping[str, Any]) -> str:
    """The command line that makes these weights again."""
    recipe, plan = made["recipe"], made["plan"]
    words = ["proxlab", "train", recipe["kind"], "--images", *[f"BSDS500/{d}" for d in made["data"]]]
    words += ["--val", "VALIDATION", "--out", f"{name}.safetensors"]
    words += ["--color"] if recipe["color"] else []
    if recipe["kind"] == "deblur":
        words += one_psf.words(recipe)
    else:
        words += ["--sigma", "{!r}:{!r}".format(*recipe["sigma"])]
    words += ["--steps", plan["steps"], "--hold", plan["hold"]]
    words += ["--batch", recipe["batch"], "--patch", recipe["patch"], "--lr", plan["rate"]]
    words += ["--loss", recipe["loss"]] if "loss" in recipe else []
    words += ["--optimizer", plan.get("optimizer", "adam")]
    words += ["--reach", recipe["reach"]] if "reach" in recipe else []
    words += ["--checkpointing"] if recipe.get("checkpointing") else []
    words += ["--seed", recipe["seed"], "--validate-every", plan["period"] or max(1, plan["steps"] // 60)]
    shape = {k: v for k, v in recipe["config"].items() if k not in ("channels", "sigma")}
    words += ["--net", json.dumps(shape)] if shape else []
    words += ["--start", made["start"]] if made.get("start") else []
    words += ["--half"] if "half" in made else []
    words += ["--precision", plan["precision"]]
    return " ".join(shlex.quote(str(w)) for w in words)


def making(name: str, made: Mapping[str, Any]) -> str:
    """Command, steps, time and versions."""
    recipe, hours = made["recipe"], made["seconds"] / 3600
    pixels = made["steps"] * recipe["batch"] * recipe["patch"] ** 2 / 1e9
    took = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    if "processor_seconds" in made:
        took += f" on a shared core, {made['processor_seconds'] / 60:.1f} minutes of processor time"
    versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items())
    one = made.get("processes", 1), made["plan"]["precision"], versions
    text = MADE.format(made["steps"], made["plan"]["steps"], pixels, took, *one)
    return f"```\n{command(name, made)}\n```\n\n{flat(text)}"


def figures(path: Path, made: Mapping[str, Any], network: Any, results: Path) -> str:
    """Tables of what was measured with exactly these weights."""
    name, weights = path.stem, file_digest(path)[:8]
    texts = []
    for file in sorted(results.glob("denoising_*.json")):
        if file.stem != "denoising_speed":
            texts += quality_text(file, name, weights)
    texts += one_psf.standing(name, weights, results) if made["recipe"]["kind"] == "deblur" else []
    texts += unrolled.standing(weights, results) if made["recipe"]["kind"] == "unrolled" else []
    texts += speed_text(results / "denoising_speed.json", name, weights)
    metrics = ", ".join(f"{k.replace('_', ' at ')}: {v:.2f} dB" for k, v in made["metrics"].items())
    against = "" if made["recipe"].get("target", "truth") == "truth" else ", against its target"
    texts.append(f"On the crops it was validated on{against}: {metrics}.")
    texts += half_text(made)
    claims = claims_of(network)
    if claims.convexity:
        texts.append(
            f"Smallest eigenvalue of its Jacobian, proven from the stored weights: {claims.convexity:.4g}."
        )
    study = results / "prior_study.json"
    texts += study_text(ResultFile(study), name, weights) if study.exists() else []
    return "\n\n".join(texts)


def quality_text(path: Path, name: str, weights: str) -> list[str]:
    """Mean PSNR by level over the pictures of one set."""
    records = [
        (*key.split("|"), record)
        for key, record in ResultFile(path).records.items()
        if key.split("|")[0] == name and record["weights"] == weights
    ]
    levels = sorted({int(level) for _, level, _, _ in records})
    if not levels:
        return []
    values = [[r["psnr"] for _, at, _, r in records if int(at) == level] for level in levels]
    count = min(map(len, values))
    head = [f"PSNR in dB, {count} pictures of {path.stem.removeprefix('denoising_')}"]
    row = [f"`{name}`", *[f"{sum(v) / len(v):.2f}" for v in values]]
    return [markdown([*head, *[f"{level}/255" for level in levels]], [row])]


def speed_text(path: Path, name: str, weights: str) -> list[str]:
    """Seconds and memory by size."""
    records = ResultFile(path).records.values() if path.exists() else []
    mine = [r for r in records if r["name"] == name and r["weights"] == weights]
    rows = [
        [f"{r['size']}x{r['size']}", f"{r['seconds']:.3f}", f"{r['mebibytes']}", r["precision"]] for r in mine
    ]
    return [markdown(["one picture", "seconds", "peak MiB", "arithmetic"], rows)] if rows else []


def half_text(made: Mapping[str, Any]) -> list[str]:
    """What storing float16 lost."""
    if "half" not in made:
        return []
    before, after = made["half"]["before"], made["half"]["after"]
    lost = ", ".join(f"{k.replace('_', ' at ')}: {before[k] - after[k]:+.4f} dB" for k in before)
    return [f"Stored in half precision, which lost {lost}; bounds are those of the rounded weights."]


def study_text(file: ResultFile, name: str, weights: str) -> list[str]:
    """What R did on BSD68."""
    record = file.find(f"summary|{name}", weights=weights)
    return [f"Its regulariser R on {record['set']}: {record['text']}"] if record else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="DIR")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    args = parser.parse_args()
    for path in sorted(args.weights.glob("*.safetensors")):
        write_text(path.with_suffix(".md"), card(path, args.results))
        print(path.with_suffix(".md"))


if __name__ == "__main__":
    main()
