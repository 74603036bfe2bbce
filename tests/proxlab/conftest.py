"""Pictures in a folder of their own, and methods made for the tests."""

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from imaging.files.picture import write_picture
from priors import base
from priors.checkpoint import build, save_network
from priors.denoiser import DenoiserConfig
from proxlab.methods import METHODS
from proxlab.methods.base import EVERYTHING, Outcome, Progress, Supports, Task


@dataclass
class Spy:
    """A method that keeps what it was given and answers with a function of it."""

    answer: Callable[[Task], object] = lambda task: task.op.embed(task.y)
    status: str = "converged"
    supports: Supports = EVERYTHING
    name: str = "spy"
    summary: str = "for tests"
    steps: int = 3
    need: int = 1000
    chosen: str | None = None
    tasks: list[Task] = field(default_factory=list)

    def memory(self, shape: tuple[int, int, int]) -> int:
        return self.need

    def run(self, task: Task) -> Outcome:
        self.tasks.append(task)
        x = self.answer(task)
        for n in range(self.steps):
            task.report(Progress(n + 1, self.steps, x, cost=1.0 / (n + 1), residual=0.5))
        return Outcome(
            x=x,
            lam=0.25,
            lam_rule="made up",
            num_iter=self.steps,
            stop_reason="the test said so",
            status=self.status,
            residual=0.5,
            objective=(2.0, 1.0),
            certificate={"verdict": "none", "conditions": ["a test"]},
            method=self.chosen,
        )


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    """A method named "spy" in the registry for the length of a test."""
    module = types.ModuleType("spy_method_of_the_tests")
    module.METHOD = Spy()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(METHODS, "spy", module.__name__)
    return module.METHOD


@pytest.fixture
def grey() -> np.ndarray:
    """A picture of 24x30, uint8, nothing clipped."""
    rng = np.random.default_rng(0)
    smooth = 60 + 4 * np.arange(24)[:, None] + np.arange(30)[None, :]
    return (smooth + rng.integers(-6, 7, (24, 30))).astype(np.uint8)


@pytest.fixture
def picture() -> np.ndarray:
    """A picture of 150x170, uint16, large enough for tiles of 96."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:150, :170] / 20
    picture = 0.5 + 0.3 * np.sin(rows) * np.cos(columns) + rng.normal(0, 0.01, rows.shape)
    return (65535 * picture).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grey: np.ndarray) -> Path:
    """The current directory, with a.png in it."""
    monkeypatch.chdir(tmp_path)
    write_picture("a.png", grey)
    return tmp_path


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two shipped denoisers, untrained."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for name, channels in (("denoiser-gray", 1), ("denoiser-color", 3)):
        net = build("denoiser", DenoiserConfig(channels=channels, widths=(4, 8), blocks=(1, 1)), seed=1)
        save_network(folder / f"{name}.safetensors", net, {"note": "for tests"})
    monkeypatch.setattr(base, "WEIGHTS", folder)
    return folder


@pytest.fixture
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "WEIGHTS", tmp_path / "none")
