"""How good are the pictures? PSNR by noise level, SSIM, seconds and certificate of each method, beside peers.

    python benchmarks/quality.py --images DIR --kernels DIR [--border circular unknown] [--given]
        [--methods tv pnp certified:lpn-gray] [--rotating] [--like DIR] [--peaks 255 64]

Twelve pictures (the first by name, centre 256x256), every kernel, white noise of 2.55, 7.65 and 12.75 of 255,
not clipped and not rounded. With circular borders the centre itself is blurred; with unknown ones a larger
field of the full picture is, and what the sensor would see is kept. --rotating gives each picture one kernel
in turn, a quarter of the cases. --like: colour pictures among --images with the content of that folder's.
--peaks: Poisson noise. METHOD:PRIOR and METHOD@LAM are a method with a prior or a weight of its own. Methods
are told the psf and nothing else unless --given. Every finished case goes to results/quality_SET_BORDER.json
at once and is not computed again while pictures, kernels, weights and code (that of the packages, comments
aside; or the peer's version) are the same. PSNR and SSIM on results clipped to [0, 1].
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import LEVELS, Case, Study, believed
from common import RESULTS, ROOT, ResultFile, circumstances, code_digest, kernels, markdown, write_text
from peers import DPIR, INPUT, PEERS, PUBLISHED, PUBLISHED_FIGURES
from tqdm import tqdm

import proxlab
from imaging.metrics import psnr, ssim
from priors.base import find
from proxlab.methods import load_method
from proxlab.networks import shipped
from proxlab.receipt import file_digest

OURS = ("wiener", "tikhonov", "richardson-lucy", "tv", "pnp", "red", "certified", "unrolled", "auto")
SOURCES = ("imaging", "algorithms", "priors", "priors/networks", "proxlab", "proxlab/methods")
LIMIT = 12
Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """A method, its prior if not the usual one, and what it is told.

    given is the believed noise level in units of the true one, None where the method is to estimate it; wide
    the believed width of the psf in units of the true one.
    """

    method: str
    prior: str | None = None
    given: float | None = None
    wide: float = 1.0
    lam: float | None = None

    @property
    def name(self) -> str:
        """How it is called in tables and files."""
        named = self.method if self.method in PEERS else f"proxlab {self.method}"
        named += f", {self.prior}" if self.prior else ""
        named += f", lam {self.lam:g}" if self.lam is not None else ""
        told = {None: [], 1.0: ["sigma given"]}.get(self.given, [f"sigma given as {self.given} of the true"])
        told += [f"psf {self.wide - 1:.0%} too wide"] if self.wide != 1.0 else []
        return named + (f" ({', '.join(told)})" if told else "")

    def weights(self, channels: int) -> str:
        """The digest of the weights it runs with: a string, empty without any."""
        if self.method in PEERS:
            name = shipped("denoiser", channels) if self.method == DPIR else None
        else:
            family = load_method(self.method).supports.family
            name = self.prior or (shipped(family, channels) if family else None)
        return file_digest(find(name))[:8] if name else ""

    def lacks(self, channels: int) -> str:
        """What it cannot do without and does not ship, in words; empty where nothing is missing."""
        if self.method in PEERS or self.prior:
            return ""
        family = load_method(self.method).supports.family
        return "" if family is None or shipped(family, channels) else f"no {family} network ships"

    def run(self, case: Case, border: str) -> tuple[np.ndarray, dict[str, Any]]:
        """The result for a case, and what the record keeps of the run."""
        case = believed(case, self.wide)
        if self.method in PEERS:
            return PEERS[self.method](case, case.level / 255 * (self.given or 1.0)), {}
        told: dict[str, Any] = {"noise": f"poisson:{case.level:g}"} if case.counted else {}
        if self.given is not None and not case.counted:
            told["sigma"] = self.given * case.level / 255
        x, info = proxlab.deblur(
            case.y,
            case.psf,
            method=self.method,
            prior=self.prior,
            boundary=border,
            lam=self.lam,
            device="cpu",
            return_info=True,
            **told,
        )
        return x, kept(info)


def kept(info: dict[str, Any]) -> dict[str, Any]:
    """Of the record of a run: what tables and readers ask for."""
    certificate = info["certificate"]
    violated = [c["claim"] for c in certificate["conditions"] if c["kind"] == "violated"]
    record = {key: info[key] for key in ("sigma", "lam", "num_iter", "status", "method")}
    doubts = [text for text in info["warnings"] if text.startswith("sigma is given as")]
    return {**record, "verdict": certificate["verdict"], "violated": violated, "warned": bool(doubts)}


@cache
def our_code() -> str:
    return code_digest(ROOT.parent / folder for folder in SOURCES)


def code_of(row: Row) -> str:
    """What must not have changed for a record to count."""
    if row.method not in PEERS:
        return our_code()
    return version("deepinv" if row.method == DPIR else "scikit-image")


def measure(study: Study, rows: list[Row], out: Path, *, keep: bool) -> tuple[dict[str, Records], int]:
    """The records of each row in the order of the cases, and how many were computed just now."""
    file = ResultFile(out / f"quality_{study.name}.json")
    found: dict[str, Records] = {row.name: [] for row in rows}
    computed = 0
    channels = 3 if study.like else 1
    for row in [row for row in rows if row.lacks(channels)]:
        print(f"{row.name} is left out: {row.lacks(channels)}.")
        del found[row.name]
    for case in tqdm(list(study.cases()), desc=study.name, disable=None):
        for row in [row for row in rows if row.name in found]:
            key = f"{row.name} | {case.name}"
            made = {"case": case.digest, "code": code_of(row)}
            made |= {"weights": row.weights(channels)} if row.weights(channels) else {}
            wanted = {k: v for k, v in made.items() if not (keep and k == "code")}
            record = file.find(key, **wanted)
            if record is None:
                record = {**made, **judged(case, row, study.border)}
                file.add(key, record)
                computed += 1
            here = {"level": case.level, "counted": case.counted, "old": record["code"] != made["code"]}
            found[row.name].append({**record, **here})
    return found, computed


def judged(case: Case, row: Row, border: str) -> dict[str, Any]:
    """What the tables are made of; cpu is the processor time of all threads."""
    start, before = time.perf_counter(), time.process_time()
    x, record = row.run(case, border)
    seconds, cpu = time.perf_counter() - start, time.process_time() - before
    x = np.asarray(x, np.float64)
    scores = {"psnr": round(psnr(x, case.truth), 4), "ssim": round(ssim(x, case.truth), 4)}
    return {**scores, "seconds": round(seconds, 3), "cpu": round(cpu, 3), **record}


def mean(records: Records, what: str) -> float:
    return float(np.mean([record[what] for record in records]))


def by_level(records: Records) -> list[float]:
    """Mean PSNR of each level, rising levels."""
    levels = sorted({record["level"] for record in records})
    return [mean([r for r in records if r["level"] == level], "psnr") for level in levels]


def certified(records: Records) -> str:
    """How many runs have a proof, how many broke a condition."""
    if not any(record.get("verdict", "").startswith("proven") for record in records):
        return ""
    proven = sum(r["verdict"].startswith("proven") for r in records)
    return f"{proven} of {len(records)} proven, {sum(bool(r['violated']) for r in records)} violated"


def table(rows: dict[str, Records], circular: dict[str, Records] | None, published: bool = False) -> str:
    """Markdown: a row a method."""
    levels = sorted({record["level"] for record in rows[INPUT]})
    unit = "peak {:g}" if rows[INPUT][0]["counted"] else "{:g}/255"
    head = ["mean PSNR in dB", *[unit.format(level) for level in levels], "mean", "SSIM"]
    head += ["beats input", "worst gain", "CPU s"] + (["lost to unknown border"] if circular else [])
    head += ["certificate"]
    lines = []
    if published:
        values = [PUBLISHED_FIGURES[level] for level in levels]
        shown = [f"{v:.2f}" for v in [*values, np.mean(values)]]
        lines.append([PUBLISHED, *shown, *[""] * (len(head) - 2 - len(levels))])
    for name, records in rows.items():
        gains = [a["psnr"] - b["psnr"] for a, b in zip(records, rows[INPUT], strict=True)]
        line = [name, *[f"{v:.2f}" for v in by_level(records)], f"{np.mean(by_level(records)):.2f}"]
        line += [f"{mean(records, 'ssim'):.3f}"]
        line += ["", ""] if name == INPUT else [f"{np.mean(np.array(gains) > 0):.1%}", f"{min(gains):+.2f}"]
        seconds = np.median([r.get("cpu", r["seconds"]) for r in records])
        line += ["" if name == INPUT else f"{seconds:.2f}"]
        if circular:
            other = circular.get(name)
            line += [f"{mean(other, 'psnr') - mean(records, 'psnr'):+.2f}" if other else ""]
        lines.append([*line, certified(records)])
    if not any(line[-1] for line in lines):
        head, lines = head[:-1], [line[:-1] for line in lines]
    return markdown(head, lines)


def foot(rows: dict[str, Records]) -> str:
    """What the figures mean and what they were made with."""
    old = sum(record["old"] for records in rows.values() for record in records)
    text = "Results clipped to [0, 1]; CPU s: processor time of a case in all threads, median, float32. "
    text += f"{old} rows were computed by an earlier version of the code. " if old else ""
    return text + circumstances(torch.get_num_threads())


def report(study: Study, rows: dict[str, Records], text: str, args: argparse.Namespace) -> None:
    """Print a table and keep it."""
    title = f"# Deblurring, {study.title(len(rows[INPUT]))}"
    told = "psf and the noise level" if args.given or study.counted else "psf and nothing else"
    whole = f"{title}\n\n{text}\n\nMethods are told the {told}. {foot(rows)}\n"
    print("\n" + whole)
    suffix = "_given" * args.given + "_rotating" * study.rotating
    suffix += "" if study.limit == LIMIT else f"_{study.limit}"
    write_text(args.out / f"quality_{study.name}{suffix}.md", whole)


def is_published(study: Study, given: bool) -> bool:
    """Whether the cases are those of the published figures."""
    same = study.name == "bsd68_circular" and study.limit == LIMIT and study.levels == LEVELS
    return same and given and not study.rotating and list(kernels(study.kernels)) == LEVIN


LEVIN = [f"levin{n}" for n in range(1, 5)]


def add_study(parser: argparse.ArgumentParser) -> None:
    """The options that choose cases, and how to compute."""
    add = parser.add_argument
    add("--images", type=Path, metavar="DIR", help="folder of pictures [scikit-image's own]")
    add("--like", type=Path, metavar="DIR", help="colour pictures of --images with the content of these")
    add("--kernels", type=Path, metavar="DIR", help="folder of .npy kernels [camera shakes made here]")
    add("--limit", type=int, default=LIMIT, help="number of pictures [12]")
    add("--levels", type=float, nargs="+", default=LEVELS, help="noise, of 255")
    add("--keep", action="store_true", help="accept rows computed by other code")
    add("--threads", type=int, default=2)
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="where results lie [benchmarks/results]")


def study_of(args: argparse.Namespace, **options: Any) -> Study:
    """The cases that the options name."""
    study = Study(args.images, args.kernels, args.limit, tuple(args.levels), "circular", like=args.like)
    return replace(study, **options)


def row_of(text: str, given: bool) -> Row:
    """METHOD, METHOD:PRIOR or METHOD@LAM; SystemExit for an unknown method."""
    rest, _, lam = text.partition("@")
    method, _, prior = rest.partition(":")
    if method not in OURS:
        message = (
            f"--methods {method}: wanted some of {', '.join(OURS)}, each with :PRIOR or @LAM if you like."
        )
        raise SystemExit(message)
    return Row(method, prior or None, 1.0 if given else None, lam=float(lam) if lam else None)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_study(parser)
    add = parser.add_argument
    add("--border", nargs="+", default=["circular", "unknown"], choices=["circular", "unknown"])
    add("--methods", nargs="+", default=["wiener", "tikhonov", "richardson-lucy", "tv"], metavar="METHOD")
    add("--peers", nargs="*", default=list(PEERS)[1:3], choices=list(PEERS)[1:], metavar="PEER")
    add("--peaks", type=float, nargs="+", help="Poisson noise of these peaks in place of --levels")
    add("--rotating", action="store_true", help="one kernel a picture, in turn")
    add("--given", action="store_true", help="tell our methods the noise level")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    torch.set_num_threads(args.threads)
    circular = None
    for border in sorted(args.border):  # circular first: the other is held against it
        peers = [p for p in args.peers if p != DPIR or (border == "circular" and not args.peaks)]
        rows = [Row(INPUT), *[Row(p, given=1.0 if p == DPIR else None) for p in peers]]
        rows += [row_of(text, args.given) for text in args.methods]
        study = study_of(args, border=border, rotating=args.rotating)
        if args.peaks:
            study = replace(study, levels=tuple(args.peaks), counted=True)
        found, computed = measure(study, rows, args.out, keep=args.keep)
        report(study, found, table(found, circular, is_published(study, args.given)), args)
        print(f"{computed} rows computed, {sum(map(len, found.values())) - computed} taken from the file.")
        circular = found if border == "circular" else None


if __name__ == "__main__":
    main()
