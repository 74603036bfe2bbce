"""The README: its Python example runs, its commands parse, its one-liners have the form that was promised."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from priors.checkpoint import load_network
from proxlab.cli.parser import parse
from proxlab.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line.split("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]
EXAMPLES = [block for kind, block in BLOCKS if kind == "python"]
COMMANDS = [line.split("proxlab ", 1)[1] for line in LINES if "proxlab " in line and "[test]" not in line]


def test_python_example(tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES[0]
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    blurred, sharp = (names[k].astype(float) for k in ("picture", "sharp"))
    truth = names["iio"].imread("data/sharp/coffee_motion.png").astype(float)
    assert np.square(sharp - truth).mean() < np.square(blurred - truth).mean() / 2
    assert names["sharp"].dtype == names["picture"].dtype
    assert (tmp_path / "coffee_sharp.png").exists()
    assert capsys.readouterr().out.startswith("unrolled exact\nnoise 0.01")


def test_training_example(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "data", tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    _, example = EXAMPLES
    names: dict = {}
    exec(compile(example.replace("steps=1000", "steps=2"), "README.md", "exec"), names)
    assert names["session"].learner.done == 2
    assert load_network("own.safetensors").kind == "lpn"


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    args = parse(shlex.split(command))
    assert args.verb == shlex.split(command)[0]


def test_a_command_that_is_wrong_does_not_parse(capsys):
    with pytest.raises(SystemExit):
        parse(["deblur", "a.png", "--psf", "box:3", "--no-such-flag"])
    assert "--no-such-flag" in capsys.readouterr().err


def test_there_are_commands_of_each_kind():
    assert {command.split()[0] for command in COMMANDS} >= {"deblur", "psf", "noise", "replay", "info"}


def test_one_liners():
    setup = r"python3 -m venv \.venv && \.venv/bin/pip install "
    (job,) = [line for line in LINES if re.match(setup + r"\. && \.venv/bin/proxlab deblur data/", line)]
    words = shlex.split(job)
    picture, psf = (ROOT / words[words.index(flag) + 1] for flag in ("deblur", "--psf"))
    assert picture.is_file()
    assert psf.is_file()
    assert any(re.fullmatch(setup + r'-e "\.\[test\]" && \.venv/bin/pytest', line) for line in LINES)


def test_methods_table_is_complete():
    table = TEXT[TEXT.index("|---|---|---|\n| `auto`") : TEXT.index("## Priors")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(METHODS)


def test_links_to_files_exist():
    named = re.findall(r"`((?:notebooks|data|benchmarks|\.ci)/[\w./]*)`", TEXT)
    assert len(named) > 4
    assert [name for name in named if not (ROOT / name).exists()] == []
