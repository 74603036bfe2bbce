"""What does a pre-processor in front of a small network buy, and what does it cost?

    python benchmarks/stabilizers.py --images DIR [--networks FILE...] [--methods tikhonov tv pnp unrolled]

Grey pictures, centre 256x256, periodic borders, the 11x11 Gaussian of 1.3 pixels. Networks are those that
ship and files of `proxlab train deblur`; beside them the blurred picture, Tikhonov's filter over its weights,
and methods of the front door, told the psf and the noise model. Noise 0 to 0.075, Poisson at peak 255, and a
psf 10 % wider without noise, every draw seeded by picture and condition, the same for all. Every finished
picture goes to results/stabilizers_SET.json at once and is not computed again while picture, network file and
code are the same (`--keep`: not for code).

First the form of the authors' table, mean and standard deviation over pictures; then every row. Methods that
take long see the first pictures only (`--few`): tables of those pictures alone follow, so that all compare.

Columns: PSNR in dB (clipped to [0, 1]); gain, the mean of |f(y + e) - f(y)| / |e| at noise 0.01; g, the
paper's sqrt(|f(y + e) - x|^2 - |f(y) - x|^2) / |e|; ratio, the mean of (|f(y + e) - x| - |f(y) - x|) / |e|;
eta, the largest |f(y) - x|, at that noise. Milliseconds and training minutes are processor time.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import stabilizer_findings as findings
import stabilizer_tables as tables
import torch
from common import (
    RESULTS,
    ROOT,
    ResultFile,
    circumstances,
    code_digest,
    digest,
    markdown,
    pictures,
    set_name,
    write_text,
)
from tqdm import tqdm

import proxlab
from algorithms.stabilize import Quadratic
from imaging.blur import CircularBlur
from imaging.metrics import psnr, ssim
from imaging.noise import gaussian, poisson
from imaging.psf.generators import gaussian as gaussian_psf
from priors.base import available, find
from priors.checkpoint import load_network, read_provenance
from priors.deblurring import chain_of, recipe_behind
from priors.networks import multiply_adds
from proxlab.errors import UsageError
from proxlab.methods import load_method
from proxlab.receipt import file_digest

SIDE, WIDTH, PEAK = 256, 1.3, 255.0
LEVELS = (0.0, 0.01, 0.025, 0.05, 0.075)
WEIGHTS = (1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 1e-1)  # of the plain filter
SOURCES = ("imaging", "algorithms", "priors", "priors/networks", "proxlab", "proxlab/methods")
SLOW = ("tv", "pnp", "unrolled")  # half a minute and more for the seven conditions of a picture
CONDITIONS = [*(f"{level:g}" for level in LEVELS), "poisson", "wider"]
Reconstruct = Callable[[Any, torch.Tensor, str], torch.Tensor]  # operator told, data, condition


@dataclass(frozen=True)
class Row:
    """One line of the table: how it reconstructs, what it must be recomputed for, and facts about it."""

    name: str
    run: Reconstruct
    version: str
    facts: dict[str, Any]


def operator(width: float, size: tuple[int, int]) -> CircularBlur:
    """The periodic blur by the 11x11 Gaussian of this width."""
    psf = gaussian_psf(width)
    reach = psf.shape[0] // 2 - 5
    psf = psf[reach : psf.shape[0] - reach, reach : psf.shape[1] - reach]
    return CircularBlur(torch.from_numpy((psf / psf.sum()).astype(np.float32))[None, None], (1, *size))


def observed(truth: torch.Tensor, condition: str, name: str) -> torch.Tensor:
    """The data of a condition; the draw depends on picture and condition alone."""
    seed = zlib.crc32(f"{name} {condition}".encode())
    if condition == "wider":
        return operator(1.1 * WIDTH, truth.shape[-2:]).A(truth)
    y = operator(WIDTH, truth.shape[-2:]).A(truth)
    return poisson(y, PEAK, seed) if condition == "poisson" else gaussian(y, float(condition), seed)


def plain(op: Any, y: torch.Tensor, condition: str) -> torch.Tensor:
    return y


def filtered(op: Any, y: torch.Tensor, condition: str, *, weight: float) -> torch.Tensor:
    return Quadratic(weight, "identity", seed=0)(op, y)


def front(op: Any, y: torch.Tensor, condition: str, *, method: str) -> torch.Tensor:
    """A method of the front door, which estimates the level; counts pass for Gaussian where it must."""
    psf = torch.fft.irfft2(op.otf, s=y.shape[-2:])[0, 0].roll((5, 5), (0, 1))[:11, :11]
    counts = condition == "poisson" and "poisson" in load_method(method).supports.noises
    noise = f"poisson:{PEAK:g}" if counts else "gaussian"
    x, _ = proxlab.deblur(
        y[0, 0].numpy(), psf.double().numpy(), method=method, boundary="circular", noise=noise, device="cpu",
        data_range=1.0, return_info=True,
    )  # fmt: skip
    return torch.from_numpy(x)[None, None]


def applied(op: Any, y: torch.Tensor, condition: str, *, chain: Any) -> torch.Tensor:
    with torch.no_grad():
        return chain(op, y)


def network_row(path: Path) -> Row:
    """A row for a file of `proxlab train deblur`; its name says architecture, method and training noise."""
    network: Any = load_network(path)
    recipe = recipe_behind(network)
    if recipe is None:
        message = f"{path.name} was not trained by `proxlab train deblur`: leave it out."
        raise SystemExit(message)
    chain = chain_of(network)
    facts = findings.facts_of(network, recipe)
    facts |= {"multiply_adds": multiply_adds(network), "milliseconds": milliseconds(chain)}
    return Row(findings.label(facts), partial(applied, chain=chain), file_digest(path)[:8], facts)


def milliseconds(chain: Any) -> float:
    """Least processor time of three calls on a 256x256 picture, after a first one, pre-processor included."""
    op, y, times = operator(WIDTH, (SIDE, SIDE)), torch.rand(1, 1, SIDE, SIDE), []
    for _ in range(4):
        start = time.process_time()
        applied(op, y, "", chain=chain)
        times.append(time.process_time() - start)
    return round(1000 * min(times[1:]), 1)


def shipped() -> list[Path]:
    """The networks for one psf that come with the package."""
    files = [find(name) for name in available()]
    return [f for f in files if read_provenance(f).get("recipe", {}).get("kind") == "deblur"]


@cache
def our_code() -> str:
    return code_digest(ROOT.parent / folder for folder in SOURCES)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    yield Row("blurred", plain, "", {"kind": "input"})
    for weight in WEIGHTS:
        facts = {"kind": "filter", "weight": weight}
        yield Row(f"Tikhonov filter, weight {weight:g}", partial(filtered, weight=weight), our_code(), facts)
    for method in args.methods:
        slow = method in SLOW
        yield Row(method, partial(front, method=method), our_code(), {"kind": "method", "slow": slow})
    for path in [*shipped(), *args.networks]:
        yield network_row(path)


def judged(row: Row, truth: torch.Tensor, name: str) -> dict[str, Any]:
    """All conditions of one picture: PSNR, SSIM, distance to the truth; and the constants at noise 0.01."""
    record: dict[str, Any] = {}
    op, kept = operator(WIDTH, truth.shape[-2:]), {}
    for condition in CONDITIONS:
        y = observed(truth, condition, name)
        x = row.run(op, y, condition)
        kept[condition] = (y, x)
        alike = ssim(x, truth) if condition in ("0", "0.01") else 0.0  # takes longer than the network
        scores = [psnr(x, truth), alike, (x - truth).norm()]
        record[condition] = [round(float(s), 5) for s in scores]
    (y0, x0), (y1, x1) = kept["0"], kept["0.01"]
    record["gain"] = round(float((x1 - x0).norm() / (y1 - y0).norm()), 5)
    record["noise"] = round(float((y1 - y0).norm()), 5)
    return record


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One summary a row, in order."""
    file = ResultFile(args.out / f"stabilizers_{set_name(args.images)}.json")
    cases = {name: centre(pixels) for name, pixels in pictures(args.images, args.limit).items()}
    summaries = []
    for row in rows(args):
        records = []
        some = list(cases.items())[: args.few if row.facts.get("slow") else None]
        try:
            for name, truth in tqdm(some, desc=row.name, disable=None):
                wanted = {"picture": digest(truth.numpy()), "version": row.version}
                lasting = args.keep and row.facts["kind"] != "network"
                known = {"picture": wanted["picture"]} if lasting else wanted
                record = file.find(f"{row.name} | {name}", **known)
                if record is None:
                    record = {**wanted, **judged(row, truth, name)}
                    file.add(f"{row.name} | {name}", record)
                records.append(record)
        except UsageError as error:
            print(f"{row.name} is left out: {error}")
            continue
        summary = findings.summary(records, CONDITIONS)
        summaries.append({"name": row.name, **row.facts, **summary, "records": records})
    return summaries


