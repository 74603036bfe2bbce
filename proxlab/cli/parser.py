"""The parser of the command line: light to build, defaults all None, mistakes answered."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any

VERBS = ("deblur", "denoise", "psf", "noise", "train", "prior", "robustness", "replay", "info")
EXIT_CODES = """exit codes:
  0 all done; 1 anything else, or a replay that differs; 2 usage; 3 unreadable input or psf; 4 not enough
  memory; 5 no convergence (the last good result is written unless --strict); 6 some of several inputs
  failed"""


class _Version(argparse.Action):
    """Look the version up only when asked: reading metadata takes longer than all the rest of --help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        import proxlab

        print(f"proxlab {proxlab.__version__}")
        parser.exit(0)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all verbs."""
    parser = argparse.ArgumentParser(
        prog="proxlab",
        description="Deblur photographs: files in, files out, and a receipt of what was done.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for verb in VERBS:
        import_module(f"proxlab.cli.{verb}").add_parser(verbs)
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; a flag nobody knows ends with usage, the nearest flag and exit code 2."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if args.verb is None:
        parser.error(f"no verb was given: name one of {', '.join(VERBS)}.")
    if rest:
        verb = _subparser(parser, args.verb)
        verb.error(f"unrecognized arguments: {' '.join(rest)}{_hint(rest, verb)}")
    return args


def _hint(rest: Sequence[str], verb: argparse.ArgumentParser) -> str:
    from difflib import get_close_matches

    flags = list(verb._option_string_actions)  # argparse offers no public list of its flags
    hints = {word: get_close_matches(word.split("=")[0], flags, n=1) for word in rest if word.startswith("-")}
    texts = [f"{word} is perhaps {near[0]}" for word, near in hints.items() if near]
    return f" ({', '.join(texts)})" if texts else ""


def _subparser(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    actions: list[Any] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    chosen: argparse.ArgumentParser = actions[0].choices[verb]
    return chosen


def pair(text: str) -> tuple[int, int]:
    """Two whole numbers "R,C"."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is not a row and a column, write R,C such as 120,64"
        raise argparse.ArgumentTypeError(message) from None
    return first, second


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is printed."""
    parser.add_argument("--json", action="store_true", default=None, help="print records as JSON, one a line")
    parser.add_argument("--verbose", action="store_true", default=None, help="tell more; show tracebacks")
    parser.add_argument("--quiet", action="store_true", default=None, help="print errors only")
