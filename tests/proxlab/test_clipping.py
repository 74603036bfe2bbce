"""What looks like saturation and what does not."""

import numpy as np
from scipy.ndimage import binary_opening

from proxlab.clipping import find_clipped


def test_solid_areas_are_those_that_survive_an_opening_with_2x2():
    at = np.random.default_rng(3).random((3, 40, 50)) < 0.35
    planes = np.where(at, 255, 100).astype(np.uint8)
    found = find_clipped(planes, 0, 255)
    for plane, valid in zip(at, found.valid, strict=True):
        np.testing.assert_array_equal(~valid, binary_opening(plane, np.ones((2, 2))))


def test_a_bright_block_and_a_dark_block_are_masked_and_said():
    planes = np.full((1, 20, 20), 90, np.uint16)
    planes[0, 2:6, 2:6], planes[0, 10:12, 10:15] = 65535, 0
    valid, warnings, _ = find_clipped(planes, 0, 65535)
    assert (~valid).sum() == 16 + 10
    assert warnings == (
        "16 pixels are clipped at white (4 %): masked near others.",
        "10 pixels are clipped at black (2.5 %): masked near others.",
    )


def test_a_handful_of_single_pixels_is_left_in_silence():
    planes = np.full((1, 64, 64), 90, np.uint8)
    planes[0, 5, 5] = planes[0, 40, 12] = 255
    assert find_clipped(planes, 0, 255) == (None, (), ())


def test_scattered_noise_at_the_end_of_the_range_is_said_but_kept():
    planes = np.full((1, 30, 30), 90, np.uint8)
    planes[0, ::3, ::3] = 255
    valid, warnings, notes = find_clipped(planes, 0, 255)
    assert valid is None and warnings == ()
    assert notes == ("100 scattered pixels are at white (11.1 %): used as they are.",)


def test_a_black_sky_is_content():
    planes = np.zeros((1, 30, 30), np.uint8)
    planes[0, 5:9, 5:9] = 120
    valid, warnings, notes = find_clipped(planes, 0, 255)
    assert valid is None and warnings == ()
    assert "taken as the picture's content" in notes[0]


def test_colours_are_judged_one_by_one():
    planes = np.full((3, 20, 20), 90, np.uint8)
    planes[0, 3:8, 3:8] = 255
    valid, _, _ = find_clipped(planes, 0, 255)
    assert valid[1:].all() and (~valid[0]).sum() == 25


def test_a_range_below_the_type_ends_where_it_ends():
    planes = np.full((1, 10, 10), 100, np.uint16)
    planes[0, 2:4, 2:4] = 4095
    assert find_clipped(planes, 0, 65535).valid is None
    assert (~find_clipped(planes, 0, 4095).valid).sum() == 4
