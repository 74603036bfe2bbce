"""Rows read are the rows of the file; rows written are the file, whole or not at all."""

import sys

import numpy as np
import pytest
import tifffile

from imaging.files.bands import Form, write_bands
from imaging.files.errors import OutputExistsError, PictureError
from imaging.files.picture import Picture, read_picture, write_picture
from imaging.files.rows import open_rows

RNG = np.random.default_rng(0)
SHAPES = [(70, 53), (70, 53, 3), (70, 53, 4)]


def stored(shape, dtype=np.uint16):
    return RNG.integers(0, 255, shape).astype(dtype)


def bands(array, *heights):
    first = 0
    for height in heights:
        yield array[first : first + height]
        first += height


def files(folder, array):
    colours = {"photometric": "rgb" if array.ndim == 3 else "minisblack"}
    if array.ndim == 3 and array.shape[2] == 4:
        colours["extrasamples"] = [2]
    np.save(folder / "a.npy", array)
    tifffile.imwrite(folder / "tiles.tif", array, tile=(32, 16), compression="zlib", predictor=2, **colours)
    tifffile.imwrite(folder / "strips.tif", array, rowsperstrip=7, bigtiff=True, byteorder=">", **colours)
    return [folder / name for name in ("a.npy", "tiles.tif", "strips.tif")]


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_those_of_the_file(tmp_path, shape):
    array = stored(shape)
    for path in files(tmp_path, array):
        with open_rows(path) as rows:
            assert rows.shape == shape and rows.dtype == np.uint16
            for first, last in ((0, 70), (3, 41), (31, 33), (69, 70)):
                assert np.array_equal(rows.rows(first, last), array[first:last])


@pytest.mark.parametrize("name", ["b.npy", "b.tif"])
@pytest.mark.parametrize("shape", [*SHAPES, (300, 270)])
def test_bands_written_are_the_file(tmp_path, name, shape):
    array = stored(shape)
    rest = shape[0] - 43
    write_bands(tmp_path / name, bands(array, 40, 3, rest), Form(array.shape, array.dtype))
    assert np.array_equal(read_picture(tmp_path / name).pixels, array)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_floats_and_description_of_a_tiff_come_through(tmp_path):
    array = RNG.random((40, 30)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, resolution=(300, 300), compression="lzw", description="slide")
    write_bands(tmp_path / "b.tif", [array], Form(array.shape, array.dtype), like=tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        page = tif.pages.first
        assert (page.compression, page.description, page.is_tiled) == (5, "slide", True)
        assert page.tags.valueof(282) == (300, 1)
    assert np.array_equal(read_picture(tmp_path / "b.tif").pixels, array)


def test_what_may_exceed_four_gigabytes_is_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("imaging.files.bands.BIG", 4000)
    for side in (40, 60):
        array = stored((side, side))
        write_bands(tmp_path / "b.tif", [array], Form(array.shape, array.dtype), overwrite=True)
        with tifffile.TiffFile(tmp_path / "b.tif") as tif:
            assert tif.is_bigtiff is (side == 60)


@pytest.mark.parametrize("name", ["b.npy", "b.tif"])
def test_rows_that_fail_to_come_leave_nothing_and_keep_the_old(tmp_path, name):
    old = stored((5, 5))
    write_picture(tmp_path / name, Picture(old, "npy"))
    array = stored((70, 53))

    def broken():
        yield array[:40]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bands(tmp_path / name, broken(), Form(array.shape, array.dtype), overwrite=True)
    with pytest.raises(PictureError, match="40 rows came, the picture has 70"):
        write_bands(tmp_path / name, [array[:40]], Form(array.shape, array.dtype), overwrite=True)
    with pytest.raises(PictureError, match=r"rows of uint16 and shape \(70, 52\)"):
        write_bands(tmp_path / name, [array[:, 1:]], Form(array.shape, array.dtype), overwrite=True)
    assert np.array_equal(read_picture(tmp_path / name).pixels, old)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OutputExistsError, match="exists already"):
        write_bands(tmp_path / name, [array], Form(array.shape, array.dtype))


def test_what_cannot_be_had_by_rows_is_refused(tmp_path):
    np.save(tmp_path / "f.npy", np.asfortranarray(stored((6, 5))))
    tifffile.imwrite(tmp_path / "pages.tif", stored((3, 20, 20)), photometric="minisblack")
    np.save(tmp_path / "cut.npy", stored((60, 50)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-10])
    for name, text in {
        "f.npy": "in C order can be read row by row",
        "pages.tif": "has several pages",
        "a.jpg": r"\.jpg cannot be read row by row: use npy, TIFF or zarr",
        "no.npy": "does not exist",
    }.items():
        with pytest.raises(PictureError, match=text), open_rows(tmp_path / name):
            pass
    with (
        pytest.raises(PictureError, match="ends before its last row"),
        open_rows(tmp_path / "cut.npy") as rows,
    ):
        rows.rows(50, 60)
    with pytest.raises(PictureError, match=r"\.jpg cannot be written row by row"):
        write_bands(tmp_path / "b.jpg", [], Form((1, 1), np.dtype(np.uint8)))


def test_zarr_is_asked_for_by_name_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(PictureError, match=r"pip install 'proxlab\[zarr\]'"), open_rows(tmp_path / "a.zarr"):
        pass
    with pytest.raises(PictureError, match=r"pip install 'proxlab\[zarr\]'"):
        write_bands(tmp_path / "a.zarr", [], Form((1, 1), np.dtype(np.uint8)))


def test_zarr_rows_in_and_out(tmp_path):
    import zarr

    array = stored((300, 40, 3))
    write_bands(tmp_path / "b.zarr", bands(array, 100, 200), Form(array.shape, array.dtype))
    assert np.array_equal(zarr.open(str(tmp_path / "b.zarr"), mode="r")[:], array)
    with open_rows(tmp_path / "b.zarr") as rows:
        assert rows.shape == array.shape and np.array_equal(rows.rows(5, 290), array[5:290])
    assert [path.name for path in tmp_path.iterdir()] == ["b.zarr"]
