"""What does it cost when a method is told less, or something wrong? And how often does auto beat its input?

    python benchmarks/variants.py --images DIR --kernels DIR [--methods tv pnp auto] [--skip wide ...]

The cases of quality.py with one kernel a picture, in turn (36 of them), mean PSNR of each method when

    given     it is told psf and noise level, circular borders
    estimated it is told the psf alone
    half      it is told half the noise level: a given level is obeyed, and `info` warns
    twice     it is told twice the noise level
    wide      it is told the level and a psf 10 % too wide, as a wrong calibration has it
    unknown   it is told psf and level; what lies outside the picture is unknown

and what that loses against `given`. Peers stand beside them where they can do the same. Results go where
quality.py has its own. --count only prints from all those results how often auto beats its input.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from common import markdown, write_text
from peers import DPIR, INPUT, PEERS
from quality import Records, Row, add_study, by_level, foot, measure, row_of, study_of

WIDE = 1.1
VARIANTS = {
    "given": Row("", given=1.0),
    "estimated": Row(""),
    "half": Row("", given=0.5),
    "twice": Row("", given=2.0),
    "wide": Row("", given=1.0, wide=WIDE),
    "unknown": Row("", given=1.0),
}
HEAD = {
    "given": "psf and sigma given",
    "estimated": "sigma estimated",
    "half": "told half of sigma",
    "twice": "told twice sigma",
    "wide": "told a psf 10 % too wide",
    "unknown": "unknown border",
}
SKIMAGE = list(PEERS)[1:3]
ABLE = {  # what the peers can be asked: scikit-image's are told no level
    **dict.fromkeys(SKIMAGE, ("estimated", "wide", "unknown")),
    DPIR: ("given", "half", "twice", "wide"),
}


def rows(methods: list[str], variant: str) -> Iterator[tuple[str, Row]]:
    """(title, row) of a variant, peers first."""
    how = VARIANTS[variant]
    for peer, able in ABLE.items():
        if variant in able:
            yield peer, Row(peer, given=how.given if peer == DPIR else None, wide=how.wide)
    for text in methods:
        own = row_of(text, given=False)
        yield text, Row(own.method, own.prior, how.given, how.wide)


def measured(args: argparse.Namespace, variant: str) -> dict[str, Records]:
    """The records of each title."""
    border = "unknown" if variant == "unknown" else "circular"
    study = study_of(args, border=border, rotating=True)
    titled = dict(rows(args.methods, variant))
    found, _ = measure(study, [Row(INPUT), *titled.values()], args.out, keep=args.keep)
    kept = {title: found[row.name] for title, row in titled.items() if row.name in found}
    return {INPUT: found[INPUT], **kept}


def table(found: dict[str, dict[str, Records]]) -> str:
    """A row a method: the mean over levels, in brackets what it lost against `given` (peers: `estimated`)."""
    means = {v: {t: float(np.mean(by_level(r))) for t, r in rs.items()} for v, rs in found.items()}
    titles = list(dict.fromkeys(title for values in means.values() for title in values))
    lines = []
    for title in titles:
        base = means.get("given", {}).get(title, means.get("estimated", {}).get(title))
        line = [title if title in [INPUT, *PEERS] else f"proxlab {title.replace(':', ', ')}"]
        for values in means.values():
            value = values.get(title)
            lost = "" if value is None or base is None or value == base else f" ({value - base:+.2f})"
            line.append("" if value is None else f"{value:.2f}{lost}")
        lines.append(line)
    return markdown(["mean PSNR in dB", *[HEAD[v] for v in means]], lines)


def warned(found: dict[str, dict[str, Records]]) -> str:
    """How often a wrong level was noticed."""
    texts = []
    for variant in ("half", "twice"):
        own = [r for t, rs in found.get(variant, {}).items() if t not in [INPUT, *PEERS] for r in rs]
        if own:
            count = sum(record["warned"] for record in own)
            texts.append(f"{count} of {len(own)} runs that were told {variant} the level warned of it.")
    return " ".join(texts)


def beaten(folder: Path) -> str:
    """Over all results that lie there: how often auto's PSNR is above its input's."""
    lines, total, won = [], 0, 0
    for path in sorted(folder.glob("quality_*.json")):
        records = json.loads(path.read_text(encoding="utf-8"))
        by_row: dict[str, list[float]] = {}
        for key, record in records.items():
            name, case = key.split(" | ")
            if name.startswith("proxlab auto"):
                by_row.setdefault(name, []).append(record["psnr"] - records[f"{INPUT} | {case}"]["psnr"])
        for name, gains in sorted(by_row.items()):
            good = sum(gain > 0 for gain in gains)
            lines.append([f"{path.stem}: {name}", f"{len(gains)}", f"{good}", f"{min(gains):+.2f}"])
            total, won = total + len(gains), won + good
    share = f"{won / total:.1%}" if total else "-"
    lines.append(["**all**", f"{total}", f"{won} ({share})", ""])
    return markdown(["auto", "cases", "above its input", "least gain in dB"], lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study(parser)
    parser.add_argument("--methods", nargs="+", default=["tv", "pnp"], metavar="METHOD")
    parser.add_argument("--skip", nargs="+", default=[], choices=list(VARIANTS), help="leave these out")
    parser.add_argument("--count", action="store_true", help="only count auto's successes")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    torch.set_num_threads(args.threads)
    if not args.count:
        found = {v: measured(args, v) for v in VARIANTS if v not in args.skip}
        study = study_of(args, border="circular and unknown", rotating=True)
        records = {f"{v} {t}": r for v, rs in found.items() for t, r in rs.items()}
        told = "In brackets: what is gained or lost against the first figure of the row."
        title = f"# Told less, or wrongly. {study.title(len(found[next(iter(found))][INPUT]))}"
        parts = [title, table(found), " ".join(filter(None, [told, warned(found), foot(records)]))]
        text = "\n\n".join(parts) + "\n"
        print("\n" + text)
        write_text(args.out / f"variants_{study_of(args).name}.md", text)
    text = f"# How often auto beats its input\n\n{beaten(args.out)}\n"
    print("\n" + text)
    write_text(args.out / "auto.md", text)


if __name__ == "__main__":
    main()
