"""From file to file by rows: the same pixels as in memory, a receipt to replay, a plan without work."""

import json

import numpy as np
import pytest
import tifffile

import proxlab
from imaging.files.picture import read_picture, write_picture
from proxlab.__main__ import main

ARGS = ["-p", "disk:2", "--method", "richardson-lucy", "--iter", "3", "--sigma", "0.01", "--tile", "96"]


@pytest.fixture
def scan(tmp_path, monkeypatch, picture):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("a.tif", picture, tile=(64, 64), compression="zlib", resolution=(300, 300))
    np.save("a.npy", picture)
    return tmp_path


def test_a_stream_gives_what_memory_gives(scan):
    assert main(["deblur", "a.tif", *ARGS, "-o", "b.tif"]) == 0
    assert main(["deblur", "a.npy", *ARGS, "-o", "c.npy"]) == 0
    pixels = np.load("a.npy")
    expected = proxlab.deblur(pixels, "disk:2", method="richardson-lucy", num_iter=3, sigma=0.01, tile=96)
    assert np.array_equal(read_picture("b.tif").pixels, expected)
    assert np.array_equal(np.load("c.npy"), expected)
    with tifffile.TiffFile("b.tif") as tif:
        assert tif.pages.first.is_tiled and tif.pages.first.tags.valueof(282) == (300, 1)
    info = json.loads((scan / "b.json").read_text())["info"]
    assert info["details"]["tiles"] == [3, 3] and "tiles of" in info["operator"]
    assert main(["replay", "b.json"]) == 0


def test_a_plan_reads_no_pixel(scan, capsys, monkeypatch):
    from imaging.files.rows import TiffRows

    monkeypatch.setattr(TiffRows, "rows", None)
    assert main(["deblur", "a.tif", *ARGS, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "tiles     about" in text and "memory    about" in text and "time      less than 1 s" in text
    assert main(["deblur", "a.tif", *ARGS, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["tile"] == 96 and plan["memory_estimate"] > 1e8 and plan["seconds_estimate"] > 0
    assert sorted(path.name for path in scan.iterdir()) == ["a.npy", "a.tif"]


def test_a_result_that_is_there_is_not_replaced(scan):
    (scan / "b.tif").write_bytes(b"mine")
    assert main(["deblur", "a.tif", *ARGS, "-o", "b.tif"]) == 2
    assert (scan / "b.tif").read_bytes() == b"mine" and not (scan / "b.json").exists()


def test_a_zarr_is_a_picture_in_itself(scan):
    import zarr

    pixels = np.load("a.npy")
    zarr.save("a.zarr", pixels)
    for source, result, tile in (
        ("a.zarr", "b.zarr", 96),
        ("a.npy", "c.zarr", None),
        ("a.zarr", "d.tif", None),
    ):
        args = ["deblur", source, *ARGS[:-2], *([] if tile is None else ["--tile", str(tile)]), "-o", result]
        assert main(args) == 0
        expected = proxlab.deblur(
            pixels, "disk:2", method="richardson-lucy", num_iter=3, sigma=0.01, tile=tile
        )
        found = read_picture(result).pixels if result == "d.tif" else zarr.open(result, mode="r")[:]
        assert np.abs(found.astype(int) - expected).max() <= 1
    assert main(["replay", "b.json"]) == 0
    assert main(["deblur", "a.npy", *ARGS, "-o", "b.zarr"]) == 2  # it is there already


def test_a_folder_that_only_is_called_zarr_is_unreadable(scan, capsys):
    (scan / "f.zarr").mkdir()
    assert main(["deblur", "f.zarr", *ARGS, "-o", "g.npy"]) == 3
    assert "f.zarr" in capsys.readouterr().err and not (scan / "g.npy").exists()


@pytest.mark.parametrize(
    "args",
    [["a.zarr", "-o", "b.png"], ["a.png", "-o", "b.zarr"], ["a.zarr", "--roi", "0:9,0:9", "-o", "b.npy"]],
)
def test_what_zarr_cannot_be_is_said(scan, capsys, args):
    import zarr

    zarr.save("a.zarr", np.load("a.npy"))
    write_picture("a.png", np.load("a.npy"))
    for more in ([], ["--dry-run"]):
        assert main(["deblur", *args, *ARGS[:-2], *more]) == 2
        assert "zarr is read and written by rows, which only" in capsys.readouterr().err
    assert not any(scan.glob("b.*"))
