"""One training from folders to file: data, validation, logs, checkpoints, resuming, several processes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from priors import processes
from priors.checkpoint import load_network, read_provenance, save_network, store_half
from priors.data import Ahead, Pictures, load_pictures, split, validation_set
from priors.logbook import Logbook
from priors.losses import Batch
from priors.recipe import Recipe, recipe_from
from priors.train import Learner, Plan, Step, read_plan, seconds_per_step, training

SAVE_SECONDS = 120.0


@dataclass(frozen=True)
class Places:
    """Where a training reads and writes: OUT.safetensors, and beside it OUT.training.safetensors, .csv and
    .events/.
    """

    images: tuple[str, ...]
    out: Path
    val: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.out.suffix != ".safetensors":
            message = f"the output is {str(self.out)!r}: give a name that ends in .safetensors."
            raise ValueError(message)

    @property
    def state(self) -> Path:
        return self.out.with_suffix(".training.safetensors")

    @property
    def logbook(self) -> Logbook:
        return Logbook(self.out.with_suffix(".csv"), self.out.with_suffix(".events"))


def say(text: str) -> None:
    """A line on stderr, from the first process."""
    if processes.rank() == 0:
        print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Data:
    """Training pictures, none smaller than a patch, and clean validation pictures (1, C, h, w)."""

    pictures: Pictures
    validation: list[Tensor]

    @cached_property
    def fingerprint(self) -> str:
        return self.pictures.fingerprint()


def load_data(places: Places, recipe: Recipe) -> Data:
    """Decode the folders; says once how many files were skipped, held out or continued by reflection."""
    pictures = _load(places.images, color=recipe.color)
    if places.val:
        held_out = _load(places.val, color=recipe.color)
    else:
        held_out, pictures = split(pictures)
        say(f"no validation folder: {len(held_out.pixels)} of the pictures are held out for it.")
    pictures, small = pictures.at_least(recipe.patch)
    if small:
        say(f"{small} pictures are smaller than the patch of {recipe.patch} pixels: continued by reflection.")
    return Data(pictures, validation_set(held_out, crop=recipe.crop, limit=recipe.limit))


def _load(folders: tuple[str, ...], *, color: bool) -> Pictures:
    pictures = load_pictures(folders, color=color)
    for name, reason in pictures.skipped:
        say(f"skipped {reason}" if name in reason else f"skipped {name}: {reason}")
    if pictures.skipped:
        say(f"{len(pictures.skipped)} files skipped, {len(pictures.pixels)} pictures used.")
    return pictures


class Session:
    """A training under way: `for step in session.steps(): ...` trains, validates, logs and saves.

    OUT holds the best averaged weights so far (mean PSNR on fixed noise), the state beside it all that the
    next step needs. The state is authoritative: after a kill, OUT and the log are brought forward from it
    again.
    """

    def __init__(self, places: Places, recipe: Recipe, learner: Learner, data: Data):
        self.places, self.recipe, self.learner, self.data = places, recipe, learner, data
        self.best, self.seconds, self.work = float("-inf"), 0.0, 0.0
        self.start: str | None = None
        self.psnr: dict[str, float] = {}

    def steps(self) -> Iterator[Step]:
        """Train to the end of the plan; only the first process validates and writes files."""
        plan, before, saved = self.learner.plan, self.seconds, time.monotonic()
        worked, started = self.work - time.process_time(), saved
        batches: Callable[[int], Batch] = self.recipe.batches(self.data.pictures)
        if self.learner.device.type != "cpu":
            batches = Ahead(batches, threads=4)
        for step in training(self.learner, batches, self.recipe.objective()):
            self.seconds = before + time.monotonic() - started
            self.work = worked + time.process_time()
            if processes.rank() == 0:
                due = step.done % plan.every == 0 or step.done == plan.steps
                if due:
                    self.validate(step)
                if due or time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
            yield step

    @torch.no_grad()
    def measure(self, network: Any) -> dict[str, float]:
        """The recipe's figures on the validation pictures."""
        pictures = [p.to(self.learner.device) for p in self.data.validation]
        return self.recipe.measure(network, pictures)

    def validate(self, step: Step) -> None:
        """Measure the averaged weights, log a row, and write OUT if they are the best so far."""
        self.psnr = self.measure(self.learner.mean)
        row = {"seconds": round(self.seconds, 1), "loss": step.loss, "rate": step.rate, **self.psnr}
        self.places.logbook.write(step.done, row)
        mean = sum(self.psnr.values()) / len(self.psnr)
        if mean > self.best:
            self.best = mean
            save_network(self.places.out, self.learner.mean, self.provenance())

    def store_half(self) -> None:
        """Rewrite OUT with its weights in half precision, and say what that costs."""
        lost = store_half(self.places.out, lambda n: self.measure(n.to(self.learner.device)))
        say("stored in half precision: " + ", ".join(f"{k} {-v:+.4f} dB" for k, v in lost.items()))

    def provenance(self) -> dict[str, Any]:
        """What the checkpoint says about where its weights come from."""
        return {
            "data": [Path(f).name for f in self.places.images],
            "pictures": len(self.data.pictures.pixels),
            "data_hash": self.data.fingerprint,
            "recipe": asdict(cast(Any, self.recipe)),
            "plan": asdict(self.learner.plan),
            "start": self.start,
            "steps": self.learner.done,
            "seconds": round(self.seconds, 1),
            "processor_seconds": round(self.work, 3),  # of the first process: what a busy machine gave it
            "processes": processes.world(),
            "metrics": self.psnr,
            "versions": {"torch": torch.__version__, "python": sys.version.split()[0]},
        }

    def save(self) -> None:
        """Write the state beside OUT."""
        notes: dict[str, Any] = {"best": self.best, "seconds": self.seconds, "work": self.work}
        notes |= {"recipe": asdict(cast(Any, self.recipe)), "start": self.start}
        notes |= {"data": self.data.fingerprint, "psnr": self.psnr}
        self.learner.save(self.places.state, {"session": json.dumps(notes)})

    def restore(self) -> None:
        """Go back to the saved state."""
        notes = json.loads(self.learner.restore(self.places.state)["session"])
        self.best, self.seconds, self.psnr = notes["best"], notes["seconds"], notes.get("psnr", {})
        self.start, self.work = notes.get("start"), notes.get("work", 0.0)
        if notes["data"] != self.data.fingerprint:
            say("these are not the pictures the training began with: it goes on with the new ones.")
        if processes.rank() == 0:
            self.places.logbook.begin(after=self.learner.done)


