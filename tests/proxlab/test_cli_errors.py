"""Bad input: one clear sentence, the right exit code, nothing left behind."""

from pathlib import Path

import numpy as np
import pytest

from imaging.files.picture import write_picture
from proxlab.__main__ import main

IDENTITY = ["--method", "identity"]


def prepare(folder: Path, grey: np.ndarray) -> None:
    """Files to fail on."""
    np.save("big.npy", np.ones((60, 60)))
    np.save("dark.npy", np.zeros((5, 5)))
    np.save("nan.npy", np.where(np.arange(144).reshape(12, 12) == 5, np.nan, 0.5))
    np.save("complex.npy", np.ones((12, 12)) * 1j)
    np.save("none.npy", np.ones((0, 12)))
    np.save("volume.npy", np.ones((5, 12, 12, 7)))
    np.save("bright.npy", np.full((12, 12), 200.0))
    write_picture("small.png", grey[:9, :9])
    write_picture("deep.tif", grey.astype(np.uint16) * 200)
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:-80])
    Path("text.png").write_text("hello")
    Path("there.png").write_text("precious")
    Path("empty").mkdir()


CASES = {
    "psf larger than the picture": (["a.png", "-p", "big.npy"], 3, "psf is 60x60 but the image is 24x30"),
    "psf that sums to zero": (["a.png", "-p", "dark.npy"], 3, "psf sums to zero"),
    "psf that is a folder": (["a.png", "-p", "empty"], 3, "empty is a (folder|directory)"),
    "psf that is not there": (["a.png", "-p", "nowhere.npy"], 3, "nowhere.npy"),
    "psf text misspelled": (["a.png", "-p", "gausian:2"], 3, "did you mean gaussian"),
    "NaN pixels": (["nan.npy", "-p", "box:3"], 3, "nan.npy: the picture has 1 NaN or infinite pixels"),
    "complex": (["complex.npy", "-p", "box:3"], 3, "complex"),
    "zero-size": (["none.npy", "-p", "box:3"], 3, "is empty|no pixels"),
    "volume": (["volume.npy", "-p", "box:3"], 3, "volume.npy"),
    "far above 1": (["bright.npy", "-p", "box:3"], 3, "give data_range"),
    "folder without pictures": (["empty", "-p", "box:3"], 3, "the folder empty holds no picture"),
    "no such picture": (["lost.png", "-p", "box:3"], 3, "lost.png does not exist"),
    "output that exists": (["a.png", "-p", "box:3", "-o", "there.png"], 2, "there.png exists already"),
    "truncated": (["cut.png", "-p", "box:3"], 3, "cut.png"),
    "not a picture": (["text.png", "-p", "box:3"], 3, "text.png is not a PNG file"),
    "16 bits into JPEG": (["deep.tif", "-p", "box:3", "-o", "deep.jpg"], 3, "JPEG cannot hold uint16"),
    "output without ending": (["a.png", "-p", "box:3", "-o", "out.xyz"], 3, "unknown extension .xyz"),
    "mask of the wrong shape": (
        ["a.png", "-p", "box:3", "--mask", "small.png"],
        3,
        r"the mask has shape \(9, 9\)",
    ),
    "mask that is a folder": (["a.png", "-p", "box:3", "--mask", "empty"], 3, "empty is a folder"),
    "receipt that is a folder": (
        ["a.png", "-p", "box:3", "--same-as", "empty"],
        3,
        "empty is a folder, but a rec",
    ),
    "unknown method": (["a.png", "-p", "box:3", "--method", "identiti"], 2, "did you mean 'identity'"),
    "unknown boundary": (["a.png", "-p", "box:3", "--boundary", "mirror"], 2, "unknown boundary 'mirror'"),
    "unknown noise": (["a.png", "-p", "box:3", "--noise", "salt"], 2, "unknown noise 'salt'"),
    "negative sigma": (["a.png", "-p", "box:3", "--sigma", "-1"], 2, "sigma is -1.0"),
    "unsupported lam": (["a.png", "-p", "box:3", "--lam", "1"], 2, "method 'identity' cannot do a given lam"),
    "a prior too many": (["a.png", "-p", "box:3", "--prior", "x"], 2, "method 'identity' cannot do a prior"),
    "a cluster": (["a.png", "-p", "box:3", "--cluster", "x"], 2, "cluster='x' is no cluster"),
    "too little memory": (["a.png", "-p", "box:3", "--max-memory", "1M"], 4, "but max_memory is 1 MB"),
    "empty roi": (["a.png", "-p", "box:3", "--roi", "5:5,0:9"], 2, "holds no pixel of the 24x30 picture"),
    "unknown flag": (["a.png", "-p", "shake:1", "--methd", "tv"], 2, "--methd is perhaps --method"),
    "abbreviated flag": (["a.png", "-p", "shake:1", "--over"], 2, "unrecognized arguments: --over"),
    "no psf": (["a.png"], 2, "-p/--psf"),
    "sigma that is no number": (
        ["a.png", "-p", "box:3", "--sigma", "low"],
        2,
        "--sigma: invalid float value",
    ),
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("case", list(CASES))
def test_one_sentence_the_code_and_nothing_left(folder, grey, capsys, case):
    args, code, message = CASES[case]
    prepare(folder, grey)
    before = files(folder)
    method = [] if "--method" in args else IDENTITY
    assert main(["deblur", *args, *method]) == code
    told = capsys.readouterr()
    assert told.out == ""
    sentence = told.err.strip().splitlines()[-1]
    import re

    assert re.search(message, sentence), sentence
    assert "error: " in sentence and "Traceback" not in told.err
    assert files(folder) == before


def test_verbose_shows_where(folder, capsys):
    assert main(["deblur", "lost.png", "-p", "box:3", *IDENTITY, "--verbose"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_is_code_1_in_one_line(folder, spy, capsys):
    def broken(task):
        message = "a bug"
        raise KeyError(message)

    spy.answer = broken
    assert main(["deblur", "a.png", "-p", "box:3", "--method", "spy"]) == 1
    assert "KeyError: a.png: 'a bug' (--verbose shows where)" in capsys.readouterr().err


def test_no_verb_and_an_unknown_verb_are_usage(capsys):
    assert main([]) == 2
    assert "no verb was given" in capsys.readouterr().err
    assert main(["deblurr"]) == 2
    assert "invalid choice: 'deblurr'" in capsys.readouterr().err


def test_help_of_every_verb(capsys):
    for verb in ("deblur", "psf", "noise", "replay", "info"):
        assert main([verb, "--help"]) == 0
        assert f"usage: proxlab {verb}" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "exit codes:" in capsys.readouterr().out
