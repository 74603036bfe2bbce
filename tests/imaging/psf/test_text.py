"""The grammar of psf texts."""

import numpy as np
import pytest

from imaging.psf import generators
from imaging.psf.errors import PsfError
from imaging.psf.optics import zernike
from imaging.psf.text import Auto, parse_psf


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("gaussian:2", generators.gaussian(2)),
        (" Gaussian:2,1@30 ", generators.gaussian(2, 1, 30)),
        ("gaussian:2,1", generators.gaussian(2, 1)),
        ("motion:15@-30", generators.motion(15, -30)),
        ("motion:15", generators.motion(15, 0)),
        ("disk:3.5", generators.disk(3.5)),
        ("box:4", generators.box(4)),
        ("shake:7", generators.shake(7)),
        ("shake:7,21", generators.shake(7, 21)),
        ("zernike:defocus=1.0,coma_x=0.3", zernike({"defocus": 1.0, "coma_x": 0.3})),
        ("zernike:defocus=1,cutoff=0.5", zernike({"defocus": 1.0}, cutoff=0.5)),
    ],
)
def test_texts_name_generators(text, wanted):
    np.testing.assert_array_equal(parse_psf(text), wanted)


def test_auto_is_a_marker():
    assert parse_psf("motion:auto") == Auto("motion")
    assert parse_psf("disk:AUTO") == Auto("disk")
    with pytest.raises(PsfError, match="only motion, gaussian, disk can be estimated"):
        parse_psf("box:auto")


def test_a_bare_shake_takes_the_seed():
    np.testing.assert_array_equal(parse_psf("shake", seed=4), generators.shake(4))


def test_files_and_variables_in_them(tmp_path):
    import scipy.io

    h = generators.disk(2)
    np.save(tmp_path / "h.npy", h)
    scipy.io.savemat(tmp_path / "h.mat", {"one": h, "two": h.T * 2})
    np.testing.assert_array_equal(parse_psf(str(tmp_path / "h.npy")), h)
    np.testing.assert_array_equal(parse_psf(f"{tmp_path / 'h.mat'}:two"), h.T * 2)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("gausian:2", "'gausian:2' is neither a file nor a known kind.*did you mean gaussian:S"),
        ("defocus:3", "wanted one of gaussian, motion, disk, box, shake, zernike"),
        ("missing.png", "missing.png does not exist"),
        ("gaussian:two", "cannot read psf text 'gaussian:two': wanted gaussian:S"),
        ("gaussian:1,2,3", "cannot read psf text"),
        ("gaussian:1@30", "cannot read psf text"),
        ("motion:", "names a kind without its numbers, wanted motion:LENGTH@DEGREES"),
        ("disk:-2", "radius is -2"),
        ("shake:1.5", "cannot read psf text"),
        ("zernike:defocus", "cannot read psf text"),
        ("zernike:focus=1", "unknown aberration 'focus'"),
        ("", "neither a file nor a known kind"),
    ],
)
def test_errors_name_what_was_wanted(text, match):
    with pytest.raises(PsfError, match=match):
        parse_psf(text)


def test_size_is_compared_with_the_picture():
    with pytest.raises(
        PsfError, match=r"^psf is 65x65 but the image is 32x32: crop the psf or pad the image\.$"
    ):
        parse_psf("gaussian:8", shape=(32, 32))
    assert parse_psf("gaussian:2", shape=(32, 32, 3)).shape == (17, 17)
