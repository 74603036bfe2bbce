"""Does the attack find what is known, does it find more than chance, and whom should one trust?

    python benchmarks/stability.py known
    python benchmarks/stability.py networks --images DIR [--networks FILE...]
    python benchmarks/stability.py quick --images DIR [--minutes M ...] [--folder KEPT] [--cpu]
    python benchmarks/stability.py table --images DIR --methods A B ... [--folder KEPT] [--cpu]

known: linear reconstructors, whose worst gain is their largest singular value and whose gain under white
noise is the root mean square of all, and two reconstructors made to deceive. networks: the worst error that
the attack finds for networks of one psf beside what random noise of the same norm does, which is the
estimator of their paper. quick: `proxlab robustness --quick` with four methods on eight pictures, its plan
beside the clock. table: every method at noise of 0, 1, 3 and 8 % of the data. --cpu measures seconds of the
processor on one thread instead of the wall's, for a machine that has other things to do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from common import RESULTS, circumstances, markdown, pictures, set_name, write_text
from stability_networks import BUDGETS, networks
from torch import Tensor

from algorithms import sanity
from algorithms.attack import Effort, Threat, search, worst_case
from algorithms.choose import evidence_weight
from algorithms.linearise import by_autograd
from algorithms.lipschitz import local_lipschitz
from algorithms.stability import measure, rms_gain
from algorithms.stabilize import ConjugateGradients, GaussianFilter, Quadratic
from imaging.blur import CircularBlur
from imaging.fft import half_weights
from imaging.psf.text import parse_psf

PSFS = {"gaussian 1.3": "gaussian:1.3", "motion 9": "motion:9@30", "disk 3": "disk:3", "shake": "shake:0"}
SIDE, DENSE, ITERATIONS, DRAWS = 64, 24, 50, 40
WEIGHTS = (1e-4, 1e-2)
Reconstruct = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Linear:
    """A reconstructor on small pictures whose singular values are known."""

    name: str
    op: Any
    run: Reconstruct
    singular: Tensor  # with multiplicity
    radius: float = 1.0


def grey(size: int, count: int = 1) -> Tensor:
    """The middle of scikit-image's photographs, (count, 1, size, size), every second pixel."""
    cut = [p[::2, ::2] for p in pictures(None, count).values()]
    parts = [
        p[(n := p.shape[0] // 2 - size // 2) : n + size, (m := p.shape[1] // 2 - size // 2) : m + size]
        for p in cut
    ]
    return torch.stack([torch.from_numpy(p.copy())[None] for p in parts])


def operator(text: str, size: int) -> CircularBlur:
    """A periodic blur in float64."""
    return CircularBlur(torch.from_numpy(parse_psf(text))[None, None], (1, size, size))


def linear_cases() -> Iterator[Linear]:
    """Every filter for every psf; CGLS, which follows the data, by its whole Jacobian at a picture."""
    x = grey(SIDE)
    for name, text in PSFS.items():
        op = operator(text, SIDE)
        y = op.A(x)
        weights = [
            (f"tikhonov {p} {w:g}", Quadratic(w, p, 0)) for p in ("gradient", "identity") for w in WEIGHTS
        ]
        c = evidence_weight(op, y + 0.01 * torch.randn(y.shape, dtype=y.dtype), sigma=0.01)
        weights.append(("wiener 0.01", Quadratic(0.01**2 / c.value, "gradient", 0)))
        weights.append(("gaussian filter", GaussianFilter(1.0)))
        for label, run in weights:
            gains = run.response(op, y).abs()
            counted = gains.square() * half_weights(SIDE, gains)
            yield Linear(
                f"{label}, {name}", op, run, torch.stack([gains.max(), (counted.sum() / SIDE**2).sqrt()])
            )
        if max(parse_psf(text).shape) > DENSE:
            continue
        small = operator(text, DENSE)
        for steps in (2, 3):
            run = ConjugateGradients(1e-4, steps)
            values = torch.linalg.svdvals(dense_jacobian(run, small, small.A(grey(DENSE))))
            exact = torch.stack([values[0], values.square().mean().sqrt()])
            yield Linear(f"cgls {steps} steps, {name}", small, run, exact, radius=1e-4)


def dense_jacobian(run: Reconstruct, op: Any, y: Tensor) -> Tensor:
    """Entry by entry, from central differences in all directions at once."""
    steps = 1e-6 * torch.eye(y.numel(), dtype=y.dtype).view(-1, *y.shape[1:])
    return ((run(op, y + steps) - run(op, y - steps)) / 2e-6).flatten(1)


def known() -> str:
    """The table of closed forms, and the two that deceive."""
    rows, worst, rms = [], [], []
    for case in linear_cases():
        side = case.op.img_size[-1]
        y = case.op.A(grey(side))
        radius = torch.full((1,), case.radius, dtype=torch.float64)
        found = local_lipschitz(
            by_autograd(case.run, case.op), y, radius=radius, effort=Effort(ITERATIONS, 1, seed=0)
        )
        noises = [case.radius / side * torch.randn(y.shape, dtype=y.dtype) for _ in range(DRAWS)]
        gain = rms_gain(measure(case.run, case.op, grey(side), y, noises))
        largest, mean = case.singular.tolist()
        worst.append(float(found.value) / largest - 1)
        rms.append(gain / mean - 1)
        numbers = (largest, float(found.value), mean, gain)
        rows.append([case.name, *(f"{v:.4g}" for v in numbers), f"{worst[-1]:+.2%}", f"{rms[-1]:+.2%}"])
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    head = ["reconstructor, psf", "largest singular value", "found", "rms of all", "measured", "worst", "rms"]
    text = (
        f"{len(rows)} cases, {ITERATIONS} iterations each: the worst gain found is {min(worst):+.2%} to "
        f"{max(worst):+.2%} off the largest singular value, the gain under white noise ({DRAWS} draws) "
        f"{min(rms):+.2%} to {max(rms):+.2%} off its closed form."
    )
    return f"{markdown(head, rows)}\n\n{text}\n\n{controls()}"


def controls() -> str:
    """Which flags an honest, a masked and a random reconstructor raise."""
    op = operator("gaussian:1.3", SIDE)
    x = grey(SIDE)
    y, honest = op.A(x), Quadratic(1e-3, "gradient", 0)
    generator = torch.Generator().manual_seed(0)
    cases: dict[str, Reconstruct] = {
        "tikhonov": honest,
        "the same, rounded to 8 bits (gradient masked)": lambda op, v: (255 * honest(op, v)).round() / 255,
        "the same, answering at random": lambda op, v: (
            honest(op, v) + 0.01 * torch.randn(v.shape, generator=generator, dtype=v.dtype)
        ),
    }
    rows = []
    for name, run in cases.items():
        at, threat = by_autograd(run, op), Threat("l2", torch.tensor([0.03 * float(y.norm())], dtype=y.dtype))
        found = worst_case(at, y, x, threat, Effort(30, 1, seed=0))
        rival = search(lambda v, r=run: r(op, v), y, x, threat, Effort(60, 1, seed=0))
        flags = [
            sanity.check_repeats(lambda v, r=run: r(op, v), y),
            sanity.check_gradient(at, y, x),
            sanity.check_derivative(at, lambda v, r=run: r(op, v), y, x),
            *sanity.check_rivals(found, {"a search without gradients": rival.error}),
        ]
        rows.append([name, ", ".join(f"{f.name} ({f.level})" for f in flags if f) or "none"])
    return markdown(["negative controls", "flags"], rows)


@contextmanager
def clock(cpu: bool) -> Iterator[None]:
    """Seconds of the processor instead of the wall's, on one thread, for everything inside."""
    if not cpu:
        yield
        return
    torch.set_num_threads(1)
    with patch("time.perf_counter", time.process_time):
        yield


def quick(args: argparse.Namespace) -> str:
    """Plan and clock of --quick, and of a study cut to fit."""
    from proxlab import robustness
    from proxlab.trials.protocol import QUICK

    rows, sizes = [], {"side": args.side or QUICK.side}
    for minutes in args.minutes:
        name = "--quick" if minutes == 0 else f"--standard --minutes {minutes:g}"
        with clock(args.cpu), tempfile.TemporaryDirectory() as aside:
            folder = args.folder / f"minutes-{minutes:g}" if args.folder else aside
            start = time.perf_counter()
            record = robustness(
                ["tv", "pnp", "unrolled", "stnn"], args.images, "gaussian:1.3", out=folder, say=print,
                protocol="standard" if minutes else "quick", minutes=minutes or None, sizes=sizes,
                device="cpu", cluster=args.cluster,
            )  # fmt: skip
            real = time.perf_counter() - start
        p, work = record["protocol"], record["seconds_of_work"]
        size = f"{p['pictures']} pictures of {p['side']}x{p['side']}, {p['attacked']} attacked, "
        size += f"{p['iterations']} iterations, budgets {', '.join(f'{b:g}' for b in p['attack_levels'])}"
        planned = record["seconds_expected"]
        cells = [f"{v:.0f}" for v in (planned, work, real)]
        name += f" --cluster {args.cluster}" if args.cluster else ""
        rows.append([name, size, *cells, f"{planned / work:.2f}", "; ".join(record["cuts"]) or "nothing"])
    unit = "processor seconds of one thread" if args.cpu else "seconds"
    head = ["study", "size", f"planned, {unit}", "taken", "with preparation", "planned / taken", "cut"]
    return f"{markdown(head, rows)}\n\n{circumstances(torch.get_num_threads())}"


def table(args: argparse.Namespace) -> str:
    """All methods at four budgets."""
    from proxlab import robustness

    sizes = {
        "levels": (0.0, *BUDGETS), "attack_levels": BUDGETS, "pictures": args.limit, "attacked": args.limit,
        "side": args.side or 128, "draws": 3, "iterations": args.iterations, "boxes": (), "shifted": 0,
        "detailed": 0, "lipschitz": 0, "minutes": None,
    }  # fmt: skip
    with clock(args.cpu):
        record = robustness(
            args.methods,
            args.images,
            "gaussian:1.3",
            sizes=sizes,
            out=args.folder,
            resume=True,
            say=print,
            device="cpu",
        )
    rows = []
    for name, curve in record["curves"].items():
        flags = {f["name"] for f in record["flags"] if f["method"] == name and f["level"] == "error"}
        cells = [f"{100 * curve[0]['clean']['mean']:.1f}"]
        for e in curve[1:]:
            cells += [
                f"{100 * e['random']['mean']:.1f}",
                f"{100 * e['worst']['mean']:.1f}",
                f"{e['ratio']['mean']:.2f}",
            ]
        rows.append([name, *cells, ", ".join(sorted(flags)) or ""])
    rows.sort(key=lambda row: float(row[2 + 3 * BUDGETS.index(0.03) + 1]))
    head = ["method", "0 %"]
    head += [f"{100 * b:g} %: {what}" for b in BUDGETS for what in ("random", "worst", "ratio")]
    head += ["flags"]
    gradients = ", ".join(f"{m['name']}: {m['gradient']}" for m in record["methods"])
    text = (
        f"Relative errors in per cent, sorted by the worst at 3 %; {len(record['pictures'])} pictures of "
        f"{sizes['side']}x{sizes['side']}, psf gaussian:1.3, unknown borders, {args.iterations} iterations, "
        f"3 draws of random noise. Gradients: {gradients}. {circumstances(torch.get_num_threads())}"
    )
    return f"{markdown(head, rows)}\n\n{text}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("part", choices=("known", "networks", "quick", "table"))
    add("--images", type=Path, help="folder of pictures")
    add("--networks", nargs="+", default=[], help="files or names for one psf [all that ship]")
    add("--methods", nargs="+", default=["pnp"], help="methods, networks, files")
    add("--limit", type=int, default=4, help="pictures")
    add("--side", type=int, help="pixels a side [256 for quick, else 128]")
    add("--iterations", type=int, default=30)
    add("--draws", type=int, default=20)
    add("--minutes", type=float, nargs="+", default=[0.0], help="studies of this length; 0 is --quick")
    add("--folder", type=Path, help="where reports and units of work are kept")
    add("--cluster", metavar="local:N", help="workers for quick [this process alone]")
    add("--cpu", action="store_true", help="processor seconds on one thread")
    add("--out", type=Path, default=RESULTS, help="folder of the result tables")
    args = parser.parse_args()
    torch.manual_seed(0)
    parts = {"known": lambda _: known(), "networks": networks, "quick": quick, "table": table}
    text = parts[args.part](args)
    print(text)
    suffix = "" if args.images is None else f"_{set_name(args.images)}"
    write_text(args.out / f"stability_{args.part}{suffix}.md", text + "\n")


if __name__ == "__main__":
    main()
