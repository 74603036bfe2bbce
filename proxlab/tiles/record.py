"""The record of a picture in tiles: what is added up over them, and what it says of the whole."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from proxlab.methods.base import FAILED, Outcome, Supports
from proxlab.methods.common import rings_text

if TYPE_CHECKING:
    from proxlab.job import Job
    from proxlab.tiles.piece import Solved
    from proxlab.tiles.run import Plan
    from proxlab.tiles.survey import Survey

RINGING = 0.02  # as for whole pictures


class _Sums(NamedTuple):
    squares: float = 0.0
    samples: int = 0
    beyond: int = 0
    values: int = 0


class Totals:
    """What is added up over the tiles."""

    def __init__(self) -> None:
        self.count, self.num_iter, self.masked, self.sums = 0, 0, 0, _Sums()
        self.ends: dict[str, str] = {}  # status -> reason, the first of each
        self.warnings: dict[str, int] = {}

    def add(self, done: Solved) -> None:
        """One more tile."""
        self.count += 1
        self.num_iter = max(self.num_iter, done.num_iter)
        self.masked += done.masked
        old = self.sums
        self.sums = _Sums(
            old.squares + done.squares,
            old.samples + done.samples,
            old.beyond + done.beyond,
            old.values + done.core.size,
        )
        self.ends.setdefault(done.status, done.reason)
        for text in done.warnings:
            self.warnings[text] = self.warnings.get(text, 0) + 1

    @property
    def status(self) -> str:
        """The worst there was."""
        order: list[str] = ["diverged", "max_iter", *self.ends]
        return next(name for name in order if name in self.ends)

    def said(self, supports: Supports) -> tuple[str, ...]:
        """The warnings of the tiles, each once, and one for rings."""
        texts = tuple(f"{text} (in {n} of {self.count} tiles)" for text, n in self.warnings.items())
        share = self.sums.beyond / max(self.sums.values, 1)
        return (*texts, rings_text(share, supports)) if share > RINGING else texts


def planned_job(plan: Plan) -> Job:
    """What will be done, as far as it is known before the first tile."""
    sample, setting = plan.sample, plan.sample.setting
    said, notes = ((), ()) if plan.survey.tally is None else plan.survey.tally.texts()
    whose = setting.method if setting.prior is None else f"{setting.method} with {setting.prior.name}"
    tail = plan.tail.warning(whose) if plan.count > 1 else None
    warnings = (said if setting.content is not None else ()) + sample.blur.warnings
    return replace(
        sample.job,
        request=plan.request,
        method=setting.method,
        operator=plan.text(),
        sigma=setting.sigma,
        memory=plan.memory,
        masked=_masked(plan.survey) if setting.content is not None else 0,
        notes=notes + sample.blur.notes,
        warnings=warnings + ((tail,) if tail else ()),
        hashes={**sample.job.hashes, "image": plan.survey.digest},
    )


def record_of(plan: Plan, totals: Totals, result: str) -> Job:
    """The record of the whole; result is the digest of its pixels."""
    import torch

    from proxlab.memory import peak
    from proxlab.methods import load_method

    setting, sums, job = plan.sample.setting, totals.sums, planned_job(plan)
    outcome = Outcome(
        x=torch.empty(0),
        lam=setting.lam,
        lam_rule=plan.sample.lam_rule if setting.lam is not None else None,
        num_iter=totals.num_iter,
        stop_reason=totals.ends[totals.status],
        status=totals.status,
        residual=(sums.squares / max(sums.samples, 1)) ** 0.5,
        objective=(),
        certificate={
            "verdict": "solved in tiles, each on its own: nothing is claimed of the whole",
            "conditions": [],
        },
        details={
            "tiles": [len(plan.spans[0]), len(plan.spans[1])],
            "tile": [plan.spans[0][0].size, plan.spans[1][0].size],
            "overlap": plan.tail.overlap,
            "change_at_overlap": plan.tail.worst,
        },
    )
    warnings = job.warnings + totals.said(load_method(setting.method).supports)
    if outcome.status in FAILED:
        warnings += (f"{outcome.status.replace('_', ' ')}: {outcome.stop_reason}.",)
    return replace(
        job,
        masked=totals.masked,
        warnings=warnings,
        hashes={**job.hashes, "result": result},
        outcome=outcome,
        seconds=perf_counter() - plan.started,
        peak_memory=peak() if setting.device == "cpu" else None,
    )


def _masked(found: Survey) -> int:
    return 0 if found.tally is None else int(found.tally.solid[~found.tally.content].sum())
