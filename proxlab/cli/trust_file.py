"""`proxlab deblur --trust FILE`: how far the result can be believed, as a figure or as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from proxlab.errors import UsageError

if TYPE_CHECKING:
    from proxlab.cli.console import Console
    from proxlab.cli.outputs import Target
    from proxlab.pictures import Work

DRAWS = 5
SUFFIXES = (".png", ".pdf", ".svg", ".npz")
HELP = (
    f"also write a trust map of the one input ({', '.join(SUFFIXES)}): residual / noise, share of the detail "
    f"that the data could not determine, spread under new noise and jittered psfs; runs {2 * DRAWS + 1} times"
)


def check_trust(path: str, targets: list[Target], work: Work, *, overwrite: bool) -> Path:
    """The file to write, once it is certain that it can be; raises UsageError for what has no map."""
    from imaging.files.atomic import check_target

    found = Path(path)
    if found.suffix.lower() not in SUFFIXES:
        message = f"--trust {path}: the map is written as {', '.join(SUFFIXES)}: give one of these endings."
        raise UsageError(message)
    if len(targets) > 1:
        message = f"--trust {path} is one file but there are {len(targets)} inputs: name one picture."
        raise UsageError(message)
    if work.roi is not None:
        message = "--trust maps whole pictures: leave --roi out, or cut the picture first."
        raise UsageError(message)
    if found.resolve() in (targets[0].result.resolve(), targets[0].receipt.resolve()):
        message = f"--trust {path} would replace the result: give it a name of its own."
        raise UsageError(message)
    check_target(found, overwrite=overwrite)
    return found


def write_trust(path: Path, target: Target, work: Work, console: Console, *, overwrite: bool) -> None:
    """Map the first page of the picture."""
    from imaging.files.picture import read_picture
    from proxlab.pictures import without_grey_alpha
    from proxlab.trust_maps import draw_trust, map_trust

    picture = read_picture(target.source)
    if picture.pages:
        console.say("the trust map is that of the first page.")
    page, _ = without_grey_alpha(picture.frames()[0])
    found = map_trust(work.request, page, work.psf, work.mask, draws=DRAWS, say=console.detail)
    draw_trust(found, path, overwrite=overwrite)
    numbers = found.summary()
    text = ", ".join(f"{name.replace('_', ' ')} {v:.3g}" for name, v in numbers.items() if v is not None)
    console.say(f"{target.source} -> {path}: {text}")
    console.data(str(path), {"source": str(target.source), "trust": str(path), **numbers})
