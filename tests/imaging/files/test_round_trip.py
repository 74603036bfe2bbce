"""Every format against an independent reader and writer: Pillow, tifffile or imageio, used directly."""

import io
import struct

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, JpegImagePlugin

from imaging.files import Picture, read_picture, write_picture
from imaging.files.png import chunk, chunks


def pixels(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0.5, 0.4, shape).astype(dtype)  # beyond [0, 1]: floats are never clipped
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def look(path):
    """What Pillow sees in the file."""
    with Image.open(path) as image:
        image.load()
        return image


SHAPES = [(7, 9), (7, 9, 2), (7, 9, 3), (7, 9, 4)]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(orientation=1, extra=None):
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010F] = "Maker"
    block[0x0110] = "Model 1"
    block[0x8769] = {0x829A: 0.01, 0xA002: 9, 0xA003: 7, 0x927C: b"maker note \x00\x01", **(extra or {})}
    block[0x8825] = {1: "N", 2: (47.0, 22.0, 5.5)}
    return block.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_png_is_exact(tmp_path, shape, dtype):
    stored = pixels(shape, dtype)
    write_picture(tmp_path / "a.png", stored)
    again = read_picture(tmp_path / "a.png")
    assert again.dtype == stored.dtype and again.alpha == (len(shape) == 3 and shape[2] in (2, 4))
    np.testing.assert_array_equal(again.pixels, stored)
    if dtype == "uint8" or len(shape) == 2:  # what Pillow can read
        np.testing.assert_array_equal(np.array(look(tmp_path / "a.png")), stored)


def test_png_of_16_bit_colour_is_read_by_an_independent_decoder(tmp_path):
    stored = pixels((7, 9, 3), "uint16")
    write_picture(tmp_path / "a.png", Picture(stored, "png"))
    content = (tmp_path / "a.png").read_bytes()
    import zlib

    lines = zlib.decompress(b"".join(data for kind, data in chunks(content) if kind == b"IDAT"))
    assert unfilter(lines, 7, 9 * 6, 6) == stored.astype(">u2").tobytes()


def unfilter(lines, rows, stride, step):
    """Undo the five filters of the PNG specification, section 9."""
    out, previous = b"", bytearray(stride)
    for r in range(rows):
        kind, line = lines[r * (stride + 1)], bytearray(lines[r * (stride + 1) + 1 : (r + 1) * (stride + 1)])
        for i in range(stride):
            a = line[i - step] if i >= step else 0
            b, c = previous[i], previous[i - step] if i >= step else 0
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, nearest)[kind]) % 256
        out, previous = out + bytes(line), line
    return out