def begin(
    places: Places,
    recipe: Recipe,
    plan: Plan,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    start: str | Path | None = None,
) -> Session:
    """A fresh training; `plan.steps` becomes what fits in `minutes`, if given, at the speed measured now.

    `start` is a checkpoint whose weights it begins with, in the checkpoint's configuration; raises ValueError
    for one of a kind that cannot be started from.

    >>> import numpy as np
    >>> from tempfile import TemporaryDirectory
    >>> from imaging.files.picture import write_picture
    >>> from priors.recipe import Denoising
    >>> small, drawn = {"widths": [4], "blocks": [1]}, {"batch": 1, "patch": 8, "seed": 0}
    >>> recipe = Denoising("denoiser", small, loss="l1", color=False, sigma=(0.0, 0.2), **drawn)
    >>> with TemporaryDirectory() as folder:
    ...     _ = write_picture(f"{folder}/photograph.png", np.eye(16, dtype=np.uint8))
    ...     places = Places((folder,), Path(folder) / "own.safetensors")
    ...     session = begin(places, recipe, Plan(steps=2, rate=1e-3))
    ...     [(step.done, sorted(session.psnr)[0]) for step in session.steps()]
    [(1, 'psnr_15'), (2, 'psnr_15')]
    """
    if start is not None:
        recipe = recipe.started_from(read_provenance(start))
    network, data = recipe.network(), load_data(places, recipe)  # decoding takes long: mistakes come first
    if start is not None:
        _take_over(network, load_network(start))
    places.out.parent.mkdir(parents=True, exist_ok=True)
    if minutes is not None:
        trial = Learner(network, replace(plan, steps=1_000_000), device=device)
        pace = seconds_per_step(trial, recipe.batches(data.pictures), recipe.objective(), seconds=10.0)
        steps = processes.agree(max(1, int(0.95 * 60 * minutes / pace)))  # the rest is for validation
        plan = replace(plan, steps=steps)
        say(f"{pace:.3f} s a step: {steps} steps in {minutes:g} minutes.")
    if processes.rank() == 0:
        places.logbook.begin()
    session = Session(places, recipe, Learner(network, plan, device=device, wrap=processes.wrapper()), data)
    session.start = None if start is None else Path(start).name
    return session


def _take_over(network: Any, trained: Any) -> None:
    if network.kind == trained.kind:
        network.load_state_dict(trained.state_dict())
    else:
        network.start_from(trained)


def resume(places: Places, *, device: str = "cpu", change: Mapping[str, Any] | None = None) -> Session:
    """The training whose state lies beside OUT, exactly where its last checkpoint left it.

    `change` replaces fields of its plan: a longer training, an earlier end (`hold` and `steps`), another
    precision.
    """
    plan, notes = read_plan(places.state)
    recipe = recipe_from(notes["recipe"])
    plan = replace(plan, **(change or {}))
    learner = Learner(recipe.network(), plan, device=device, wrap=processes.wrapper())
    session = Session(places, recipe, learner, load_data(places, recipe))
    session.restore()
    say(f"resumed at step {learner.done} of {plan.steps}.")
    return session
