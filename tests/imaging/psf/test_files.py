"""Psf files come back as they went in; broken ones are refused in words."""

import imageio.v3 as iio
import numpy as np
import pytest
import scipy.io

from imaging.psf.errors import PsfError
from imaging.psf.files import read_psf, write_psf
from imaging.psf.generators import motion

H = motion(9, 30)


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".npy", ".mat"])
def test_float_files_are_exact(tmp_path, suffix):
    write_psf(tmp_path / f"h{suffix}", H)
    np.testing.assert_array_equal(read_psf(tmp_path / f"h{suffix}"), H)
    assert [p.name for p in tmp_path.iterdir()] == [f"h{suffix}"]  # no temporary file stays


def test_png_keeps_sixteen_bits(tmp_path):
    write_psf(tmp_path / "h.png", H)
    back = read_psf(tmp_path / "h.png")
    np.testing.assert_allclose(back / back.sum(), H, atol=H.max() / 65535)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".mat"])
def test_one_psf_a_channel(tmp_path, suffix):
    colour = np.stack([H, H * 0.5, H**2], axis=-1)
    write_psf(tmp_path / f"h{suffix}", colour)
    back = read_psf(tmp_path / f"h{suffix}")
    np.testing.assert_allclose(back / back.max(), colour / colour.max(), atol=1 / 65535)


def test_grey_from_equal_channels_and_opaque_alpha(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    iio.imwrite(tmp_path / "rgba.png", np.dstack([grey] * 3 + [np.full_like(grey, 255)]))
    np.testing.assert_array_equal(read_psf(tmp_path / "rgba.png"), grey / 255)
    iio.imwrite(tmp_path / "holes.png", np.dstack([grey] * 3 + [grey]))
    with pytest.raises(PsfError, match="transparent in places"):
        read_psf(tmp_path / "holes.png")


def test_mat_variables(tmp_path):
    scipy.io.savemat(tmp_path / "one.mat", {"k": H, "sigma": 2.0})
    np.testing.assert_array_equal(read_psf(tmp_path / "one.mat"), H)
    scipy.io.savemat(tmp_path / "two.mat", {"k": H, "picture": np.ones((4, 4))})
    np.testing.assert_array_equal(read_psf(tmp_path / "two.mat", "k"), H)
    with pytest.raises(PsfError, match=r"holds 2 arrays \(k, picture\)"):
        read_psf(tmp_path / "two.mat")
    with pytest.raises(PsfError, match="has no array 'q', wanted one of k, picture"):
        read_psf(tmp_path / "two.mat", "q")


def test_what_is_no_psf_file(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "volume.npy", np.ones((4, 5, 6)))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    for name, match in {
        "broken.png": "cannot read psf file",
        "objects.npy": "cannot read psf file",
        "folder.npy": "is a directory",
        "nothing.npy": "does not exist",
        "volume.npy": r"shape \(4, 5, 6\), wanted \(h, w\)",
        "h.jpg": "ending '.jpg', wanted one of .png",
    }.items():
        with pytest.raises(PsfError, match=match):
            read_psf(tmp_path / name)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(PsfError, match="does not fit a png"):
        write_psf(tmp_path / "h.png", -H)
    with pytest.raises(PsfError, match="rename it"):
        write_psf(tmp_path / "h.jpg", H)
    write_psf(tmp_path / "h.npy", H)
    with pytest.raises(FileExistsError, match="exists already"):
        write_psf(tmp_path / "h.npy", H * 2)
    np.testing.assert_array_equal(read_psf(tmp_path / "h.npy"), H)
    write_psf(tmp_path / "h.npy", H * 2, overwrite=True)
    np.testing.assert_array_equal(read_psf(tmp_path / "h.npy"), H * 2)
