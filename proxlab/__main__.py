"""`proxlab VERB ...`: parse, run the verb, return its exit code."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for what a user can do wrong.

    >>> main(["deblur", "--help"])  # doctest: +ELLIPSIS
    usage: proxlab deblur ...
    0
    """
    from proxlab.cli.console import Console
    from proxlab.cli.parser import parse

    try:
        args = parse(argv)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else 2
    try:
        code: int = args.run(args)
    except KeyboardInterrupt:
        print("proxlab: interrupted, nothing half-written.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has had enough
        sys.stderr.close()
        return 1
    except Exception as error:
        verbose = bool(getattr(args, "verbose", False))
        return Console(json=False, quiet=False, verbose=verbose).fail(error)
    return code


def command() -> NoReturn:
    """`main` as a process, which then ends at once.

    Taking apart what torch has loaded takes as long as a small picture, and 140 MB that no plan of memory
    knows of; the system does it for nothing. What was registered for the end is done before.
    """
    code = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has gone
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    command()
