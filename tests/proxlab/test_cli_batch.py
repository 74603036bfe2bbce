"""Several inputs: names, collisions, exit codes."""

from pathlib import Path

import pytest

from imaging.files.picture import write_picture
from proxlab.__main__ import main
from proxlab.cli.batch import worst
from proxlab.cli.outputs import find_sources, plan_targets
from proxlab.errors import UsageError

ASIS = ["-p", "gaussian:1", "--method", "identity"]


def test_a_folder_twice_does_not_deblur_its_own_results(folder, grey):
    write_picture("b.png", grey)
    assert main(["deblur", ".", *ASIS]) == 0
    assert main(["deblur", ".", *ASIS, "--overwrite"]) == 0
    assert sorted(p.name for p in folder.glob("*.png")) == [
        "a.png",
        "a_deblurred.png",
        "b.png",
        "b_deblurred.png",
    ]


def test_the_psf_and_the_mask_of_a_run_are_not_its_pictures(folder, grey):
    write_picture("k.png", grey[:5, :5])
    write_picture("m.png", grey)
    sources, passed_over = find_sources(["."], [Path("k.png"), Path("m.png").resolve()])
    assert [path.name for path in sources] == ["a.png"] and passed_over == 2
    sources, _ = find_sources(["k.png"], [Path("k.png")])
    assert [path.name for path in sources] == ["k.png"]


def test_only_results_in_a_folder(folder):
    Path("a.png").rename("a_deblurred.png")
    assert main(["deblur", ".", *ASIS]) == 2


def test_patterns_and_an_output_folder_that_is_made(folder, grey):
    write_picture("b.png", grey)
    assert main(["deblur", "*.png", *ASIS, "-o", "out/"]) == 0
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "a_deblurred.json",
        "a_deblurred.png",
        "b_deblurred.json",
        "b_deblurred.png",
        "summary.json",
    ]


def test_one_bad_picture_does_not_stop_the_others(folder, grey, capsys):
    Path("bad.png").write_bytes(Path("a.png").read_bytes()[:60])
    write_picture("z.png", grey)
    assert main(["deblur", "a.png", "bad.png", "z.png", *ASIS]) == 6
    assert Path("a_deblurred.png").exists() and Path("z_deblurred.png").exists()
    assert not Path("bad_deblurred.png").exists()
    err = capsys.readouterr().err
    assert "proxlab: error: bad.png" in err and "1 of 3 pictures failed." in err


def test_all_bad_gives_their_own_code(folder):
    for name in ("x.png", "y.png"):
        Path(name).write_bytes(b"nothing")
    assert main(["deblur", "x.png", "y.png", *ASIS]) == 3


def test_a_strict_failure_among_others_is_a_failure(folder, grey, spy):
    write_picture("b.tif", grey)
    spy.status = "diverged"
    args = ["deblur", "a.png", "b.tif", "-p", "gaussian:1", "--method", "spy"]
    assert main([*args, "--strict"]) == 5
    assert main(args) == 5
    assert Path("a_deblurred.png").exists() and Path("b_deblurred.tif").exists()


@pytest.mark.parametrize(
    ("codes", "whole"), [([0], 0), ([0, 5], 6), ([3, 3], 3), ([2, 3], 1), ([4, 0, 4], 6)]
)
def test_the_code_of_a_batch(codes, whole):
    assert worst(codes) == whole


def test_the_same_stem_gets_two_receipts():
    targets = plan_targets([Path("a.jpg"), Path("a.png"), Path("b.png")], None)
    assert [t.receipt.name for t in targets] == [
        "a_deblurred.jpg.json",
        "a_deblurred.png.json",
        "b_deblurred.json",
    ]


def test_collisions_are_refused_before_any_work(tmp_path):
    twins = [Path("x/a.png"), Path("y/a.png")]
    with pytest.raises(UsageError, match=r"x/a.png, y/a.png would all be written to out/a_deblurred.png"):
        plan_targets(twins, "out/")
    with pytest.raises(UsageError, match=r"out.png is one file but there are 2 inputs"):
        plan_targets(twins, "out.png")
    with pytest.raises(UsageError, match=r"a.png would replace its own input"):
        plan_targets([tmp_path / "a.png"], str(tmp_path / "a.png"))
