"""Many pictures: what was done before is known, and how each ended is written down."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxlab.denoising import prior_file
from proxlab.errors import InputError
from proxlab.job import plain_json
from proxlab.receipt import beside, file_digest, psf_file, read_receipt

if TYPE_CHECKING:
    from proxlab.cli.outputs import Target
    from proxlab.pictures import Work

SUMMARY = "summary.json"
WHERE = ("max_memory", "device", "cluster", "tile")  # options that say where and how, not what


def done_before(target: Target, work: Work) -> bool:
    """Whether result and receipt are there, of the same pixels and the same work, and unchanged since."""
    if not (target.result.exists() and target.receipt.is_file()):
        return False
    try:
        record = read_receipt(target.receipt)
        files = record["files"]
        same = record["verb"] == work.verb and record["roi"] == work.roi and _options(record) == _asked(work)
        psf = psf_file(work.psf) if work.psf else None
        named = work.psf if psf is None else beside(psf, target.receipt) + work.psf[len(str(psf)) :]
        same = same and record["psf"] == named
        prior = prior_file(work.request.prior)
        known = work.request.prior if prior is None else beside(prior, target.receipt)
        same = same and record["prior"] == known
        given = {"psf": psf, "prior": prior}
        tools = {"source": target.source, "output": target.result}
        tools |= {name: path for name, path in given.items() if path is not None}
        return same and all(file_digest(path) == files.get(name) for name, path in tools.items())
    except (InputError, KeyError, OSError):
        return False


def _options(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record["options"].items() if name not in WHERE}


def _asked(work: Work) -> dict[str, Any]:
    given = {name: value for name, value in work.request.as_dict().items() if name != "prior"}
    plain: dict[str, Any] = plain_json({n: v for n, v in given.items() if n not in WHERE})
    return plain


@dataclass(frozen=True)
class Summary:
    """One line a picture, written as one JSON file beside the results; path None keeps it nowhere."""

    path: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, target: Target, code: int, *, said: str, info: dict[str, Any] | None = None) -> None:
        """How one picture ended: its exit code, a word or the error, and what its record holds of use."""
        row: dict[str, Any] = {"source": str(target.source), "exit": code, "end": said}
        if info is not None:
            kept = ("method", "sigma", "lam", "num_iter", "status", "residual", "seconds", "warnings")
            row |= {"result": str(target.result), **{name: info[name] for name in kept}}
        self.rows.append(row)

    def write(self) -> None:
        """Replace the file of an earlier run, unless nothing at all was done in this one."""
        if self.path is None:
            return
        from imaging.files.atomic import atomic_write

        failed = sum(row["exit"] != 0 for row in self.rows)
        if failed == len(self.rows) and self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = {"pictures": len(self.rows), "failed": failed, "each": self.rows}
        text = json.dumps(plain_json(record), indent=1, ensure_ascii=False, allow_nan=False)
        with atomic_write(self.path, overwrite=True) as stream:
            stream.write(text.encode() + b"\n")


def summary_of(targets: list[Target], output: str | None) -> Summary:
    """A summary in the folder that was named for the results of several pictures, else none."""
    folder = Path(output) if output and len(targets) > 1 else None
    return Summary(None if folder is None else folder / SUMMARY)
