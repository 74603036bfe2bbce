"""What the doctor sees, mends, and leaves where it is."""

import numpy as np
import pytest

from imaging.psf.doctor import check_size, diagnose
from imaging.psf.errors import PsfError
from imaging.psf.generators import box, disk, gaussian, motion, shake

HEALTHY = [
    gaussian(0.8),
    gaussian(4, 1, 20),
    disk(3.3),
    motion(11, 25),
    box(5),
    shake(2),
    np.ones((1, 5)) / 5,
]


@pytest.mark.parametrize("h", HEALTHY)
def test_a_healthy_psf_is_left_alone_up_to_empty_margins(h):
    found = diagnose(h)
    reach = [(n - m) // 2 for n, m in zip(h.shape, found.psf.shape, strict=True)]
    inner = h[reach[0] : h.shape[0] - reach[0], reach[1] : h.shape[1] - reach[1]]
    np.testing.assert_allclose(found.psf, inner, atol=1e-6)
    assert found.origin == tuple(n // 2 for n in found.psf.shape)
    assert not [f for f in found.findings if f.level == "warning"], found.text
    assert all("\n" not in f.text for f in found.findings)


def test_diagnose_is_pure_and_settles():
    h = np.pad(gaussian(1.5), 4) * 7 + 0.01
    before = h.copy()
    first = diagnose(h)
    np.testing.assert_array_equal(h, before)
    assert not np.shares_memory(first.psf, h)
    again = diagnose(first.psf, origin=first.origin)
    np.testing.assert_allclose(again.psf, first.psf, atol=1e-12)
    assert again.text == "ok: nothing to mend"


def test_sum_is_divided_out_or_left():
    assert diagnose(np.ones((5, 5))).psf.sum() == pytest.approx(1)
    assert "its sum was 25: divided by it" in diagnose(np.ones((5, 5))).text
    kept = diagnose(np.ones((5, 5)), normalize=False)
    assert kept.psf.sum() == 25 and "note: its sum is 25: left as it is." in kept.text


def test_background_is_removed_but_a_cut_tail_is_not():
    clean = np.pad(gaussian(1.5), 5)
    mended = diagnose(clean + 0.02 * clean.max())
    np.testing.assert_allclose(mended.psf, diagnose(clean).psf, atol=1e-5)
    assert "took away a constant background" in mended.text
    wide = gaussian(6.0)
    cut = wide[18:-18, 18:-18]  # 1.1 standard deviations kept
    assert "background" not in diagnose(cut).text
    np.testing.assert_allclose(diagnose(cut).psf, cut / cut.sum(), atol=1e-12)


def test_negatives_become_zero():
    h = np.pad(disk(2), 1)
    h[0, 0] = -0.001
    found = diagnose(h)
    assert found.psf.min() == 0 and "mended: set 1 negative values to 0" in found.text
    h[2, 2] = -0.5
    assert "warning: set 2 negative values to 0" in diagnose(h).text


def test_centroid_is_reported_and_never_moved():
    h = np.zeros((15, 15))
    h[2, 11] = 1.0
    found = diagnose(h)
    assert found.psf.shape == (11, 9)
    assert found.psf[found.origin[0] - 5, found.origin[1] + 4] == 1
    assert "its centroid lies -5.0 rows, +4.0 columns from its centre" in found.text
    off = diagnose(h, origin=(2, 11))
    assert off.origin == (0, 0) and off.psf.shape == (1, 1) and "centroid" not in off.text


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("origin", [None, (0, 1), (3, 0)])
def test_cropping_keeps_every_pixel_at_its_distance_from_the_centre(size, origin):
    rng = np.random.default_rng(0)
    h = np.zeros((size + 6, size + 6))
    h[1 : size - 1, 2:size] = rng.uniform(0.1, 1, (size - 2, size - 2))
    found = diagnose(h, origin=origin)
    r0, c0 = origin or ((size + 6) // 2,) * 2
    wanted = {(r - r0, c - c0): v for (r, c), v in np.ndenumerate(h / h.sum()) if v}
    kept = {(r - found.origin[0], c - found.origin[1]): v for (r, c), v in np.ndenumerate(found.psf) if v}
    assert kept == pytest.approx(wanted)


def test_even_size_states_its_centre():
    assert "its size 4x4 is even: its centre is taken at (2, 2)" in diagnose(np.ones((4, 4))).text


def test_a_clipped_top_is_reported_and_a_flat_psf_is_not():
    shape = gaussian(2.2, 1.8, 20)
    star = np.round(np.clip(shape / shape.max() * 600, 0, 255)) / 255
    assert "overexposed" in diagnose(star).text
    assert "overexposed" not in diagnose(disk(3) / disk(3).max()).text
    assert "overexposed" not in diagnose(np.ones((3, 3))).text


def test_a_single_pixel_blurs_nothing():
    found = diagnose(np.pad([[1.0]], 3))
    assert found.psf.shape == (1, 1) and "blurs nothing" in found.text


def test_channels_are_summed_each_on_its_own():
    h = np.dstack([gaussian(1), 2 * gaussian(1), gaussian(1) ** 2])
    found = diagnose(h, image_shape=(40, 40, 3))
    np.testing.assert_allclose(found.psf.sum((0, 1)), 1)
    np.testing.assert_allclose(found.psf[..., 0], found.psf[..., 1])
    assert diagnose(h[..., :1]).psf.ndim == 2


@pytest.mark.parametrize(
    ("h", "match"),
    [
        (np.zeros((3, 3)), "psf sums to zero: it is empty"),
        (np.array([[1.0, -1.0, 0.0]] * 3), "psf sums to 0, wanted light to add up to more than zero"),
        (np.array([[1.0, -1.0, -1.0]] * 3) * -1 - 1, "psf sums to -"),
        (np.array([[1.0, np.nan], [np.inf, 1]]), r"2 values that are NaN or infinite, the first at \(0, 1\)"),
        (np.ones((3, 3)) * 1j, "psf is complex, wanted real numbers"),
        (np.ones((3, 3, 3, 3)), r"shape \(3, 3, 3, 3\), wanted numbers"),
        (np.ones((3, 5, 7)), "move the channels last"),
        (np.ones((0, 3)), r"shape \(0, 3\)"),
        (np.array([["a"]]), "array of <U1"),
    ],
)
def test_what_cannot_be_used_is_refused(h, match):
    with pytest.raises(PsfError, match=match):
        diagnose(h)


def test_complex_without_imaginary_part_is_read():
    np.testing.assert_allclose(diagnose(disk(2).astype(complex)).psf, disk(2))


def test_size_and_channels_against_the_picture():
    with pytest.raises(
        PsfError, match=r"^psf is 65x65 but the image is 32x32: crop the psf or pad the image\.$"
    ):
        diagnose(np.ones((65, 65)), (32, 32))
    assert diagnose(np.pad(disk(2), 40), (32, 32)).psf.shape == (5, 5)  # the margins go first
    with pytest.raises(PsfError, match="psf has 3 channels but the image has 1"):
        check_size((5, 5, 3), (32, 32))
    check_size((5, 5, 3), (32, 32, 4))
    with pytest.raises(PsfError, match=r"origin \(9, 0\) lies outside the 3x3 psf"):
        diagnose(np.ones((3, 3)), origin=(9, 0))
