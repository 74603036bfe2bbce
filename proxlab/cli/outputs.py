"""Which file comes from which: names of results and receipts, settled before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxlab.errors import UsageError

SUFFIX = "_deblurred"
SUFFIXES = (SUFFIX, "_denoised")  # of the results of every verb


@dataclass(frozen=True)
class Target:
    """One picture to read, the file its result goes to, and the receipt beside that."""

    source: Path
    result: Path
    receipt: Path


def find_sources(inputs: Sequence[str], tools: Collection[Path] = ()) -> tuple[list[Path], int]:
    """The pictures that were named, and how many files of folders and patterns were passed over.

    Passed over, unless named one by one, are results of earlier runs and the tools of this one: its psf and
    mask.
    """
    from imaging.files.inputs import expand_inputs

    named = {Path(item) for item in inputs}
    kept_out = {path.resolve() for path in tools}
    found = expand_inputs(inputs)
    fresh = [
        path
        for path in found
        if path in named or not (path.stem.endswith(SUFFIXES) or path.resolve() in kept_out)
    ]
    if not fresh:
        message = (
            f"{' '.join(inputs)}: there are only results ({' or '.join(SUFFIXES)}) of earlier runs: "
            "name them one by one."
        )
        raise UsageError(message)
    return fresh, len(found) - len(fresh)


def plan_targets(sources: Sequence[Path], output: str | None, *, suffix: str = SUFFIX) -> list[Target]:
    """A result and a receipt for every source; raises UsageError when two would be the same file.

    `output` is a folder (existing, or ending in a separator, or wanted by several sources), or the file of a
    single source. Without it the result lies beside its source with `suffix`, as name_deblurred.ext with
    name_deblurred.json.
    """
    results = _results(sources, output, suffix)
    for source, result in zip(sources, results, strict=True):
        if source.resolve() == result.resolve():
            message = f"{result} would replace its own input: choose another output."
            raise UsageError(message)
    twice = [path for path, n in Counter(results).items() if n > 1]
    if twice:
        culprits = ", ".join(str(s) for s, r in zip(sources, results, strict=True) if r == twice[0])
        message = f"{culprits} would all be written to {twice[0]}: give them different names or folders."
        raise UsageError(message)
    targets = [
        Target(source, result, result.with_suffix(".json"))
        for source, result in zip(sources, results, strict=True)
    ]
    receipts = Counter(target.receipt for target in targets)
    return [  # photo.jpg and photo.png side by side share a stem
        replace(t, receipt=t.result.with_name(t.result.name + ".json")) if receipts[t.receipt] > 1 else t
        for t in targets
    ]


def _results(sources: Sequence[Path], output: str | None, suffix: str) -> list[Path]:
    if output is None:
        return [source.with_name(f"{source.stem}{suffix}{source.suffix}") for source in sources]
    path = Path(output)
    folder = path.is_dir() and path.suffix.lower() != ".zarr"  # which is a picture
    if folder or output.endswith(("/", "\\")) or (len(sources) > 1 and not path.suffix):
        return [path / f"{source.stem}{suffix}{source.suffix}" for source in sources]
    if len(sources) > 1:
        message = (
            f"{output} is one file but there are {len(sources)} inputs: give a folder, ending in a slash."
        )
        raise UsageError(message)
    return [path]
