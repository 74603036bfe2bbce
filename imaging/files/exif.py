"""Exif blocks, changed in place: rebuilding one would lose maker notes and unknown tags."""

import struct

ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
_WIDTH, _HEIGHT = 0xA002, 0xA003
_SHORT, _LONG = 3, 4


def without_prefix(exif: bytes | None) -> bytes | None:
    """Return the block from its TIFF header on, or None if there is none or it is not Exif."""
    if not exif:
        return None
    block = exif.removeprefix(b"Exif\0\0")
    return block if block[:4] in (b"II*\0", b"MM\0*") else None


def orientation_of(exif: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 (upright) if there is none or the block is damaged."""
    if exif is None:
        return 1
    try:
        order = _order(exif)
        at = _entries(exif, order, struct.unpack_from(order + "I", exif, 4)[0]).get(ORIENTATION)
        value = 1 if at is None else struct.unpack_from(order + "H", exif, at + 8)[0]
    except (struct.error, ValueError):
        return 1
    return value if 1 <= value <= 8 else 1


def upright_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """Return the block for an upright picture of `size` (height, width).

    Orientation becomes 1, the pixel dimensions (where given) those of the picture, and the thumbnail, which
    shows the picture as it was, is unlinked. A damaged block is returned as it is.
    """
    block = bytearray(exif)
    try:
        order = _order(block)
        first = struct.unpack_from(order + "I", block, 4)[0]
        entries = _entries(block, order, first)
        if ORIENTATION in entries:
            struct.pack_into(order + "HIHH", block, entries[ORIENTATION] + 2, _SHORT, 1, 1, 0)
        count = struct.unpack_from(order + "H", block, first)[0]
        struct.pack_into(order + "I", block, first + 2 + 12 * count, 0)
        if EXIF_IFD in entries:
            inner = _entries(block, order, struct.unpack_from(order + "I", block, entries[EXIF_IFD] + 8)[0])
            for tag, value in ((_HEIGHT, size[0]), (_WIDTH, size[1])):
                if tag in inner:
                    struct.pack_into(order + "HII", block, inner[tag] + 2, _LONG, 1, value)
    except (struct.error, ValueError):
        return exif
    return bytes(block)


def _order(block: bytes | bytearray) -> str:
    if block[:2] == b"II":
        return "<"
    if block[:2] == b"MM":
        return ">"
    message = "an Exif block starts with II or MM."
    raise ValueError(message)


def _entries(block: bytes | bytearray, order: str, at: int) -> dict[int, int]:
    """Return where each tag's 12-byte entry lies in the directory at offset `at`."""
    count = struct.unpack_from(order + "H", block, at)[0]
    places = [at + 2 + 12 * i for i in range(count)]
    return {
        struct.unpack_from(order + "H", block, place)[0]: place
        for place in places
        if place + 12 <= len(block)
    }
