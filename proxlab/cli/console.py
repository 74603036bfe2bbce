"""What the command prints: data to stdout, narration to stderr, errors as one sentence with an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Console:
    """Where the words go; built from the flags --json, --quiet and --verbose."""

    json: bool
    quiet: bool
    verbose: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> Console:
        """The console that the flags ask for."""
        return cls(bool(args.json), bool(args.quiet), bool(args.verbose))

    def data(self, text: str, record: Mapping[str, Any]) -> None:
        """Print a result: the text, or the record as one line of JSON."""
        print(json.dumps(record, ensure_ascii=False) if self.json else text, flush=True)

    def say(self, text: str) -> None:
        """Tell what happens."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def detail(self, text: str) -> None:
        """Tell what only --verbose wants."""
        if self.verbose and not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def fail(self, error: BaseException, about: str = "") -> int:
        """Say what went wrong in one sentence and return its exit code."""
        from proxlab.errors import ProxlabError

        text = f"{error}" or type(error).__name__
        if about and not text.startswith(about):
            text = f"{about}: {text}"
        code = exit_code(error)
        if self.verbose:
            import traceback

            traceback.print_exception(error)
        elif code == 1 and not isinstance(error, ProxlabError):
            text = f"{type(error).__name__}: {text} (--verbose shows where)"
        print(f"proxlab: error: {text}", file=sys.stderr, flush=True)
        return code


def exit_code(error: BaseException) -> int:
    """The exit code of an error, wherever it comes from.

    >>> exit_code(MemoryError()), exit_code(KeyError("x"))
    (4, 1)
    """
    from imaging.files.errors import OutputExistsError, PictureError
    from imaging.psf.errors import PsfError
    from proxlab.errors import ProxlabError

    if isinstance(error, ProxlabError):
        return error.exit_code
    if isinstance(error, OutputExistsError):
        return 2
    if isinstance(error, PictureError | PsfError):
        return 3
    return 4 if isinstance(error, MemoryError) else 1
