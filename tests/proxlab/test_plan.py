"""Estimates from sizes alone: what they count and that they grow with it; a benchmark holds them to peaks."""

import numpy as np
import pytest

from proxlab.engine import tile_side, tiled_estimate
from proxlab.errors import MemoryLimitError
from proxlab.front import request_of
from proxlab.layout import layout_of
from proxlab.memory import machine_memory
from proxlab.methods import load_method
from proxlab.plan import LATER, Extent, Speed, later, needed_memory, seconds, tiled_memory, whole_memory

GREY = Extent((1, 1024, 1024), (1, 1050, 1050), 2, 4, False)
COLOUR = Extent((3, 1024, 1024), (3, 1050, 1050), 2, 4, False)
GRID = GREY._replace(varying=True)
PLANE = 4 * 2**20


def need(method, extent):
    return needed_memory(load_method(method), None, extent) / PLANE


def test_each_method_needs_what_was_measured_at_a_megapixel():
    measured = {"identity": 19.0, "wiener": 20.5, "tikhonov": 20.5, "tv": 37.0, "richardson-lucy": 19.0}
    for method, planes in measured.items():
        assert need(method, GREY) == pytest.approx(planes, rel=0.1)
    for method, planes in {"identity": 26.5, "wiener": 60.0}.items():
        assert need(method, COLOUR) == pytest.approx(planes, rel=0.2)


def test_colours_float64_and_a_grid_of_psfs_are_counted():
    assert need("tv", COLOUR) > 2.9 * need("tv", GREY)
    assert need("tv", GREY._replace(working=8)) == pytest.approx(2 * need("tv", GREY), rel=0.01)
    assert need("tv", GRID) > need("tv", GREY) + 30


def test_what_the_process_holds_is_counted_on_top():
    from proxlab.memory import resident

    total = whole_memory(load_method("tv"), None, GREY, device="cpu")
    assert total == pytest.approx(resident() + later() + need("tv", GREY) * PLANE, rel=0.1)
    assert whole_memory(load_method("tv"), None, GREY, device="cuda") < total


def test_libraries_are_counted_once(monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "scipy.optimize", raising=False)
    first = whole_memory(load_method("tv"), None, GREY, device="cpu")
    assert later() == LATER
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    again = whole_memory(load_method("tv"), None, GREY, device="cpu")
    assert later() == 0 and first - again == pytest.approx(LATER, rel=0.1)


def test_tiles_need_less_and_smaller_ones_still_less():
    large = Extent((1, 20000, 20000), (1, 20160, 20160), 2, 4, False)
    method = load_method("tikhonov")
    sizes = [tiled_memory(method, None, large, side) for side in (2048, 1024, 512)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] < 1.3e9 < needed_memory(method, None, large)


def test_time_counts_iterations_where_they_are_given():
    speed = Speed(1e-8, 1e-6)
    assert seconds("pnp", 16, 1e6, 1, speed) == pytest.approx(2 * seconds("pnp", 8, 1e6, 1, speed))
    assert seconds("tv", None, 1e6, 3, speed) == pytest.approx(3 * seconds("tv", None, 1e6, 1, speed))
    few, many = (seconds("tv", n, 1e6, 1, speed, search=True) for n in (10, 40))
    assert few < many < 1.5 * few  # finding the weight takes most of it
    assert few > 10 * seconds("tv", 10, 1e6, 1, speed)
    assert seconds("somebody's own", None, 1e6, 1, speed) is None
    ours = [seconds("certified", n, 1e6, 1, Speed(0.0, 1e-6)) for n in (1, 12, 24)]
    assert ours == pytest.approx([14, 25, 37])  # 13 calls make the start and the certificate


def test_certified_calls_its_network_as_often_as_planned(monkeypatch):
    """Counted on a run, not taken from the table."""
    import proxlab
    from priors.gradient_step import GradientStep

    calls, honest = [], GradientStep.value_and_grad

    def counted(self, x, sigma):
        calls.append(x.shape)
        return honest(self, x, sigma)

    monkeypatch.setattr(GradientStep, "value_and_grad", counted)
    picture = np.random.default_rng(0).random((40, 40), np.float32)
    for steps in (1, 6):
        calls.clear()
        options = {"method": "certified", "num_iter": steps, "sigma": 0.02, "return_info": True}
        proxlab.deblur(picture, "box:3", **options)  # with its record, so that it does not warn of the noise
        planned = seconds("certified", steps, 1.0, 1, Speed(0.0, 1.0))
        assert len(calls) == pytest.approx(planned, rel=0.2), steps


def test_the_side_follows_from_the_limit():
    layout = layout_of(np.broadcast_to(np.zeros(1, np.uint16), (20000, 20000)))

    def side(limit, **more):
        options = {"method": "tikhonov", "max_memory": limit, "device": "cpu", **more}
        return tile_side(request_of(options), layout, np.dtype(np.uint16), "disk:3", written=0)

    from proxlab.memory import resident

    room = resident() + later()
    wide, narrow = side(room + 8e8), side(room + 3e8)
    assert 2048 >= wide > narrow >= 128
    assert side(room + 1e12) is None and side(room + 1e8, tile=640) == 640
    with pytest.raises(MemoryLimitError, match="not even tiles of 128 pixels fit"):
        side(room + 1e7)
    assert side(room + 8e8, boundary="reflect") is None  # one piece, refused where it is prepared


def test_a_plan_of_tiles_from_the_header():
    layout = layout_of(np.broadcast_to(np.zeros(1, np.uint16), (20000, 20000)))
    request = request_of({"method": "tikhonov", "tile": 1024, "device": "cpu"})
    method, count, memory = tiled_estimate(request, layout, np.dtype(np.uint16), "motion:auto")
    assert method == "tikhonov" and 400 < count < 600 and 1e8 < memory < 4e9


def test_on_a_card_the_limit_is_what_is_free_there(monkeypatch):
    """No card is needed: its free memory and the network's device are told by stand-ins."""
    import torch

    from proxlab import engine

    layout = layout_of(np.broadcast_to(np.zeros(1, np.uint16), (20000, 20000)))
    monkeypatch.setattr(engine, "choose_device", lambda name: torch.device("cuda"))

    def side(free, limit=None):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 2 * free))
        request = request_of({"method": "tikhonov", "max_memory": limit})
        return tile_side(request, layout, np.dtype(np.uint16), "disk:3", written=0)

    assert side(1e12) is None and 2048 >= side(1.2e9) > side(0.4e9) >= 128
    assert side(1e12, "400M") < side(1e12, "1.2G")


def test_the_machine_has_some_memory():
    assert machine_memory() > 1e8


def test_large_arrays_of_a_data_step_are_gone_when_the_network_begins():
    """Small ones stay in the heap: there the two add up."""
    from proxlab.denoising import choose_prior
    from proxlab.methods import load_method
    from proxlab.networks import network_memory
    from proxlab.plan import working_memory

    method, prior = load_method("pnp"), choose_prior("denoiser-gray", 1)
    for side, together in ((1024, True), (4096, False)):
        field = (1, side, side)
        parts = method.memory(field), network_memory(prior, method, field)
        found = working_memory(method, prior, field, 4)
        assert (found == sum(parts)) == together
        assert found >= max(parts)
