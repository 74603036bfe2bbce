"""A file is complete or not there."""

import os

import numpy as np
import pytest

from imaging.files import atomic_write, read_picture, write_picture
from imaging.files.errors import OutputExistsError


def test_complete_at_the_end_and_nothing_before(tmp_path):
    with atomic_write(tmp_path / "a.txt") as stream:
        stream.write(b"one")
        assert not (tmp_path / "a.txt").exists()
        (part,) = tmp_path.iterdir()
        assert part.name.endswith(".part") and part.name.startswith(".")
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"one"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_no_trace(tmp_path, error):
    (tmp_path / "a.txt").write_bytes(b"old")
    with pytest.raises(error), atomic_write(tmp_path / "a.txt", overwrite=True) as stream:
        stream.write(b"new")
        raise error
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


def test_a_failing_encoder_leaves_no_trace(tmp_path, monkeypatch):
    def interrupt(picture):
        raise KeyboardInterrupt

    write_picture(tmp_path / "a.png", np.eye(5, dtype=np.uint8))
    monkeypatch.setattr("imaging.files.png.encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_picture(tmp_path / "a.png", np.ones((5, 5), np.uint8), overwrite=True)
    assert [f.name for f in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").pixels, np.eye(5))


def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OutputExistsError), atomic_write(tmp_path / "a.txt") as stream:
        stream.write(b"mine")
        (tmp_path / "a.txt").write_bytes(b"theirs")
    assert (tmp_path / "a.txt").read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_permissions_follow_the_umask_or_the_old_file(tmp_path):
    with atomic_write(tmp_path / "a.txt") as stream:
        stream.write(b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert os.stat(tmp_path / "a.txt").st_mode == os.stat(tmp_path / "plain").st_mode
    os.chmod(tmp_path / "a.txt", 0o640)
    with atomic_write(tmp_path / "a.txt", overwrite=True) as stream:
        stream.write(b"y")
    assert os.stat(tmp_path / "a.txt").st_mode & 0o777 == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.txt").write_bytes(b"old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with atomic_write(tmp_path / "link.txt", overwrite=True) as stream:
        stream.write(b"new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_bytes() == b"new"


def test_the_longest_name_the_file_system_takes(tmp_path):
    with atomic_write(tmp_path / ("n" * 255)) as stream:
        stream.write(b"x")
    assert len(list(tmp_path.iterdir())) == 1
