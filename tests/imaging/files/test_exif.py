"""Exif changed in place: every other byte stays."""

import numpy as np
import pytest
from PIL import Image

from imaging.files.exif import orientation_of, upright_exif, without_prefix


def block(orientation, order):
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif[0x8769] = {0xA002: 100, 0xA003: 200}
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_orientation_and_size_change(orientation, order):
    before = block(orientation, order)
    assert orientation_of(before) == orientation
    after = upright_exif(before, (300, 50))
    seen = Image.Exif()
    seen.load(b"Exif\0\0" + after)
    assert seen[0x0112] == 1 and seen[0x010F] == "Maker"
    assert seen.get_ifd(0x8769) == {0xA002: 50, 0xA003: 300}
    changed = np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8)
    assert changed.sum() <= 14


def test_the_thumbnail_is_unlinked():
    exif = Image.Exif()
    exif[0x0112] = 6
    one = exif.tobytes().removeprefix(b"Exif\0\0")
    # A second directory behind the first, as cameras write it.
    linked = bytearray(one[:8] + one[8:22] + len(one).to_bytes(4, "big") + one[26:] + one[8:])
    after = upright_exif(bytes(linked), (1, 1))
    assert linked[22:26] == bytes((0, 0, 0, 26)) and after[22:26] == bytes(4)
    linked[22:26], linked[19] = bytes(4), 1  # the link and the orientation, nothing else
    assert after == bytes(linked)


@pytest.mark.parametrize("damaged", [b"II*\0\xff\xff\xff\x7f", b"II*\0", b"MM\0*\0\0\0\x08\0\xff"])
def test_a_damaged_block_is_upright_and_left_alone(damaged):
    assert orientation_of(damaged) == 1
    assert upright_exif(damaged, (1, 1)) == damaged


def test_prefix():
    assert without_prefix(b"Exif\0\0II*\0rest") == b"II*\0rest"
    assert without_prefix(b"something else") is None
    assert without_prefix(None) is None
    assert orientation_of(None) == 1
