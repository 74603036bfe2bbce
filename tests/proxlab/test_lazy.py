"""Dask arrays: only windows are read before anything is asked for, and the pixels are those of tiles."""

import subprocess
import sys

import numpy as np
import pytest

import proxlab
from proxlab.errors import InputError, UsageError
from proxlab.lazy import is_lazy

da = pytest.importorskip("dask.array", reason="needs the extra: pip install 'proxlab[cluster]'")

TILED = {"method": "richardson-lucy", "num_iter": 3, "sigma": 0.01, "tile": 96}


def lazily(image, **options):
    found = proxlab.deblur(da.from_array(image, chunks=64), "disk:2", **options)
    assert is_lazy(found) and found.shape == image.shape and found.dtype == image.dtype
    return found.compute(scheduler="synchronous")


@pytest.mark.parametrize("method", ["richardson-lucy", "tikhonov"])
def test_the_pixels_are_those_of_tiles_in_memory(picture, method):
    options = {**TILED, "method": method, "num_iter": 3 if method == "richardson-lucy" else None}
    here = proxlab.deblur(picture, "disk:2", **options)
    assert np.array_equal(lazily(picture, **options), here)
    assert not np.array_equal(picture, here)


def test_colours_alpha_axis_and_mask(picture):
    picture = np.tile(picture, (2, 2))
    alpha = np.arange(picture.size, dtype=np.uint16).reshape(picture.shape)
    image = np.stack([picture, picture[::-1], picture[:, ::-1], alpha])
    mask = np.ones(picture.shape, bool)
    mask[40:60, 70:90] = False
    options = {**TILED, "tile": 240, "channel_axis": 0, "mask": mask, "return_info": True}
    here, _ = proxlab.deblur(image, "disk:2", **options)  # some alpha looks clipped, which is said
    found, _ = proxlab.deblur(da.from_array(image, chunks=64), "disk:2", **options)
    there = found.compute(scheduler="synchronous")
    assert np.array_equal(there, here) and np.array_equal(there[3], alpha)


def test_before_it_is_asked_for_only_windows_are_read(monkeypatch):
    from proxlab.tiles import sample

    monkeypatch.setattr(sample, "WHOLE", 1)
    monkeypatch.setattr(sample, "SIDE", 64)
    read = np.zeros((600, 520), bool)
    noise = np.random.default_rng(0).normal(0.5, 0.05, read.shape).astype(np.float32)

    def chunk(block_info):
        place = tuple(slice(*bounds) for bounds in block_info[None]["array-location"])
        read[place] = True
        return noise[place]

    image = da.map_blocks(chunk, chunks=((20,) * 30, (20,) * 26), dtype=np.float32, meta=noise[:0, :0])
    found = proxlab.deblur(image, "box:3", method="richardson-lucy", num_iter=1, sigma=0.05, tile=128)
    assert 0.1 < read.mean() < 0.35  # nine windows
    read[:] = False
    part = found[:40, :40].compute(scheduler="synchronous")
    assert part.shape == (40, 40) and 0 < read.mean() < 0.2  # one tile


def test_the_record_says_what_will_be_done(picture):
    image = da.from_array(picture, chunks=50)
    _, info = proxlab.deblur(image, "disk:2", return_info=True, **TILED)
    assert "9 tiles of" in info["operator"] and info["status"] is None and info["sigma"] == 0.01
    assert "image" not in info["hashes"]


def test_what_cannot_be_done_is_said_at_the_call(picture):
    image = da.from_array(picture, chunks=50)
    with pytest.raises(UsageError, match=r"cluster with a dask array, .* its own client says: leave it out"):
        proxlab.deblur(image, "disk:2", cluster="local:2")
    with pytest.raises(UsageError, match="callback with a dask array"):
        proxlab.deblur(image, "disk:2", callback=print)
    with pytest.raises(UsageError, match="boundary='circular' cannot be done in tiles"):
        proxlab.deblur(image, "disk:2", boundary="circular")
    with pytest.raises(InputError, match="the picture has shape"):
        proxlab.deblur(image[None, None], "disk:2")


def test_dask_is_not_imported_for_numpy():
    code = (
        "import sys, numpy, proxlab; "
        "proxlab.deblur(numpy.ones((8, 8)), 'box:1', method='identity', sigma=0.1);"
        "print('dask' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