def test_png_palette_transparency_and_few_bits_are_expanded(tmp_path):
    colour = Image.fromarray(pixels((7, 9, 3), "uint8")).quantize(16)
    colour.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "p.png").pixels, np.array(colour.convert("RGB")))
    colour.save(tmp_path / "t.png", transparency=3)
    expected = np.array(look(tmp_path / "t.png").convert("RGBA"))
    picture = read_picture(tmp_path / "t.png")
    assert picture.alpha
    np.testing.assert_array_equal(picture.pixels, expected)
    Image.fromarray(pixels((7, 9), "uint8") > 99).save(tmp_path / "1.png")
    assert set(np.unique(read_picture(tmp_path / "1.png").pixels)) == {0, 255}


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_metadata(tmp_path, dtype):
    stored = pixels((7, 9, 3), dtype)
    write_picture(tmp_path / "a.png", stored)
    plain = (tmp_path / "a.png").read_bytes()
    xmp = b"<x:xmpmeta tiff:Orientation='6'></x:xmpmeta>"
    added = [
        chunk(b"iCCP", b"name\0\0" + __import__("zlib").compress(SRGB)),
        chunk(b"pHYs", struct.pack(">IIB", 2835, 3000, 1)),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"tEXt", b"Author\0somebody"),
        chunk(b"tIME", b"\7\xe9\1\1\1\1\1"),
        chunk(b"eXIf", exif_block(6)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ]
    (tmp_path / "b.png").write_bytes(plain[:33] + b"".join(added) + plain[33:])
    picture = read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(picture.pixels, np.rot90(stored, -1))
    write_picture(tmp_path / "c.png", picture.pixels, picture)
    kinds = [kind for kind, _ in chunks((tmp_path / "c.png").read_bytes())]
    assert kinds.count(b"iCCP") == kinds.count(b"eXIf") == kinds.count(b"gAMA") == kinds.count(b"iTXt") == 1
    assert b"tIME" not in kinds
    if dtype == "uint8":
        with Image.open(tmp_path / "c.png") as seen:
            assert seen.info["icc_profile"] == SRGB and seen.info["Author"] == "somebody"
            assert seen.info["dpi"] == pytest.approx((76.2, 72.009), abs=1e-3)  # turned with the picture
            exif = seen.getexif()
            assert exif[0x0112] == 1 and exif[0x010F] == "Maker"
            assert exif.get_ifd(0x8769)[0xA002] == 7 and exif.get_ifd(0x8769)[0xA003] == 9
            assert exif.get_ifd(0x8825)[2] == (47.0, 22.0, 5.5)
            assert b"tiff:Orientation='1'" in (tmp_path / "c.png").read_bytes()
    write_picture(tmp_path / "d.png", picture, strip_metadata=True)
    assert {kind for kind, _ in chunks((tmp_path / "d.png").read_bytes())} == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_as_pillow_transposes(tmp_path, orientation):
    from PIL import ImageOps

    stored = Image.fromarray(pixels((16, 24, 3), "uint8"))
    stored.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif_block(orientation))
    picture = read_picture(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as raw:
        np.testing.assert_array_equal(picture.pixels, np.array(ImageOps.exif_transpose(raw)))
    write_picture(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as seen:
        assert seen.getexif()[0x0112] == 1
        assert seen.size == (picture.size[1], picture.size[0])
    # TIFF has the orientation in a tag of its own.
    tifffile.imwrite(
        tmp_path / "a.tif", np.array(stored), photometric="rgb", extratags=[(274, 3, 1, orientation, True)]
    )
    with Image.open(tmp_path / "a.tif") as raw:
        expected = np.array(ImageOps.exif_transpose(raw))
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, expected)
    write_picture(tmp_path / "b.tif", picture)
    with Image.open(tmp_path / "b.tif") as seen:
        assert seen.getexif().get(0x0112, 1) == 1
        np.testing.assert_array_equal(np.array(seen), expected)


@pytest.mark.parametrize("mode, sampling", [("L", None), ("RGB", 0), ("RGB", 1), ("RGB", 2)])
def test_jpeg_keeps_tables_sampling_and_metadata(tmp_path, mode, sampling):
    smooth = np.linspace(0, 255, 32 * 48).reshape(32, 48).astype(np.uint8)
    image = Image.fromarray(smooth).convert(mode)
    options = {} if sampling is None else {"subsampling": sampling}
    icc = {} if mode == "L" else {"icc_profile": SRGB}
    image.save(
        tmp_path / "a.jpg",
        quality=71,
        dpi=(300, 301),
        exif=b"Exif\0\0" + exif_block(),
        comment=b"hello",
        **options,
        **icc,
    )
    picture = read_picture(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as seen:
        np.testing.assert_array_equal(picture.pixels, np.array(seen))
        tables = seen.quantization
    write_picture(tmp_path / "b.jpg", picture.pixels, picture)
    with Image.open(tmp_path / "b.jpg") as seen:
        assert seen.quantization == tables
        if sampling is not None:
            assert JpegImagePlugin.get_sampling(seen) == sampling
        assert seen.info.get("icc_profile") == icc.get("icc_profile")
        assert seen.info["dpi"] == (300, 301) and seen.info["comment"] == b"hello"
        assert seen.getexif()[0x010F] == "Maker"
        assert seen.getexif().get_ifd(0x8769)[0x927C] == b"maker note \x00\x01"
    # The same tables: writing once more loses nothing that the first time did not.
    assert np.abs(read_picture(tmp_path / "b.jpg").pixels.astype(int) - picture.pixels).max() <= 3
    write_picture(tmp_path / "c.jpg", picture, strip_metadata=True)
    with Image.open(tmp_path / "c.jpg") as seen:
        assert seen.quantization == tables and "exif" not in seen.info and "comment" not in seen.info
        assert "icc_profile" not in seen.info


def test_jpeg_of_anything_else_has_quality_95(tmp_path):
    stored = pixels((16, 24, 3), "uint8")
    write_picture(tmp_path / "a.jpg", stored)
    reference = io.BytesIO()
    Image.fromarray(stored).save(reference, "JPEG", quality=95, subsampling=0)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.jpg"), iio.imread(reference.getvalue()))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int16"])
