"""Shared fixtures: float64, one thread, fixed seeds, a tiny psf without symmetry, benchmarks as modules."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _deterministic():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def psf() -> torch.Tensor:
    """A 3x4 psf, not symmetric in any direction, sum 1, shape (1, 1, 3, 4)."""
    k = torch.tensor([[0.0, 1, 2, 0], [3, 9, 4, 1], [1, 2, 0, 1]], dtype=torch.float64)
    return (k / k.sum())[None, None]


@pytest.fixture
def truth() -> torch.Tensor:
    """A piecewise constant picture of 24x20 on [0, 1], shape (1, 1, 24, 20)."""
    x = torch.full((1, 1, 24, 20), 0.2, dtype=torch.float64)
    x[..., 5:15, 4:12] = 0.8
    x[..., 10:20, 9:17] += 0.1
    return x


@pytest.fixture(scope="module")
def benchmark_named() -> Iterator[Callable[[str], ModuleType]]:
    """A function that loads a script of benchmarks/, which finds its neighbours during a module's tests."""
    loaded = []

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{name}_of_the_tests", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        loaded.append(spec.name)
        spec.loader.exec_module(module)
        return module

    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield load
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in loaded:
            del sys.modules[name]
