"""`proxlab deblur` in process on tiny pictures: what is written, what is printed, what comes back."""

import json
from pathlib import Path

import numpy as np
import pytest

from imaging.files.picture import read_picture, write_picture
from proxlab.__main__ import main

ASIS = ["-p", "gaussian:1", "--method", "identity"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_result_and_its_receipt_lie_beside_the_input(folder, capsys, grey):
    assert main(["deblur", "a.png", *ASIS]) == 0
    assert names(folder) == ["a.png", "a_deblurred.json", "a_deblurred.png"]
    np.testing.assert_array_equal(read_picture("a_deblurred.png").pixels, grey)
    told = capsys.readouterr()
    assert told.out == "a_deblurred.png\n"
    assert told.err.startswith("a.png -> a_deblurred.png: identity, sigma 0.0")
    receipt = json.loads(Path("a_deblurred.json").read_text())
    assert receipt["info"]["method"] == "identity" and receipt["source"] == "a.png"


def test_quiet_and_json(folder, capsys):
    assert main(["deblur", "a.png", *ASIS, "--quiet", "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    record = json.loads(told.out)
    assert record["result"] == "a_deblurred.png" and record["status"] == "exact"


def test_flags_reach_the_method_and_only_those_typed(folder, spy, grey):
    write_picture("m.png", np.where(np.arange(30) < 7, 0, 255).astype(np.uint8)[None].repeat(24, 0))
    flags = "--sigma 0.02 --boundary edge --lam 0.5 --iter 9 --seed 4 --origin 3,4 --mask m.png --device cpu"
    assert main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", *flags.split()]) == 0
    task = spy.tasks[0]
    assert (task.sigma, task.lam, task.num_iter, task.seed) == (0.02, 0.5, 9, 4)
    info = json.loads(Path("a_deblurred.json").read_text())["info"]
    assert info["masked"] == 24 * 7 and "edge borders" in info["operator"]
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--overwrite"])
    assert (spy.tasks[1].lam, spy.tasks[1].num_iter, spy.tasks[1].seed) == (None, None, 0)


def test_mask_off_uses_clipped_pixels(folder, spy, grey):
    grey[3:9, 3:9] = 255
    write_picture("a.png", grey, overwrite=True)
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy"])
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--mask", "off", "-o", "b.png"])
    masked = [json.loads(Path(name).read_text())["info"]["masked"] for name in ("a_deblurred.json", "b.json")]
    assert masked == [36, 0]


def test_every_page_of_a_tiff(folder, spy):
    pages = np.random.default_rng(0).integers(9000, 40000, (3, 12, 14), dtype=np.uint16)
    write_picture("p.tif", pages)
    spy.answer = lambda task: task.op.embed(task.y) / 2
    assert main(["deblur", "p.tif", "-p", "gaussian:1", "--method", "spy"]) == 0
    result = read_picture("p_deblurred.tif")
    assert result.pages and result.dtype == np.uint16
    np.testing.assert_allclose(result.pixels, pages / 2, atol=0.51)
    receipt = json.loads(Path("p_deblurred.json").read_text())
    assert len(receipt["pages"]) == 3 and receipt["pages"][2]["method"] == "spy"
    assert main(["replay", "p_deblurred.json"]) == 0


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_passes_through(folder, spy, channels):
    image = np.random.default_rng(0).integers(40, 200, (12, 14, channels), dtype=np.uint8)
    write_picture("t.png", image)
    spy.answer = lambda task: task.op.embed(task.y) / 2
    assert main(["deblur", "t.png", "-p", "gaussian:1", "--method", "spy"]) == 0
    result = read_picture("t_deblurred.png").pixels
    np.testing.assert_array_equal(result[..., -1], image[..., -1])
    np.testing.assert_allclose(result[..., :-1], image[..., :-1] / 2, atol=0.51)


def test_roi_changes_the_region_only_and_sees_its_surroundings(folder, spy, grey):
    big = np.tile(grey, (4, 4))
    write_picture("big.png", big)
    spy.answer = lambda task: task.op.embed(task.y) / 2
    args = ["big.png", "-p", "gaussian:1", "--method", "spy", "--roi", "30:40,50:70"]
    assert main(["deblur", *args]) == 0
    result = read_picture("big_deblurred.png").pixels
    expected = big.astype(float)
    expected[30:40, 50:70] /= 2
    np.testing.assert_allclose(result, expected, atol=0.51)
    assert spy.tasks[0].y.shape == (1, 1, 10 + 2 * 16, 20 + 2 * 16)
    assert main(["replay", "big_deblurred.json"]) == 0
    assert main(["deblur", *args, "--boundary", "circular", "--overwrite"]) == 2


def test_linear_works_on_light(folder, spy, grey):
    spy.answer = lambda task: task.op.embed(task.y) / 2
    assert main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--linear"]) == 0
    light = ((grey / 255 + 0.055) / 1.055) ** 2.4 / 2
    by_hand = np.rint(255 * (1.055 * light ** (1 / 2.4) - 0.055))
    np.testing.assert_allclose(read_picture("a_deblurred.png").pixels, by_hand, atol=1)


def test_scale_makes_a_larger_file(folder):
    assert main(["deblur", "a.png", *ASIS, "--scale", "2"]) == 0
    assert read_picture("a_deblurred.png").size == (48, 60)


def test_same_as_takes_method_sigma_lam_and_iterations(folder, spy):
    main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--sigma", "0.033"])
    assert main(["deblur", "a.png", "-p", "box:3", "--same-as", "a_deblurred.json", "-o", "b.png"]) == 0
    task = spy.tasks[1]
    assert (task.sigma, task.lam, task.num_iter) == (0.033, 0.25, 3)
    assert (
        main(["deblur", "a.png", "-p", "box:3", "--same-as", "a_deblurred.json", "--lam", "9", "-o", "c.png"])
        == 0
    )
    assert spy.tasks[2].lam == 9
    again = [
        "deblur",
        "a.png",
        "-p",
        "box:3",
        "--same-as",
        "a_deblurred.json",
        "--sigma",
        "0.1",
        "-o",
        "d.png",
    ]
    assert main(again) == 0  # the weight was made for another level
    assert (spy.tasks[3].sigma, spy.tasks[3].lam) == (0.1, None)


def test_same_as_with_another_method_takes_nothing_of_the_first_methods_own(folder):
    main(["deblur", "a.png", "-p", "box:3", "--method", "tv", "--sigma", "0.03", "--iter", "3"])
    other = ["--same-as", "a_deblurred.json", "--method", "tikhonov", "-o", "b.png"]
    assert main(["deblur", "a.png", "-p", "box:3", *other]) == 0
    info = json.loads(Path("b.json").read_text())["info"]
    assert (info["method"], info["sigma"]) == ("tikhonov", 0.03) and info["lam_rule"] != "given"


def test_dry_run_writes_nothing(folder, capsys, spy):
    args = ["deblur", "a.png", "-p", "gaussian:1", "--method", "spy", "--dry-run", "-o", "new/"]
    assert main(args) == 0
    assert names(folder) == ["a.png"]
    plan = capsys.readouterr().out
    assert "a.png -> new/a_deblurred.png" in plan
    assert all(word in plan for word in ("method    spy", "blur by 9x9, unknown borders", "memory    about"))
    assert spy.tasks == []


def test_no_convergence_is_written_with_code_5_unless_strict(folder, spy, capsys):
    spy.status = "max_iter"
    args = ["deblur", "a.png", "-p", "gaussian:1", "--method", "spy"]
    assert main([*args, "--strict"]) == 5
    assert names(folder) == ["a.png"]
    assert "nothing is written (--strict): max iter: the test said so" in capsys.readouterr().err
    assert main(args) == 5
    assert names(folder) == ["a.png", "a_deblurred.json", "a_deblurred.png"]
    assert "warning: max iter" in capsys.readouterr().err


def test_nan_is_code_5_and_writes_nothing(folder, spy):
    spy.answer = lambda task: task.op.embed(task.y) * float("nan")
    assert main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy"]) == 5
    assert names(folder) == ["a.png"]


def test_overwrite_replaces_and_nothing_else_does(folder, capsys):
    Path("a_deblurred.json").write_text("precious")
    assert main(["deblur", "a.png", *ASIS]) == 2
    assert "a_deblurred.json exists already" in capsys.readouterr().err
    assert names(folder) == ["a.png", "a_deblurred.json"]
    assert main(["deblur", "a.png", *ASIS, "--overwrite"]) == 0
    assert json.loads(Path("a_deblurred.json").read_text())["verb"] == "deblur"


def test_a_receipt_that_cannot_be_written_takes_its_picture_with_it(folder, monkeypatch):
    def broken(*args, **options):
        message = "disk full"
        raise OSError(message)

    monkeypatch.setattr("proxlab.cli.batch.write_receipt", broken)
    assert main(["deblur", "a.png", *ASIS]) == 1
    assert names(folder) == ["a.png"]


def test_another_format_is_chosen_by_the_output_name(folder, grey):
    assert main(["deblur", "a.png", *ASIS, "-o", "b.tif"]) == 0
    np.testing.assert_array_equal(read_picture("b.tif").pixels, grey)
    assert Path("b.json").exists()


def test_interrupting_leaves_nothing(folder, spy, capsys):
    def interrupt(task):
        raise KeyboardInterrupt

    spy.answer = interrupt
    assert main(["deblur", "a.png", "-p", "gaussian:1", "--method", "spy"]) == 130
    assert names(folder) == ["a.png"]
    assert "interrupted, nothing half-written" in capsys.readouterr().err
