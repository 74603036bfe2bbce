"""Writing files so that a reader never sees half of one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from imaging.files.errors import OutputExistsError, PictureError, PictureNotFoundError


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the file that a write to `path` would create; links are followed.

    Raises:
        OutputExistsError: `path` exists and `overwrite` is False.
        PictureNotFoundError: its folder does not exist.
        PictureError: `path` is a folder or no regular file.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        message = f"{path} is a folder, but a file was wanted: add a file name to it."
        raise PictureError(message)
    if not target.parent.is_dir():
        message = (
            f"{path} cannot be written because the folder {target.parent} does not exist: create it first."
        )
        raise PictureNotFoundError(message)
    if target.exists() and not target.is_file():
        message = f"{path} is a device or a pipe, but a regular file was wanted: choose another output."
        raise PictureError(message)
    if target.exists() and not overwrite:
        message = (
            f"{path} exists already: choose another output, or overwrite it (overwrite=True, --overwrite)."
        )
        raise OutputExistsError(message)
    return target


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing bytes and move it into place when the block ends well.

    If the block raises anything, KeyboardInterrupt included, the temporary file is removed and `path` stays
    what it was. An existing file keeps its permissions.

    Raises:
        OutputExistsError, PictureNotFoundError, PictureError: see `check_target`, before anything is written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "receipt.json") as stream:
    ...     _ = stream.write(b"{}")
    >>> [file.name for file in folder.iterdir()]
    ['receipt.json']
    """
    target = check_target(path, overwrite=overwrite)
    # A short name of our own: the target's may already be as long as the file system allows.
    part = target.parent / f".{target.name[:40]}-{secrets.token_hex(6)}.part"
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if mode is not None:
            os.chmod(part, mode)
        check_target(path, overwrite=overwrite)  # somebody else may have written it meanwhile
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
