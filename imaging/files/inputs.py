"""From what was typed (files, folders, patterns) to a list of picture files."""

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from imaging.files.errors import PictureError, PictureNotFoundError
from imaging.files.formats import EXTENSIONS


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a sort key under which img2 comes before img10."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def expand_inputs(inputs: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the picture files that files, folders and glob patterns name, each once, in the order given.

    A file is taken whatever its name, and so is a folder that is called .zarr, a picture in itself. Other
    folders (not their subfolders) and patterns give the files with a known extension that are not hidden, in
    natural order. A name that exists is never read as a pattern.

    Raises:
        PictureNotFoundError: a file is missing, a pattern matches no picture.
        PictureError: a folder holds no picture, or nothing was given.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b10.png", "b2.png", "notes.txt"):
    ...     (folder / name).touch()
    >>> [path.name for path in expand_inputs([folder])]
    ['b2.png', 'b10.png']
    """
    found: dict[Path, None] = {}
    for item in inputs:
        for path in _expand(os.fspath(item)):
            found.setdefault(path)
    if not found:
        message = "no input was given: name at least one picture, folder or pattern."
        raise PictureError(message)
    return list(found)


def _expand(item: str) -> list[Path]:
    path = Path(item)
    if path.is_dir() and path.suffix.lower() != ".zarr":
        return _of_folder(path)
    if path.exists():
        return [path]
    if not glob.has_magic(item):
        message = f"{item} does not exist: check the name and the folder it should be in."
        raise PictureNotFoundError(message)
    matches = _pictures(Path(match) for match in glob.glob(item, recursive=True))
    if not matches:
        message = f"the pattern {item} matches no picture ({_known()}): check it, or name a folder."
        raise PictureNotFoundError(message)
    return matches


def _of_folder(folder: Path) -> list[Path]:
    pictures = _pictures(folder.iterdir())
    if not pictures:
        message = f"the folder {folder} holds no picture ({_known()}): name another folder or the files."
        raise PictureError(message)
    return pictures


def _pictures(paths: Iterable[Path]) -> list[Path]:
    kept = (p for p in paths if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file())
    return sorted(kept, key=natural_key)


def _known() -> str:
    return ", ".join(sorted(EXTENSIONS))
