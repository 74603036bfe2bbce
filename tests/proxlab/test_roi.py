"""Regions are read as Python slices."""

import numpy as np
import pytest

from proxlab.errors import UsageError
from proxlab.roi import Region, parse_roi


@pytest.mark.parametrize("text", ["2:7,3:9", ":5,:", "-4:,2:-1", "0:100,0:100"])
def test_regions_are_slices(text):
    picture = np.arange(20 * 30).reshape(20, 30)
    region = parse_roi(text, picture.shape)
    rows, columns = (slice(*(int(n) if n else None for n in part.split(":"))) for part in text.split(","))
    np.testing.assert_array_equal(picture[region.rows, region.columns], picture[rows, columns])


@pytest.mark.parametrize("text", ["", "3:5", "1:2,3:4,5:6", "a:b,c:d", "1:2:3,4:5"])
def test_what_is_no_region(text):
    with pytest.raises(UsageError, match=r"give rows and columns as R0:R1,C0:C1"):
        parse_roi(text, (20, 30))


def test_an_empty_region():
    with pytest.raises(UsageError, match="roi 5:5,0:3 holds no pixel of the 20x30 picture"):
        parse_roi("5:5,0:3", (20, 30))


def test_inside_counts_from_the_outer_corner():
    inner = Region(30, 40, 50, 60)
    outer = inner.with_context((3, 3), (100, 100))
    assert outer == Region(14, 56, 34, 76)
    assert inner.inside(outer) == Region(16, 26, 16, 26)
