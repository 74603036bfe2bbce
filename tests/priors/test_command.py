"""`proxlab train` as a command: its options, its errors, being killed, and several processes."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import priors
from priors.checkpoint import read_provenance
from proxlab.cli import train
from proxlab.errors import InputError, UsageError

NET = '{"widths": [4, 6], "blocks": [1, 1]}'
SCRIPT = """
import sys, priors.session
from proxlab.__main__ import main
priors.session.SAVE_SECONDS = 0.0  # a checkpoint after every step
sys.exit(main())
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        iio.imwrite(tmp_path / "in" / f"{i}.png", rng.integers(0, 256, (20, 24), dtype=np.uint8))
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _no_events(monkeypatch):
    monkeypatch.setattr("priors.logbook.find_spec", lambda name: None)


def words(folder, name="net", steps=4):
    out = str(folder.parent / f"{name}.safetensors")
    fixed = ["--net", NET, "--batch", "2", "--patch", "16", "--steps", str(steps), "--validate-every", "2"]
    return ["train", "denoiser", "--images", str(folder), "--val", str(folder), "--out", out, *fixed]


def parse(words):
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers(dest="verb"))
    return parser.parse_args(words)


def command(words):
    args = parse(words)
    return args.run(args)


def same(first, second):
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_trains_and_tells(folder, capsys):
    assert command(words(folder)) == 0
    assert "net.safetensors: 4 steps, psnr_15 " in capsys.readouterr().err
    assert read_provenance(folder.parent / "net.safetensors")["plan"]["steps"] == 4


def test_colour(folder):
    assert command([*words(folder), "--color", "--sigma", "0.1"]) == 0
    card = read_provenance(folder.parent / "net.safetensors")
    assert card["config"]["channels"] == 3
    assert card["recipe"]["sigma"] == [0.1, 0.1]


@pytest.mark.parametrize(
    ("kind", "net"),
    [("ridge", '{"filters": 2, "widths": [], "kernels": [3], "nodes": 2}'), ("gradient-step", NET)],
)
def test_other_kinds(folder, kind, net):
    call = ["train", kind, *words(folder)[2:], "--net", net, "--half"]
    assert command(call) == 0
    card = read_provenance(folder.parent / "net.safetensors")
    assert card["kind"] == kind and card["plan"]["precision"] == "fp32" and "half" in card
    with pytest.raises(UsageError, match=f"a {kind} is trained in float32 only"):
        command([*call, "--overwrite", "--precision", "bf16"])


def test_unrolled_from_a_denoiser(folder):
    """It starts, stops, goes on, and refuses options that belong to other kinds."""
    assert command(words(folder, "start", steps=2)) == 0
    start = ["--start", str(folder.parent / "start.safetensors")]
    start += ["--net", '{"steps": 2, "network": {"widths": [4, 6]}}']
    fixed = ["train", "unrolled", "--images", str(folder), "--val", str(folder), "--batch", "1"]
    fixed += ["--patch", "18", "--reach", "9", "--validate-every", "2"]
    out = [str(folder.parent / f"{name}.safetensors") for name in ("whole", "parts")]
    assert command([*fixed, *start, "--out", out[0], "--steps", "4", "--hold", "4"]) == 0
    assert command([*fixed, *start, "--out", out[1], "--steps", "2", "--hold", "4"]) == 0
    again = ["--out", out[1], "--resume", "--steps", "4", "--checkpointing"]
    with pytest.raises(UsageError, match=r"begun with --net network .*4, 6.*now it is .*4, 8"):
        command([*fixed, *again, "--net", '{"network": {"widths": [4, 8]}}'])
    assert command([*fixed, *start, *again]) == 0  # the same command, which names a part of the shape
    assert same(*(o.replace(".safetensors", ".training.safetensors") for o in out))
    card = read_provenance(out[0])
    assert card["kind"] == "unrolled" and card["config"]["network"]["widths"] == [4, 6]
    assert card["config"]["steps"] == 2 and card["recipe"]["reach"] == 9
    with pytest.raises(UsageError, match="a training of 'denoiser' has no --reach: it belongs to unrolled"):
        command([*words(folder), "--reach", "9"])


def test_config_file_is_the_command_line(folder, tmp_path):
    assert command([*words(folder, "words"), "--lr", "0.01"]) == 0
    options = {"images": [str(folder)], "val": [str(folder)], "lr": 0.5, "net": json.loads(NET), "batch": 2}
    options |= {"patch": 16, "steps": 4, "validate_every": 2, "color": False}
    (tmp_path / "options.json").write_text(json.dumps(options))
    out = str(tmp_path / "file.safetensors")
    given = ["train", "denoiser", "--config", str(tmp_path / "options.json"), "--out", out, "--lr", "0.01"]
    assert command(given) == 0
    assert same(folder.parent / "words.safetensors", out)


def test_a_finished_training_is_not_overwritten(folder):
    command(words(folder))
    with pytest.raises(UsageError, match="--resume goes on with it, --overwrite begins anew"):
        command(words(folder))
    assert command([*words(folder), "--overwrite"]) == 0
    assert command([*words(folder, steps=6), "--resume"]) == 0
    assert read_provenance(folder.parent / "net.safetensors")["plan"]["steps"] in (4, 6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (["--batch", "4"], "begun with --batch 2, now it is 4: leave it so"),
        (["--loss", "l2"], "begun with --loss l1"),
        (["--sigma", "0:0.1"], "begun with --sigma"),
        (["--optimizer", "adam"], "begun with --optimizer muon"),
        (["--color"], "begun with --color False, now it is True"),
        (["--net", '{"widths": [4, 8]}'], r"begun with --net widths \[4, 6\], now it is \[4, 8\]"),
        (["--start", "other.safetensors"], "begun with --start None, now it is other"),
    ],
)
def test_a_resumed_training_is_not_quietly_another(folder, change, text):
    assert command(words(folder, steps=1)) == 0
    with pytest.raises(UsageError, match=text):
        command([*words(folder), *change, "--resume"])
    with pytest.raises(UsageError, match="begun with kind denoiser, now it is lpn"):
        command(["train", "lpn", *words(folder)[2:], "--resume"])


