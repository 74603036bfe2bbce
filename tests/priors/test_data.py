from functools import partial

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
import torch

from priors.data import (
    Ahead,
    NoisyPatches,
    Pictures,
    as_training_pixels,
    load_pictures,
    reflect_to,
    split,
    validation_psnr,
)


@pytest.fixture
def folder(tmp_path):
    """The same grey ramp in grey and colour, 8 and 16 bits, PNG, JPEG and TIFF; and two broken files."""
    ramp = np.tile(np.linspace(0, 255, 40).round().astype(np.uint8), (24, 1))
    rgb = np.repeat(ramp[..., None], 3, axis=2)
    iio.imwrite(tmp_path / "a_grey8.png", ramp)
    iio.imwrite(tmp_path / "b_grey16.png", ramp.astype(np.uint16) * 257)
    iio.imwrite(tmp_path / "c_rgb8.JPG", rgb, extension=".jpg", quality=98)
    (tmp_path / "deeper").mkdir()
    tifffile.imwrite(tmp_path / "deeper" / "d_rgb16.tif", rgb.astype(np.uint16) * 257, photometric="rgb")
    tifffile.imwrite(tmp_path / "e_float.tiff", (ramp / 255).astype(np.float32))
    iio.imwrite(tmp_path / "f_rgba.png", np.dstack([rgb, np.full_like(ramp, 7)]))
    (tmp_path / "g_broken.png").write_bytes((tmp_path / "a_grey8.png").read_bytes()[:60])
    (tmp_path / "h_broken.tif").write_bytes(b"this is no picture")
    (tmp_path / "notes.txt").write_text("not a picture either")
    return tmp_path


@pytest.mark.parametrize("color", [False, True])
def test_every_format_gives_the_same_ramp(folder, color):
    pictures = load_pictures([folder], color=color)
    assert len(pictures.pixels) == 6
    ramp = np.linspace(0, 255, 40).round()
    for name, pixels in zip(pictures.names, pictures.pixels, strict=True):
        assert pixels.dtype == np.uint8
        assert pixels.shape == (3 if color else 1, 24, 40), name
        assert np.abs(pixels.astype(float) - ramp).max() <= (3 if name.endswith("JPG") else 0.5), name


def test_broken_files_are_named_and_counted(folder):
    skipped = load_pictures([folder], color=False).skipped
    assert [name.rsplit("/")[-1] for name, _ in skipped] == ["g_broken.png", "h_broken.tif"]
    assert all(reason for _, reason in skipped)


def test_nothing_usable(tmp_path):
    with pytest.raises(ValueError, match=r"no usable picture in .* no picture file"):
        load_pictures([tmp_path], color=False)
    (tmp_path / "x.png").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"all 1 picture files failed, first: .*x\.png"):
        load_pictures([tmp_path], color=False)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_pictures([tmp_path / "nowhere"], color=False)


def test_grey_from_colour_is_itu_601():
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8)
    assert as_training_pixels(rgb, color=False)[0, 0].tolist() == [76, 150, 29]


def test_unknown_pixels_are_refused():
    with pytest.raises(ValueError, match="int64"):
        as_training_pixels(np.zeros((3, 3), np.int64), color=False)
    with pytest.raises(ValueError, match="shape"):
        as_training_pixels(np.zeros((3, 3, 9), np.uint8), color=False)
    with pytest.raises(ValueError, match="run from 0 to 200: floats are read on"):
        as_training_pixels(np.array([[0, 200]], np.float32), color=False)
    assert as_training_pixels(np.array([[-0.1, 1.2]], np.float32), color=False).tolist() == [[[0, 255]]]


def test_reflection_of_small_pictures():
    small = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert reflect_to(small, 5)[0].tolist() == [
        [0, 1, 2, 1, 0],
        [3, 4, 5, 4, 3],
        [0, 1, 2, 1, 0],
        [3, 4, 5, 4, 3],
        [0, 1, 2, 1, 0],
    ]
    assert reflect_to(np.full((3, 1, 1), 9, np.uint8), 4).shape == (3, 4, 4)
    pictures, count = Pictures((small, np.zeros((1, 9, 9), np.uint8)), ("a", "b")).at_least(5)
    assert count == 1
    assert [p.shape for p in pictures.pixels] == [(1, 5, 5), (1, 9, 9)]


