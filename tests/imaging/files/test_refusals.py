"""Every refusal by its message, and that nothing is left behind."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from imaging.files import (
    OutputExistsError,
    PictureError,
    PictureNotFoundError,
    read_picture,
    write_picture,
)

GREY = (np.arange(48 * 64) % 251).reshape(48, 64).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "bmp", "webp", "npy"])
@pytest.mark.parametrize("share", [0.98, 0.5, 0.05])
def test_truncated_file(tmp_path, extension, share):
    whole = tmp_path / f"a.{extension}"
    write_picture(whole, np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    assert read_picture(whole).size == (48, 64)
    content = whole.read_bytes()
    (tmp_path / f"cut.{extension}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        PictureError, match=rf"cut.{extension}.* (truncated.*opy or download|damaged .*: copy) it again"
    ):
        read_picture(tmp_path / f"cut.{extension}")


def test_truncation_is_called_so(tmp_path):
    for extension in ("png", "jpg", "webp"):
        write_picture(tmp_path / f"a.{extension}", COLOUR)
        content = (tmp_path / f"a.{extension}").read_bytes()
        (tmp_path / f"a.{extension}").write_bytes(content[:-200])
        with pytest.raises(PictureError, match=r"is truncated"):
            read_picture(tmp_path / f"a.{extension}")


def test_truncated_stack(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((3, 48, 64, 3), np.uint16), photometric="rgb", metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(PictureError, match=r"a.tif: the TIFF is truncated after 1 pages: copy or download"):
        read_picture(tmp_path / "a.tif")


def test_flipped_bits_in_a_png(tmp_path):
    write_picture(tmp_path / "a.png", COLOUR)
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(
        PictureError, match=r"a.png is a damaged or unknown kind of PNG \(.*\): copy it again or convert it."
    ):
        read_picture(tmp_path / "a.png")


def test_no_picture_to_read(tmp_path):
    with pytest.raises(PictureError, match=r"is a folder, but a picture file was wanted: name a file in it."):
        read_picture(tmp_path)
    with pytest.raises(PictureNotFoundError, match=r"no.png does not exist: check the name and the folder"):
        read_picture(tmp_path / "no.png")
    (tmp_path / "zero.png").touch()
    with pytest.raises(PictureError, match=r"zero.png is empty \(0 bytes\): copy or download it again."):
        read_picture(tmp_path / "zero.png")
    (tmp_path / "a.png").write_text("hello, world")
    with pytest.raises(PictureError, match=r"a.png is not a PNG file: it begins with b'hello, w'"):
        read_picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("hello, world")
    with pytest.raises(
        PictureError, match=r"a.txt is not a picture that can be read here: .*PNG, JPEG, TIFF"
    ):
        read_picture(tmp_path / "a.txt")


def test_errors_are_also_the_usual_python_ones(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_picture(tmp_path / "no.png")
    write_picture(tmp_path / "a.png", GREY)
    with pytest.raises(FileExistsError):
        write_picture(tmp_path / "a.png", GREY)
    with pytest.raises(ValueError):
        write_picture(tmp_path / "a.xyz", GREY)


def test_colours_that_are_not_rgb(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(
        PictureError, match=r"a.jpg: the JPEG is CMYK, but grey or RGB was wanted: convert it"
    ):
        read_picture(tmp_path / "a.jpg")
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.tif")
    with pytest.raises(
        PictureError, match=r"a.tif: the TIFF holds CMYK, but grey or RGB was wanted: convert it"
    ):
        read_picture(tmp_path / "a.tif")
    Image.fromarray(COLOUR).convert("LAB").save(tmp_path / "b.tif")
    with pytest.raises(PictureError, match=r"the TIFF holds CIE L\*a\*b\*"):
        read_picture(tmp_path / "b.tif")


def test_animations(tmp_path):
    frames = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1].copy())]
    for name, what in (("a.webp", "WebP"), ("a.png", "PNG")):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        with pytest.raises(PictureError, match=f"the {what} is an animation: save the frame you want"):
            read_picture(tmp_path / name)


def test_tiff_that_is_no_picture(tmp_path):
    tifffile.imwrite(
        tmp_path / "five.tif", np.zeros((8, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(
        PictureError, match=r"the TIFF has 5 samples a pixel, but 1 to 4 were wanted: save the"
    ):
        read_picture(tmp_path / "five.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as tif:
        tif.write(GREY)
        tif.write(GREY[:20].astype(np.uint16))
    with pytest.raises(
        PictureError, match=r"the TIFF has pages of different kinds or sizes .*: split it into"
    ):
        read_picture(tmp_path / "two.tif")


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 5), complex), "the array is complex .complex128.: save its real part or its magnitude"),
        (np.zeros((4, 5, 6)), r"the array is a volume of shape \(4, 5, 6\), but \(H, W\) or \(H, W, C\)"),
        (np.zeros(4), r"the array has the shape \(4,\), but \(H, W\)"),
        (np.array([["a"]]), "the array has <U1 values: integers or floats were wanted"),
        (np.zeros((0, 5)), r"a.npy is empty: its shape is \(0, 5\), at least one pixel was wanted"),
    ],
)
def test_array_that_is_no_picture(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(PictureError, match=message):
        read_picture(tmp_path / "a.npy")


def test_array_with_pickled_objects_is_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(PictureError, match=r"a.npy is a damaged or unknown kind of npy"):
        read_picture(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "name, pixels, message",
    [
        (
            "a.png",
            GREY / 255,
            r"PNG cannot hold float64 pixels \(it holds uint8 or uint16\): write .tif or .npy, or con",
        ),
        (
            "a.jpg",
            GREY / np.float32(255),
            r"JPEG cannot hold float32 pixels \(it holds uint8\): write .tif or .npy",
        ),
        (
            "a.jpg",
            GREY.astype(np.uint16),
            r"JPEG cannot hold uint16 pixels .*: write .png or .tif or .npy, or convert",
        ),
        ("a.webp", GREY.astype(np.uint16), "WebP cannot hold uint16 pixels"),
        ("a.bmp", GREY.astype(np.uint16), "BMP cannot hold uint16 pixels"),
        ("a.jpg", np.dstack([COLOUR, GREY]), "JPEG cannot hold an alpha channel: write .png or .tif or .npy"),
        ("a.bmp", np.dstack([GREY, GREY]), "BMP cannot hold an alpha channel"),
        ("a.png", np.zeros((5, 8, 9), np.uint8), "PNG cannot hold several pages: write .tif or .npy"),
        ("a.png", GREY * 1j, "the picture is complex .complex128.: write its real part or its magnitude"),
        ("a.png", GREY[:0], r"the picture has the shape \(0, 64\), but \(H, W\) or \(H, W, C\) with pixels"),
        (
            "a.xyz",
            GREY,
            "a.xyz has the unknown extension .xyz, so its format is not known: use one of .bmp, ",
        ),
        ("a", GREY, "a has no extension, so its format is not known"),
        ("no/a.png", GREY, "a.png cannot be written because the folder .*no does not exist: create it first"),
        ("", GREY, "has no extension|is a folder"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, pixels, message):
    with pytest.raises(PictureError, match=message):
        write_picture(tmp_path / name, pixels)
    assert list(tmp_path.iterdir()) == []


def test_output_exists(tmp_path):
    write_picture(tmp_path / "a.png", GREY)
    with pytest.raises(
        OutputExistsError, match=r"a.png exists already: choose another output, or overwrite it"
    ):
        write_picture(tmp_path / "a.png", 255 - GREY)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, GREY)
    write_picture(tmp_path / "a.png", 255 - GREY, overwrite=True)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, 255 - GREY)
    (tmp_path / "b.png").mkdir()
    with pytest.raises(PictureError, match=r"b.png is a folder, but a file was wanted"):
        write_picture(tmp_path / "b.png", GREY, overwrite=True)


def test_metadata_too_long_for_jpeg(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.webp", xmp=b"x" * 70000)
    picture = read_picture(tmp_path / "a.webp")
    with pytest.raises(
        PictureError, match=r"b.jpg: its metadata has a block of 70029 bytes .*--strip-metadata"
    ):
        write_picture(tmp_path / "b.jpg", picture)
    assert read_picture(write_picture(tmp_path / "b.jpg", picture, strip_metadata=True)).metadata.xmp is None
