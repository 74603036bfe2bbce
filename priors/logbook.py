"""The log of a training: one CSV row a validation, and TensorBoard events where that is installed."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class Logbook:
    """Rows in `file` (CSV, the first column is the step) and, with tensorboard installed, events in
    `events`.
    """

    def __init__(self, file: Path, events: Path):
        self.file, self.events = file, events

    def begin(self, *, after: int = 0) -> None:
        """Start afresh, or keep the rows up to the step `after`: what came later will be written again."""
        kept: list[list[str]] = []
        if after and self.file.exists():
            with self.file.open(newline="") as source:
                header, *rows = list(csv.reader(source))
            kept = [header, *(row for row in rows if row and int(row[0]) <= after)]
        self.file.unlink(missing_ok=True)
        if kept:
            with self.file.open("w", newline="") as target:
                csv.writer(target, lineterminator="\n").writerows(kept)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one row; the columns are decided by the first."""
        row = {"step": step, **values}
        fresh = not self.file.exists()
        with self.file.open("a", newline="") as target:
            writer = csv.DictWriter(target, fieldnames=list(row), lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        self._event(step, values)

    def _event(self, step: int, values: dict[str, Any]) -> None:
        if find_spec("tensorboard") is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(self.events), purge_step=step) as writer:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
