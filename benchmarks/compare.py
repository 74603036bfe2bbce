"""What got slower? Holds a result file against the committed one of the same name.

    python benchmarks/compare.py benchmarks/results/speed.json [NEW.json] [--against HEAD~5]

Figures named `seconds` and `cpu`, wherever they are in a record, are compared by key. A machine that is
slower as a whole moves all of them: what counts is the ratio to their median ratio. The noise is the median
absolute deviation of the logarithms; what lies more than --times of it above, and more than --least per cent,
is named, and the exit code is 1. Without NEW the file as it lies there is held against the committed one.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from common import markdown

TIMES = ("seconds", "cpu")
NORMAL = 1.4826  # standard deviations in a median absolute deviation


class Change(NamedTuple):
    """One figure: where it is, what it was and is, and the ratio beside what happened to all."""

    key: str
    before: float
    after: float
    relative: float


def figures(record: Any, path: tuple[str, ...] = (), *, timed: bool = False) -> Iterator[tuple[str, float]]:
    """The times in a record of any depth, by their path.

    >>> dict(figures({"a": {"seconds": {"ours": 2.0, "theirs": None}, "n": 3}}))
    {'a / seconds / ours': 2.0}
    """
    if isinstance(record, dict):
        for name, value in record.items():
            yield from figures(value, (*path, str(name)), timed=timed or name in TIMES)
    elif timed and isinstance(record, int | float) and not isinstance(record, bool) and record > 0:
        yield " / ".join(path), float(record)


def changes(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[Change], float, float]:
    """The figures of both, the ratio of the machines, and the noise of log ratios.

    Raises SystemExit where the two have no figure in common.
    """
    before, after = dict(figures(old)), dict(figures(new))
    shared = [key for key in before if key in after]
    if not shared:
        message = "the two files have no time in common: give the same benchmark's."
        raise SystemExit(message)
    logs = {key: math.log(after[key] / before[key]) for key in shared}
    middle = statistics.median(logs.values())
    noise = NORMAL * statistics.median(abs(value - middle) for value in logs.values())
    found = [Change(key, before[key], after[key], math.exp(logs[key] - middle)) for key in shared]
    return sorted(found, key=lambda c: -c.relative), math.exp(middle), noise


def slower(found: list[Change], noise: float, *, times: float, least: float) -> list[Change]:
    """Those that noise does not explain."""
    limit = max(times * noise, math.log1p(least / 100))
    return [change for change in found if math.log(change.relative) > limit]


def committed(path: Path, revision: str) -> dict[str, Any]:
    """The file as it was at a revision of the repository it lies in."""
    folder = path.resolve().parent
    command = ["git", "-C", str(folder), "show", f"{revision}:./{path.name}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{path} is not in {revision}: {done.stderr.strip()}"
        raise SystemExit(message)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("file", type=Path, help="the result file whose committed state is the measure")
    add("new", type=Path, nargs="?", help="another file to hold against it [the file itself]")
    add("--against", default="HEAD", metavar="REVISION", help="the state that counts [HEAD]")
    add("--times", type=float, default=4.0, help="of the noise, before something is named [4]")
    add("--least", type=float, default=10.0, help="per cent, below which nothing is named [10]")
    args = parser.parse_args()
    new = json.loads((args.new or args.file).read_text(encoding="utf-8"))
    found, machine, noise = changes(committed(args.file, args.against), new)
    named = slower(found, noise, times=args.times, least=args.least)
    print(f"{len(found)} times; all together {machine:.2f} times the old ones, noise {noise:.1%}.")
    if named:
        head = ["slower than noise explains", "before, s", "now, s", "beside the others"]
        rows = [[c.key, f"{c.before:.4g}", f"{c.after:.4g}", f"{c.relative:.2f}"] for c in named]
        print(markdown(head, rows))
    return 1 if named else 0


if __name__ == "__main__":
    raise SystemExit(main())
