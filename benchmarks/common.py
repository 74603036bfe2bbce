"""What the benchmarks share: pictures, kernels, a result file that survives interruption, Markdown tables."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imaging.files import atomic_write, read_picture, split_alpha, to_float
from imaging.psf.generators import shake

Pictures = dict[str, np.ndarray]
ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results"
SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy"}
SHIPPED = (  # photographs in scikit-image's wheel: nothing is downloaded
    "astronaut", "brick", "camera", "cat", "chelsea", "coffee",
    "coins", "grass", "gravel", "hubble_deep_field", "moon", "rocket",
)  # fmt: skip
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def grey(pixels: np.ndarray) -> np.ndarray:
    """Float64 (H, W) on [0, 1] from pixels of any type and number of channels."""
    colour, _ = split_alpha(pixels)
    values = np.asarray(to_float(colour)[0], np.float64)
    return values @ LUMA if values.ndim == 3 and values.shape[2] == 3 else values.reshape(values.shape[:2])


def pictures(folder: Path | None, limit: int) -> Pictures:
    """The first pictures of a folder, sorted by name, grey; scikit-image's own without a folder."""
    if folder is None:
        from skimage import data

        return {name: grey(getattr(data, name)()) for name in SHIPPED[:limit]}
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        message = f"{folder} holds no pictures ({', '.join(sorted(SUFFIXES))}): give another --images."
        raise SystemExit(message)
    return {path.stem: grey(read_picture(path).pixels) for path in files[:limit]}


def kernels(folder: Path | None) -> Pictures:
    """The .npy kernels of a folder, sorted by name, sum 1; four camera shakes made here without a folder."""
    if folder is None:
        return {f"shake{seed}": shake(seed, 15 + 4 * seed) for seed in range(4)}
    found = {path.stem: np.load(path).astype(np.float64) for path in sorted(folder.glob("*.npy"))}
    if not found:
        message = f"{folder} holds no .npy files: give another --kernels."
        raise SystemExit(message)
    return {name: k / k.sum() for name, k in found.items()}


def set_name(folder: Path | None) -> str:
    """What to call a set of pictures: the folder's last name, never where it lies."""
    return "skimage" if folder is None else folder.resolve().name


def digest(*arrays: np.ndarray) -> str:
    """Eight hex digits that change with any pixel."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()[:8]


def code_digest(folders: Iterable[Path]) -> str:
    """Eight hex digits that change when code does: comments, docstrings and layout do not count."""
    sha = hashlib.sha256()
    for path in sorted(file for folder in folders for file in folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                node.body[0] = ast.Pass()
        sha.update(ast.dump(tree).encode())
    return sha.hexdigest()[:8]


class ResultFile:
    """Records by key in one JSON file, a line each, saved in one move after every `add`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.records = json.loads(path.read_text(encoding="utf-8"))

    def find(self, key: str, **wanted: object) -> dict[str, Any] | None:
        """The record of that key if it has the wanted values."""
        record = self.records.get(key)
        return record if record and all(record.get(k) == v for k, v in wanted.items()) else None

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Keep a record, replacing an older one of the same key."""
        self.records[key] = record
        lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self.records.items())]
        write_text(self.path, "{\n" + ",\n".join(lines) + "\n}\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one move, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, overwrite=True) as stream:
        stream.write(text.encode())


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns line up in plain text too; the first column to the left, others to the right."""
    body = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in body) for i in range(len(head))]
    rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]

    def line(cells: Sequence[str]) -> str:
        first, *rest = cells
        padded = [first.ljust(widths[0])] + [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(body[0]), line(rule), *[line(row) for row in body[1:]]])


def circumstances(threads: int) -> str:
    """Versions and processor, for the foot of a table; nothing that names a machine."""
    from importlib.metadata import version

    names = ("torch", "deepinv", "scikit-image", "numpy")
    packages = ", ".join(f"{name} {version(name).split('+')[0]}" for name in names)
    cores = os.cpu_count()
    return f"Python {platform.python_version()}, {packages}; {processor()}, {cores} cores, {threads} threads."


def status_bytes(name: str) -> float:
    """Bytes of a line of /proc/self/status, nan off Linux; VmHWM is the peak (getrusage: or a parent's)."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(name)), float("nan"))


def processor() -> str:
    """What the processor calls itself."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
