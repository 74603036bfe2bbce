"""The floor of the scaling benchmark counts what the method does, and nothing around it."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def scaling(benchmark_named):
    return benchmark_named("scaling")


@pytest.fixture
def undone(monkeypatch):
    """What the counters replace comes back."""
    import proxlab.pipeline
    import proxlab.tiles.run

    for where, name in ((torch.fft, "rfft2"), (torch.fft, "irfft2"), (torch.fft, "ifft2")):
        monkeypatch.setattr(where, name, getattr(where, name))
    monkeypatch.setattr(proxlab.pipeline, "run", proxlab.pipeline.run)
    monkeypatch.setattr(proxlab.tiles.run, "solve_piece", proxlab.tiles.run.solve_piece)


def test_four_ffts_an_iteration_of_richardson_lucy_are_counted(scaling, undone, monkeypatch):
    found = {}
    for iterations in (2, 6):
        monkeypatch.setitem(scaling.OPTIONS, "richardson-lucy", {"num_iter": iterations})
        found[iterations] = scaling.case("richardson-lucy", 96, None, repeats=2)
    assert found[6]["fft_count"] - found[2]["fft_count"] == 16
    assert found[2]["tiles"] == 1 and 0 < found[2]["floor"]["ffts"] < found[2]["cpu"]


def test_what_is_outside_the_method_is_not_counted(scaling, undone):
    counted = scaling.Counted()
    counted.install()
    torch.fft.rfft2(torch.rand(1, 1, 8, 8))
    assert not counted.ffts
    work = counted._work(lambda: torch.fft.irfft2(torch.fft.rfft2(torch.rand(1, 3, 8, 6)), s=(8, 6)))
    work()
    assert counted.ffts == {(8, 6): 6} and counted.pieces == 1


def test_the_scene_is_blurred_in_place_and_rows_join(scaling):
    scene = scaling.Scene()
    assert np.abs(scene.blurred - scene.sharp).mean() < 0.03  # no shift
    rows = scene.rows(1000, 1100, 300) / 65535
    assert rows.shape == (100, 300)
    assert np.abs(rows - scene.blurred[np.arange(1000, 1100) % 1024, :300]).std() < 0.015
