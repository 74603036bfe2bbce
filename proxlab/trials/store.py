"""Results kept as they come: a small file for each unit of work, so that an interruption loses one."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imaging.files.atomic import atomic_write
from proxlab.job import plain_json

CODE = "another version of proxlab, its weights or its libraries"
INPUTS = "another choice of pictures, methods or sizes"


class Store:
    """Units of one study in a folder: trusted only if the same code made them from the same inputs.

    code: a digest of whatever computes the numbers.
    """

    def __init__(self, folder: Path, *, resume: bool, code: str) -> None:
        self.folder, self.resume, self.code = folder, resume, code
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: tuple[str, ...], inputs: Any, work: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The unit of that key: from its file if this code made it from these inputs, else by working.

        work returns JSON values, and under "pictures" arrays, which are kept in a file beside.
        """
        kept = self._kept(key)
        if kept and not self._why_not(kept, key, inputs):
            return kept
        name, result = _name(key), dict(work())
        pictures = result.pop("pictures", None)
        mark = {"inputs": _mark(key, inputs), "code": self.code}
        record: dict[str, Any] = {"key": list(key), **mark, **plain_json(result)}
        if pictures:
            with atomic_write(self.folder / f"{name}.npz", overwrite=True) as stream:
                np.savez_compressed(stream, **pictures)
            record["pictures"] = f"{name}.npz"
        with atomic_write(self.folder / f"{name}.json", overwrite=True) as stream:
            stream.write(json.dumps(record).encode())
        return record

    def done(self, key: tuple[str, ...], inputs: Any) -> bool:
        """Is this unit there already?"""
        kept = self._kept(key)
        return bool(kept) and not self._why_not(kept, key, inputs)

    def stale(self, units: Iterable[tuple[tuple[str, ...], Any]]) -> str:
        """Which kept units of these (key, inputs) cannot be used and why, a sentence; empty for none."""
        kept = [(self._kept(key), key, inputs) for key, inputs in units]
        why = Counter(self._why_not(*unit) for unit in kept if unit[0])
        wrong = [f"{why[reason]} from {reason}" for reason in (CODE, INPUTS) if why[reason]]
        if not wrong:
            return ""
        return f"of {why.total()} kept units {' and '.join(wrong)} are made anew."

    def _kept(self, key: tuple[str, ...]) -> dict[str, Any]:
        """The record in the file of a key; empty where none may be used."""
        path = self.folder / f"{_name(key)}.json"
        record: dict[str, Any] = {}
        if self.resume and path.exists():
            record = json.loads(path.read_text("utf-8"))
        return record

    def _why_not(self, record: Mapping[str, Any], key: tuple[str, ...], inputs: Any) -> str:
        """Why a record is not to be used, empty where it is."""
        if record.get("code") != self.code:
            return CODE
        return "" if record.get("inputs") == _mark(key, inputs) else INPUTS

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