@pytest.mark.parametrize("shape", [*SHAPES, (5, 7, 9), (5, 7, 9, 3)])
def test_tiff_is_exact(tmp_path, shape, dtype):
    stored = pixels(shape, dtype)
    write_picture(tmp_path / "a.tif", stored)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), stored)
    again = read_picture(tmp_path / "a.tif")
    assert again.dtype == dtype and again.pages == (len(shape) == 4 or shape == (5, 7, 9))
    np.testing.assert_array_equal(again.pixels, stored)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "packbits", "zstd", "lzma", "jpeg"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_keeps_compression_and_tags(tmp_path, compression, byteorder):
    dtype = "uint8" if compression == "jpeg" else "uint16"
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels((3, 16, 32, 3), dtype),
        photometric="rgb",
        compression=None if compression == "none" else compression,
        predictor=compression in ("lzw", "zlib"),
        byteorder=byteorder,
        resolution=(300, 250.5),
        resolutionunit="CENTIMETER",
        description="a stack",
        metadata=None,
        extratags=[
            (315, 2, 0, "Author", True),
            (33550, 12, 3, (1.0, 2.0, 0.0), True),
            (34675, 7, len(SRGB), SRGB, True),
        ],
    )
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture)
    with tifffile.TiffFile(tmp_path / "a.tif") as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        first, second = a.pages.first, b.pages.first
        np.testing.assert_array_equal(a.asarray(), b.asarray())
        if compression == "jpeg":
            assert second.compression == 8  # lossless
        else:
            assert (first.compression, first.predictor) == (second.compression, second.predictor)
        assert b.byteorder == byteorder and b.pages.first.resolution == (300, 250.5)
        for tag in (270, 282, 283, 296, 315, 33550, 34675):
            assert first.tags[tag].value == second.tags[tag].value, tag
        assert len(b.pages) == 3
    write_picture(tmp_path / "c.tif", picture.pixels[:, 2:], picture)
    with tifffile.TiffFile(tmp_path / "c.tif") as c:
        assert 33550 not in c.pages.first.tags  # a map of another crop


def test_tiff_carries_exif_to_jpeg_and_back(tmp_path):
    block = exif_block(8)
    Image.fromarray(pixels((16, 24, 3), "uint8")).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    picture = read_picture(tmp_path / "a.jpg")
    write_picture(tmp_path / "b.tif", picture)
    with Image.open(tmp_path / "b.tif") as seen:
        exif = seen.getexif()
        assert exif[0x010F] == "Maker" and exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
        assert exif.get_ifd(0x8769)[0xA002] == 16
        assert exif.get_ifd(0x8825)[2] == (47.0, 22.0, 5.5)
        np.testing.assert_array_equal(np.array(seen), picture.pixels)
    write_picture(tmp_path / "c.jpg", read_picture(tmp_path / "b.tif"))
    with Image.open(tmp_path / "c.jpg") as seen:
        exif = seen.getexif()
        assert exif[0x0110] == "Model 1" and exif.get_ifd(0x8769)[0x927C] == b"maker note \x00\x01"
        assert exif.get_ifd(0x8825)[1] == "N"


def test_tiff_of_other_layouts(tmp_path):
    stored = pixels((3, 7, 9), "uint8")
    tifffile.imwrite(tmp_path / "planar.tif", stored, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_picture(tmp_path / "planar.tif").pixels, np.moveaxis(stored, 0, -1))
    tifffile.imwrite(tmp_path / "white.tif", stored[0], photometric="miniswhite")
    np.testing.assert_array_equal(read_picture(tmp_path / "white.tif").pixels, 255 - stored[0])
    palette = Image.fromarray(np.moveaxis(stored, 0, -1)).quantize(16)
    palette.save(tmp_path / "palette.tif")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "palette.tif").pixels, np.array(palette.convert("RGB"))
    )
    Image.fromarray(stored[0] > 99).save(tmp_path / "bits.tif")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "bits.tif").pixels, (stored[0] > 99) * np.uint8(255)
    )


