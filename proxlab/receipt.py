"""Receipts: the record of a run beside its result, enough to do it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxlab.errors import InputError

SCHEMA = "proxlab receipt 1"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; of the names and bytes of all files in a folder, such as a zarr."""
    sha = hashlib.sha256()
    inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for each in inside:
        if each != path:
            sha.update(each.relative_to(path).as_posix().encode() + b"\0")
        with each.open("rb") as file:
            while part := file.read(1 << 22):
                sha.update(part)
    return sha.hexdigest()


def psf_file(text: str) -> Path | None:
    """The file that a psf text names ("k.npy", "k.mat:psf"), or None for a generated psf.

    >>> psf_file("gaussian:2") is None
    True
    """
    from imaging.psf.text import GRAMMAR

    if text.partition(":")[0].strip().lower() in GRAMMAR:
        return None
    matlab = text.rpartition(":")[0]
    if not os.path.isfile(text) and matlab.lower().endswith(".mat"):
        text = matlab
    return Path(text) if os.path.isfile(text) else None


def beside(path: Path, receipt: Path) -> str:
    """The path as it is written in a receipt: relative to the receipt's folder, so that both can move
    together.
    """
    try:
        return Path(os.path.relpath(path.resolve(), receipt.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def write_receipt(path: Path, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write a record as JSON, in one move."""
    from imaging.files.atomic import atomic_write
    from proxlab.job import plain_json

    text = json.dumps(plain_json({"schema": SCHEMA, **record}), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_write(path, overwrite=overwrite) as stream:
        stream.write(text.encode() + b"\n")


def read_receipt(path: Path) -> dict[str, Any]:
    """Read a receipt; raises InputError for a file that is none."""
    if path.is_dir():
        message = f"{path} is a folder, but a receipt (a .json file) was wanted: name the file in it."
        raise InputError(message)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        message = f"{path} does not exist: name the .json file that was written beside a result."
        raise InputError(message) from cause
    except (OSError, ValueError) as cause:
        message = (
            f"{path} cannot be read as a receipt ({cause}): name the .json file written beside a result."
        )
        raise InputError(message) from cause
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        message = f"{path} is not a receipt of this program: name the .json file written beside a result."
        raise InputError(message)
    return record