def test_a_start_must_be_what_is_asked_for(folder):
    """Shape, colour and levels come with the weights: other ones are refused, not quietly dropped."""
    assert command(words(folder, "first", steps=1)) == 0
    again = [*words(folder, "second", steps=1), "--start", str(folder.parent / "first.safetensors")]
    for change, text in (
        (["--color"], "with channels = 1, asked is channels = 3: give --color"),
        (["--sigma", "0:0.1"], "give --sigma as the start has it"),
        (["--net", '{"widths": [4, 8]}'], r"with widths = \[4, 6\], asked is widths = \[4, 8\]: give --net"),
    ):
        with pytest.raises(UsageError, match=text):
            command([*again, *change])
    assert not (folder.parent / "second.safetensors").exists()
    assert command([*again, "--net", "{}"]) == 0  # what is not asked for is taken from the start


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (["--images", "/nowhere"], InputError, "there is no folder or file '/nowhere'"),
        (["--out", "net.pt"], UsageError, r"ends in \.safetensors"),
        (["--minutes", "1"], UsageError, "either --steps N or --minutes M"),
        (["--resume"], InputError, "there is no checkpoint file"),
        (["--config", "/nowhere.json"], InputError, "cannot read the configuration"),
        (["--net", '{"depth": 3}'], UsageError, "kind 'denoiser' has no setting 'depth': It has channels, w"),
        (["--net", '{"width": 3}'], UsageError, "has no setting 'width': did you mean 'widths'"),
        (["--net", '{"widths": 3}'], UsageError, "cannot have the settings .*'int' object is not iterable"),
        (["--sigma", "0.3:0.1"], UsageError, r"sigma is 0\.3:0\.1"),
        (["--sigma", "25"], UsageError, r"sigma is 25:25, more than the whole range: .* 0\.09804:0\.09804"),
        (["--device", "cuda:77"], UsageError, "device 'cuda:77' is not available here: use 'cpu'"),
    ],
)
def test_mistakes_are_answered(folder, change, error, text):
    with pytest.raises(error, match=text):
        command([*words(folder), *change])


def test_empty_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no usable picture"):
        command([*words(folder), "--images", str(tmp_path / "empty")])


def test_mistakes_come_before_the_pictures_are_read(folder, monkeypatch):
    monkeypatch.setattr("priors.session.load_data", None)
    with pytest.raises(UsageError, match="has no setting 'depth'"):
        command([*words(folder), "--net", '{"depth": 3}'])


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (["--steps", "0"], "'0' is no count: give a whole number from 1"),
        (["--steps", "many"], "'many' is no count"),
        (["--seed", "-1"], "'-1' is no count: give a whole number from 0"),
        (["--hold", "-5"], "'-5' is no count: give a whole number from 0"),
        (["--lr", "-1"], "'-1' is not a number above zero"),
        (["--minutes", "inf"], "'inf' is not a number above zero"),
        (["--lr", "fast"], "'fast' is not a number"),
        (["--sigma", "low"], "'low' is no range of noise levels"),
        (["--net", "{"], "'{' is no JSON object"),
        (["--net", "[4]"], r"'\[4\]' is no JSON object"),
    ],
)
def test_impossible_values_end_in_usage(folder, wrong, text, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse([*words(folder), *wrong])
    assert re.search(f"argument {wrong[0]}: {text}", capsys.readouterr().err)


def test_what_to_train_on_must_be_said():
    with pytest.raises(UsageError, match="--images DIR --out FILE"):
        command(["train", "denoiser", "--steps", "1"])


def environment():
    here = str(Path(priors.__file__).parents[1])  # works installed or not
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here}


@pytest.mark.slow
def test_killed_and_resumed_is_bit_identical(folder, tmp_path):
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    call = [sys.executable, str(script)]
    rarely = ["--validate-every", "25"]
    with subprocess.Popen([*call, *words(folder, "killed", 100), *rarely], env=environment()) as process:
        state, end = tmp_path / "killed.training.safetensors", time.monotonic() + 120
        while not state.exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert command([*words(folder, "killed", 100), *rarely, "--resume"]) == 0
    assert command([*words(folder, "whole", 100), *rarely]) == 0
    for name in ("{}.safetensors", "{}.training.safetensors"):
        assert same(tmp_path / name.format("killed"), tmp_path / name.format("whole"))


@pytest.mark.slow
def test_two_processes(folder, tmp_path):
    """Two processes with half the batch each average their gradients, the same way every time."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        "29517",
    ]
    call = [*torchrun, "-m", "proxlab"]
    done = subprocess.run([*call, *words(folder, "two")], env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    card = read_provenance(tmp_path / "two.safetensors")
    assert card["processes"] == 2
    assert len((tmp_path / "two.csv").read_text().splitlines()) == 3
    subprocess.run([*call, *words(folder, "again")], env=environment(), check=True, capture_output=True)
    assert same(tmp_path / "two.safetensors", tmp_path / "again.safetensors")
