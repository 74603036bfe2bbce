"""The cores share out the picture, every tile sees enough around its core, and regions keep the stride."""

import re

import numpy as np
import pytest

from proxlab.errors import UsageError
from proxlab.tiles.geometry import Axis, Cut, region_size

AXIS = Axis(length=500, field=512, start=6, before=4, after=5)


def spans_of(axis, *, wraps, size=150, overlap=20, stride=8):
    cut = Cut(region_size(axis, size, 1 if wraps else stride), overlap, 1 if wraps else stride, wraps)
    return cut, cut.spans(axis)


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("length", [300, 497, 500])
def test_cores_share_out_the_picture(wraps, length):
    axis = Axis(length, 312 if length == 300 else 512, 6, 4, 5)
    _, spans = spans_of(axis, wraps=wraps)
    pixels = np.concatenate([np.arange(s.first, s.last) for s in spans])
    assert len(spans) > 2 and np.array_equal(pixels, np.arange(length))


@pytest.mark.parametrize("wraps", [True, False])
def test_every_tile_sees_the_overlap_around_its_core_as_far_as_there_is_a_picture(wraps):
    cut, spans = spans_of(AXIS, wraps=wraps)
    for span in spans:
        rows, _ = span.rows(AXIS)
        wanted = np.arange(max(0, span.first - cut.overlap), min(500, span.last + cut.overlap))
        assert set(wanted) <= set(rows)


def test_regions_that_end_with_the_field_begin_and_end_on_its_stride():
    cut, spans = spans_of(Axis(495, 508, 6, 4, 5), wraps=False)
    assert {s.origin % 8 for s in spans} == {0} and cut.size % 8 == 508 % 8
    assert spans[0].origin == 0 and spans[-1].origin + cut.size == 508


def test_data_begin_on_a_region_where_they_lie_on_the_field():
    for wraps in (True, False):
        for span in spans_of(AXIS, wraps=wraps)[1]:
            rows, start = span.rows(AXIS)
            assert (span.origin + start) % AXIS.field == rows[0] + AXIS.start


def test_a_region_around_the_end_sees_the_other_side_and_a_hole_between():
    _, spans = spans_of(AXIS, wraps=True)
    rows, _ = spans[0].rows(AXIS)
    hole = np.flatnonzero(rows < 0)
    assert len(hole) == AXIS.field - AXIS.length and rows[hole[0] - 1] == 499 and rows[hole[-1] + 1] == 0


def test_a_region_as_large_as_the_field_is_the_field():
    cut = Cut(region_size(AXIS, 4000, 8), 20, 8, False)
    (span,) = cut.spans(AXIS)
    rows, start = span.rows(AXIS)
    assert (span.origin, span.size, start) == (0, 512, 6) and np.array_equal(rows, np.arange(500))


@pytest.mark.parametrize("wraps", [False, True])
def test_an_overlap_that_leaves_nothing_is_refused_and_what_is_enough_is_named(wraps):
    said = "tiles of 96 pixels are too small: the method's answer reaches 40"
    with pytest.raises(UsageError, match=said) as caught:
        Cut(96, 40, 8, wraps).spans(AXIS)
    enough = int(re.search(r"at least (\d+) pixels", str(caught.value))[1])
    assert enough < 200 and len(Cut(enough, 40, 8, wraps).spans(AXIS)) > 1
