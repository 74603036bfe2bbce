"""`proxlab psf`, `noise`, `replay`, `info`."""

import json
from pathlib import Path

import numpy as np
import pytest

import proxlab
from imaging.files.picture import read_picture, write_picture
from imaging.psf.files import read_psf
from imaging.psf.generators import gaussian, motion
from proxlab.__main__ import main

ASIS = ["-p", "gaussian:1", "--method", "identity"]


def test_psf_is_written_and_plotted(folder, capsys):
    assert main(["psf", "motion:5@30", "-o", "k.npy", "--plot", "k.png"]) == 0
    np.testing.assert_allclose(np.load("k.npy"), motion(5, 30))
    assert read_picture("k.png").size[0] > 100
    assert capsys.readouterr().out == "motion:5@30: 5x5, sum 1\n"
    assert main(["psf", "motion:5@30", "-o", "k.npy"]) == 2
    assert main(["psf", "motion:5@40", "-o", "k.npy", "--overwrite"]) == 0
    np.testing.assert_allclose(np.load("k.npy"), motion(5, 40))


def test_psf_check_says_what_the_doctor_finds(folder, capsys):
    np.save("k.npy", np.pad(np.ones((3, 3)), 4))
    assert main(["psf", "--check", "k.npy"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "mended: cropped from 11x11 to 3x3: the rest holds no light.",
        "mended: its sum was 9: divided by it.",
    ]
    assert main(["psf", "--check", "k.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shape"] == [3, 3]
    np.save("k.npy", np.zeros((3, 3)))
    assert main(["psf", "--check", "k.npy"]) == 3
    assert main(["psf", "--check", "."]) == 3


def test_psf_from_a_point_and_from_an_edge(folder):
    picture = np.full((90, 90), 0.1)
    picture[40:71, 30:61] += np.pad(gaussian(2), 7)[:31, :31] * 20
    np.save("star.npy", picture + 1e-4 * np.random.default_rng(0).standard_normal(picture.shape))
    assert main(["psf", "--from-point", "star.npy", "--at", "55,45", "-o", "k.npy"]) == 0
    assert np.unravel_index(read_psf("k.npy").argmax(), read_psf("k.npy").shape) == tuple(
        n // 2 for n in read_psf("k.npy").shape
    )
    assert main(["psf", "--from-point", "star.npy"]) == 2
    from scipy.ndimage import gaussian_filter

    rows, columns = np.mgrid[:90, :90]
    np.save("edge.npy", gaussian_filter(np.where(columns + 0.1 * rows > 50, 0.8, 0.2), 2.0))
    assert main(["psf", "--from-edge", "edge.npy", "--at", "45,45", "--size", "41", "-o", "e.npy"]) == 0
    found = read_psf("e.npy")
    spread = np.sqrt((found.sum(0) * (np.arange(found.shape[1]) - found.shape[1] // 2) ** 2).sum())
    assert spread == pytest.approx(2.0, abs=0.2)


def test_psf_mistakes(folder, capsys):
    assert main(["psf"]) == 2
    assert main(["psf", "motion:auto"]) == 2
    assert "name it with --image FILE" in capsys.readouterr().err
    assert main(["psf", "motion:5", "--plot", "k.gif"]) == 2
    assert main(["psf", "motion:5", "-o", "k.gif"]) == 3
    assert [p.name for p in folder.iterdir()] == ["a.png"]


def test_noise_prints_what_python_returns(folder, capsys, grey):
    assert main(["noise", "a.png"]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(proxlab.estimate_noise(grey), abs=1e-6)
    write_picture("b.png", grey)
    assert main(["noise", "a.png", "b.png", "lost.png"]) == 3
    assert main(["noise", "a.png", "b.png", "-p", "gaussian:1", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["source"] for record in records] == ["a.png", "b.png"]
    assert records[0]["sigma"] == pytest.approx(proxlab.estimate_noise(grey, "gaussian:1"))


def test_replay_says_whether_the_same_comes_out(folder, capsys, spy):
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--origin", "4,4", "--linear"])
    capsys.readouterr()
    assert main(["replay", "a_deblurred.json", "-o", "again.png"]) == 0
    assert capsys.readouterr().out == "the same: a_deblurred.png\n"
    assert Path("again.png").read_bytes() == Path("a_deblurred.png").read_bytes()
    spy.answer = lambda task: task.op.embed(task.y) * 0.9
    assert main(["replay", "a_deblurred.json"]) == 1
    err = capsys.readouterr().err
    assert err == "proxlab: a_deblurred.png is not reproduced: the result differs with the same versions.\n"


def test_replay_looks_at_the_written_file_too(folder, capsys):
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "identity"])
    written = Path("a_deblurred.png")
    written.write_bytes(written.read_bytes()[:-20])
    assert main(["replay", "a_deblurred.json"]) == 1
    assert "the file has been changed since" in capsys.readouterr().err
    written.unlink()
    assert main(["replay", "a_deblurred.json"]) == 0
    assert "is no longer there" in capsys.readouterr().err


def test_replay_from_another_folder_with_files_for_psf_and_mask(folder, grey, monkeypatch, tmp_path):
    np.save("k.npy", np.ones((3, 5)))
    write_picture("m.png", np.where(grey > 70, 255, 0).astype(np.uint8))
    args = [
        "deblur",
        "a.png",
        "-p",
        "k.npy",
        "--mask",
        "m.png",
        "-o",
        "out/",
        "--method",
        "tv",
        "--iter",
        "3",
    ]
    assert main(args) in (0, 5)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["replay", "../out/a_deblurred.json"]) == 0


def test_replay_notices_changed_and_missing_files(folder, capsys, grey):
    np.save("k.npy", np.ones((3, 3)))
    main(["deblur", "a.png", "-p", "k.npy", "--method", "identity"])
    np.save("k.npy", np.ones((3, 5)))
    assert main(["replay", "a_deblurred.json"]) == 1
    assert "k.npy is not the file it was" in capsys.readouterr().err
    Path("k.npy").unlink()
    assert main(["replay", "a_deblurred.json"]) == 3
    assert "needs k.npy, which is not there" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"schema": "other"}', "\x00\x01"])
def test_what_is_no_receipt(folder, capsys, content):
    Path("r.json").write_text(content)
    assert main(["replay", "r.json"]) == 3
    assert "receipt" in capsys.readouterr().err


def test_info_lists_versions_devices_methods(capsys):
    assert main(["info", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {"auto", "identity", "wiener", "tikhonov", "tv", "richardson-lucy"} <= set(record["methods"])
    assert record["devices"][0].startswith("cpu") and ".png" in record["formats"]
    assert main(["info"]) == 0
    assert "identity" in capsys.readouterr().out


def test_a_kind_of_psf_goes_before_a_file_of_that_name(folder):
    from proxlab.receipt import psf_file

    Path("gaussian").write_text("x")
    np.save("k.npy", np.ones((3, 3)))
    Path("k.mat").write_bytes(b"x")
    assert psf_file("gaussian:2") is None and psf_file("gone.npy") is None
    assert psf_file("k.npy") == Path("k.npy") and psf_file("k.mat:h") == Path("k.mat")
