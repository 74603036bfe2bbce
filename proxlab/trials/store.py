"""Results kept as they come: a small file for each unit of work, so that an interruption loses one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imaging.files.atomic import atomic_write
from proxlab.job import plain_json


class Store:
    """Units of one study in a folder. A unit is trusted only if it was made from the same inputs."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder, self.resume = folder, resume
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: tuple[str, ...], inputs: Any, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The unit of that key: from its file if it was made from these inputs, else by working.

        work returns JSON values, and under "pictures" arrays, which are kept in a file beside.
        """
        name, mark = _name(key), _mark(key, inputs)
        path = self.folder / f"{name}.json"
        if self.resume and path.exists():
            record: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if record.get("inputs") == mark:
                return record
        result = dict(work())
        pictures = result.pop("pictures", None)
        record = {"key": list(key), "inputs": mark, **plain_json(result)}
        if pictures:
            with atomic_write(self.folder / f"{name}.npz", overwrite=True) as stream:
                np.savez_compressed(stream, **pictures)
            record["pictures"] = f"{name}.npz"
        with atomic_write(path, overwrite=True) as stream:
            stream.write(json.dumps(record).encode())
        return record

    def done(self, key: tuple[str, ...], inputs: Any) -> bool:
        """Is this unit there already?"""
        path = self.folder / f"{_name(key)}.json"
        if not (self.resume and path.exists()):
            return False
        return json.loads(path.read_text("utf-8")).get("inputs") == _mark(key, inputs)

    def pictures(self, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The arrays of a unit."""
        with np.load(self.folder / record["pictures"]) as arrays:
            return {name: arrays[name] for name in arrays.files}


def seed_of(seed: int, *key: object) -> int:
    """A seed for one unit, whatever else is run: 31 bits of a hash.

    >>> seed_of(0, "noise", 1) == seed_of(0, "noise", 1) != seed_of(1, "noise", 1)
    True
    """
    return int.from_bytes(hashlib.sha256(repr((seed, *key)).encode()).digest()[:4], "little") >> 1


def _name(key: tuple[str, ...]) -> str:
    plain = "_".join(re.sub(r"[^A-Za-z0-9.+-]+", "-", part)[:40] for part in key)
    return f"{plain}_{hashlib.sha256(repr(key).encode()).hexdigest()[:8]}"


def _mark(key: tuple[str, ...], inputs: Any) -> str:
    return hashlib.sha256(repr((key, plain_json(inputs))).encode()).hexdigest()[:16]
