"""What starting costs: user time of `import proxlab` and of `proxlab --help`, interpreter included.

    python benchmarks/import_time.py [--runs N] [--slack FACTOR]

Prints minimum and median of several fresh processes; ends with 1 when a minimum is above its ceiling.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median

CEILINGS = {  # seconds of user time
    "import proxlab": (["-c", "import proxlab"], 0.15),
    "proxlab --help": (["-m", "proxlab", "--help"], 0.30),
}
HEAVY = ("numpy", "torch", "deepinv", "scipy", "matplotlib", "skimage", "tqdm")


def user_time(arguments: list[str]) -> float:
    """Seconds of user time of one fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def loaded_by_help() -> list[str]:
    """Which heavy packages `proxlab --help` imports: none, if all is well."""
    code = (
        "import sys; from proxlab.__main__ import main; main(['deblur', '--help']); main(['--help']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names: list[str] = [name.strip("'\" ") for name in done.stderr.strip()[1:-1].split(",")]
    return [name for name in names if name]


def measure(runs: int) -> dict[str, tuple[float, float]]:
    """(minimum, median) of the user time of each command."""
    found = {}
    for name, (arguments, _) in CEILINGS.items():
        times = [user_time(arguments) for _ in range(runs)]
        found[name] = min(times), median(times)
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, help="fresh processes a command")
    parser.add_argument("--slack", type=float, default=1.0, help="multiplies the ceilings, for slow machines")
    args = parser.parse_args(argv)
    late = 0
    print(f"{'':16} {'minimum':>9} {'median':>9} {'ceiling':>9}   seconds of user time, {args.runs} runs")
    for name, (least, middle) in measure(args.runs).items():
        ceiling = CEILINGS[name][1] * args.slack
        late += least > ceiling
        print(
            f"{name:16} {least:9.3f} {middle:9.3f} {ceiling:9.3f}   {'TOO SLOW' if least > ceiling else 'ok'}"
        )
    heavy = loaded_by_help()
    print(f"heavy packages loaded by --help: {', '.join(heavy) or 'none'}")
    return int(bool(late or heavy))


if __name__ == "__main__":
    sys.exit(main())