def test_tiff_keeps_premultiplied_alpha_and_imagej_stacks(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", pixels((7, 9, 4), "uint8"), photometric="rgb", extrasamples=["assocalpha"]
    )
    write_picture(tmp_path / "b.tif", read_picture(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as seen:
        assert tuple(seen.pages.first.extrasamples) == (1,)
    stack = pixels((5, 7, 9), "uint16")
    tifffile.imwrite(
        tmp_path / "i.tif", stack, imagej=True, metadata={"spacing": 0.5, "unit": "um", "axes": "ZYX"}
    )
    picture = read_picture(tmp_path / "i.tif")
    assert picture.pages
    write_picture(tmp_path / "j.tif", picture)
    with tifffile.TiffFile(tmp_path / "j.tif") as seen:
        assert seen.is_imagej and seen.imagej_metadata["spacing"] == 0.5
        np.testing.assert_array_equal(seen.asarray(), stack)


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3), (7, 9, 4), (8, 8, 3)])
def test_bmp_is_exact(tmp_path, shape):
    stored = pixels(shape, "uint8")
    write_picture(tmp_path / "a.bmp", stored)
    np.testing.assert_array_equal(np.array(look(tmp_path / "a.bmp")), stored)
    again = read_picture(tmp_path / "a.bmp")
    assert again.alpha == (shape[-1] == 4)
    np.testing.assert_array_equal(again.pixels, stored)


def test_bmp_keeps_resolution(tmp_path):
    for extra in ((), (4,)):
        Image.fromarray(pixels((7, 9, 3), "uint8")).save(tmp_path / "a.bmp", dpi=(300, 300))
        like = read_picture(tmp_path / "a.bmp")
        write_picture(tmp_path / "b.bmp", pixels((7, 9, *extra), "uint8"), like, overwrite=True)
        with Image.open(tmp_path / "b.bmp") as seen:
            assert seen.info["dpi"] == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("channels", [3, 4])
def test_webp_stays_lossless_or_is_written_at_95(tmp_path, channels):
    stored = pixels((16, 24, channels), "uint8")
    Image.fromarray(stored).save(
        tmp_path / "a.webp", lossless=True, exact=True, exif=exif_block(6), icc_profile=SRGB
    )
    picture = read_picture(tmp_path / "a.webp")
    np.testing.assert_array_equal(picture.pixels, np.rot90(stored, -1))
    write_picture(tmp_path / "b.webp", picture)
    with Image.open(tmp_path / "b.webp") as seen:
        np.testing.assert_array_equal(np.array(seen), picture.pixels)
        assert seen.info["icc_profile"] == SRGB and seen.getexif()[0x0112] == 1
    Image.fromarray(stored).save(tmp_path / "c.webp", quality=60)
    write_picture(tmp_path / "d.webp", read_picture(tmp_path / "c.webp"))
    reference = io.BytesIO()
    look(tmp_path / "c.webp").save(reference, "WEBP", quality=95, exact=True)
    np.testing.assert_array_equal(iio.imread(tmp_path / "d.webp"), iio.imread(reference.getvalue()))


def test_webp_of_grey_has_three_equal_channels(tmp_path):
    stored = np.full((16, 24), 77, np.uint8)
    write_picture(tmp_path / "a.webp", stored)
    assert np.abs(np.array(look(tmp_path / "a.webp")).astype(int) - 77).max() <= 1


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "float32", ">f8", "float16"])
def test_npy_is_exact(tmp_path, dtype):
    stored = pixels((7, 9, 3), "uint8").astype(dtype)
    np.save(tmp_path / "a.npy", stored)
    picture = read_picture(tmp_path / "a.npy")
    assert picture.dtype == np.dtype(dtype)
    write_picture(tmp_path / "b.npy", picture)
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), stored)


def test_icc_of_another_kind_of_pixel_is_dropped(tmp_path):
    Image.fromarray(pixels((7, 9, 3), "uint8")).save(tmp_path / "a.png", icc_profile=SRGB)
    colour = read_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.png", pixels((7, 9), "uint8"), colour)
    assert "icc_profile" not in look(tmp_path / "b.png").info


def test_resolution_travels_between_formats(tmp_path):
    write_picture(tmp_path / "a.tif", pixels((7, 9), "uint8"))
    Image.fromarray(pixels((7, 9), "uint8")).save(tmp_path / "a.png", dpi=(300, 300))
    picture = read_picture(tmp_path / "a.png")
    for name in ("b.tif", "b.jpg", "b.bmp", "b.png"):
        write_picture(tmp_path / name, picture)
        assert look(tmp_path / name).info["dpi"] == pytest.approx((300, 300), abs=0.02), name


def test_content_decides_not_the_name(tmp_path):
    Image.fromarray(pixels((7, 9), "uint8")).save(tmp_path / "a.jpg", format="PNG")
    assert read_picture(tmp_path / "a.jpg").format == "png"


def test_bool_is_written_as_black_and_white(tmp_path):
    write_picture(tmp_path / "a.png", np.eye(5, dtype=bool))
    np.testing.assert_array_equal(np.array(look(tmp_path / "a.png")), np.eye(5) * 255)