@pytest.fixture
def pictures():
    rng = np.random.default_rng(3)
    return Pictures(
        tuple(rng.integers(0, 256, (1, 20 + i, 31), dtype=np.uint8) for i in range(5)), tuple("abcde")
    )


def test_a_batch_depends_on_seed_step_and_rank_alone(pictures):
    make = partial(NoisyPatches, pictures, 16, 4, (0.0, 0.2))
    first = make(seed=1)
    state = torch.get_rng_state()
    same = make(seed=1)
    for k in (7, 0, 3):  # in any order
        assert all(torch.equal(a, b) for a, b in zip(first(k), same(k), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    others = [
        first(8),
        NoisyPatches(pictures, 16, 4, (0.0, 0.2), 2)(7),
        NoisyPatches(pictures, 16, 4, (0.0, 0.2), 1, 1)(7),
    ]
    assert not any(torch.equal(first(7)[0], other[0]) for other in others)


def test_ahead_gives_the_same_batches(pictures):
    plain = NoisyPatches(pictures, 16, 4, (0.0, 0.2), seed=1)
    ahead = Ahead(plain, threads=3)
    for k in (0, 1, 2, 7):
        assert all(torch.equal(a, b) for a, b in zip(ahead(k), plain(k), strict=True))


def test_noise_has_the_level_it_says(pictures):
    noisy, clean, sigma = NoisyPatches(pictures, 20, 200, (0.05, 0.2), seed=0)(0)
    assert noisy.dtype == torch.float32
    measured = (noisy - clean).flatten(1).std(1)
    assert torch.allclose(measured, sigma, rtol=0.2)
    assert 0.05 <= float(sigma.min()) < 0.06
    assert 0.19 < float(sigma.max()) <= 0.2


def test_patches_are_cut_from_the_pictures_in_eight_orientations():
    picture = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    clean = NoisyPatches(Pictures((picture,), ("a",)), 8, 64, (0.1, 0.1), seed=0)(0)[1]
    turned = {tuple((255 * c).round().int().flatten().tolist()) for c in clean}
    wanted = {
        tuple(np.rot90(flip, k).flatten().tolist())
        for k in range(4)
        for flip in (picture[0], picture[0][:, ::-1])
    }
    assert turned == wanted


def test_split_keeps_every_picture_once(pictures):
    held, kept = split(pictures)
    assert sorted(held.names + kept.names) == list("abcde")
    assert held.names == ("a",)


def test_split_keeps_the_pages_of_a_file_together():
    page = np.zeros((1, 2, 2), np.uint8)
    held, kept = split(Pictures((page,) * 5, ("a", "a", "a", "b", "b")))
    assert (held.names, kept.names) == (("a", "a", "a"), ("b", "b"))
    assert split(held)[0].names == split(held)[1].names == ("a", "a", "a")


def test_every_page_is_a_picture(tmp_path):
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((3, 12, 11), np.uint8), photometric="minisblack")
    assert [p.shape for p in load_pictures([tmp_path], color=False).pixels] == [(1, 12, 11)] * 3


def test_fingerprint_sees_a_pixel(pictures):
    changed = [p.copy() for p in pictures.pixels]
    changed[2][0, 3, 3] ^= 1
    assert Pictures(tuple(changed), pictures.names).fingerprint() != pictures.fingerprint()


def test_validation_psnr_of_doing_nothing_is_the_noise():
    clean = [torch.full((1, 1, 64, 64), 0.5)] * 3
    value = validation_psnr(lambda y, sigma: y, clean, 0.1, seed=5)
    assert value == pytest.approx(20.0, abs=0.2)
    assert validation_psnr(lambda y, sigma: y, clean, 0.1, seed=5) == value