def centre(pixels: np.ndarray) -> torch.Tensor:
    top, left = ((n - min(n, SIDE)) // 2 for n in pixels.shape)
    piece = pixels[top : top + SIDE, left : left + SIDE]
    return torch.from_numpy(np.ascontiguousarray(piece, np.float32))[None, None]


def report(rows: list[dict[str, Any]]) -> list[str]:
    """The tables and the answers; once more over the first pictures where some rows have seen fewer."""
    parts, some = [], any(row["kind"] == "network" for row in rows)
    same = tables.alike(rows, CONDITIONS)
    for part in [rows] if same[0]["pictures"] == rows[0]["pictures"] else [rows, same]:
        parts += [markdown(*tables.paper_form(part, CONDITIONS))] if some else []
        parts.append(markdown(*tables.table(part, CONDITIONS)))
    if some:
        parts += [markdown(*tables.costs(rows)), "\n".join(findings.answers(rows))]
    if any(row.get("lipschitz") for row in rows):
        parts.append(markdown(*tables.price_of_the_proof(rows)))
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder with the pictures, BSD68 for instance")
    parser.add_argument(
        "--networks", type=Path, nargs="*", default=[], help="more files of `proxlab train deblur`"
    )
    parser.add_argument("--methods", nargs="*", default=["tikhonov", "tv", "pnp", "unrolled"])
    parser.add_argument("--limit", type=int, default=68, help="how many pictures")
    parser.add_argument("--few", type=int, default=6, help=f"how many for {' and '.join(SLOW)}")
    parser.add_argument("--keep", action="store_true", help="records of filters and methods outlive the code")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = measure(args)
    text = "\n\n".join([*report(rows), circumstances(args.threads)])
    tables.draw(rows, tables.alike(rows, CONDITIONS), args.out / f"stabilizers_{set_name(args.images)}.png")
    print(text)
    write_text(args.out / f"stabilizers_{set_name(args.images)}.md", text + "\n")


if __name__ == "__main__":
    main()
