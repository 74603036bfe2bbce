from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from priors import session as sessions
from priors.checkpoint import CheckpointError, load_network, read_provenance
from priors.processes import own_device
from priors.recipe import Denoising
from priors.session import Places, begin, resume
from priors.train import Plan

CONFIG = {"channels": 1, "widths": [4, 6], "blocks": [1, 1]}
RECIPE = Denoising("denoiser", CONFIG, loss="l1", color=False, sigma=(0.0, 0.2), batch=2, patch=16, seed=5)
PLAN = Plan(steps=6, rate=1e-3, period=2, warmup=1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        iio.imwrite(tmp_path / "in" / f"{i}.png", rng.integers(0, 256, (20, 12 + 8 * i), dtype=np.uint8))
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _no_events(monkeypatch):
    monkeypatch.setattr("priors.logbook.find_spec", lambda name: None)


def places(folder, name):
    return Places((str(folder),), folder.parent / name, (str(folder),))


def finish(session):
    return [step.done for step in session.steps()]


def tensors(path):
    return load_file(path)


def test_a_training_leaves_network_state_and_log(folder):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    assert finish(session) == [1, 2, 3, 4, 5, 6]
    card = read_provenance(session.places.out)
    assert card["recipe"]["seed"] == 5
    assert card["pictures"] == 3
    assert card["data"] == ["in"]
    assert set(card["metrics"]) == {"psnr_15", "psnr_25", "psnr_50"}
    assert load_network(session.places.out)(torch.zeros(1, 1, 5, 5), 0.1).shape == (1, 1, 5, 5)
    rows = session.places.logbook.file.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "2", "4", "6"]


def test_resumed_is_bit_identical(folder):
    whole = begin(places(folder, "whole.safetensors"), RECIPE, PLAN)
    finish(whole)
    stopped = begin(places(folder, "stopped.safetensors"), RECIPE, PLAN)
    for step in stopped.steps():
        if step.done == 5:  # the last checkpoint is of step 4
            break
    again = resume(stopped.places)
    assert again.learner.done == 4
    assert finish(again) == [5, 6]
    for kind in ("out", "state"):
        first, second = (tensors(getattr(s.places, kind)) for s in (whole, again))
        assert all(torch.equal(first[k], second[k]) for k in first)
    logs = [
        [r.split(",")[0::2] for r in s.places.logbook.file.read_text().splitlines()] for s in (whole, again)
    ]
    assert logs[0] == logs[1]


def test_another_seed_is_another_training(folder):
    one = begin(places(folder, "one.safetensors"), RECIPE, PLAN)
    other = begin(places(folder, "two.safetensors"), sessions.replace(RECIPE, seed=6), PLAN)
    finish(one), finish(other)
    assert not torch.equal(tensors(one.places.out)["head.weight"], tensors(other.places.out)["head.weight"])


def test_a_training_can_be_lengthened(folder):
    finish(begin(places(folder, "net.safetensors"), RECIPE, PLAN))
    longer = resume(places(folder, "net.safetensors"), change={"steps": 8, "hold": 6})
    assert finish(longer) == [7, 8]
    assert longer.learner.plan.hold == 6


def test_processor_time_adds_up_over_a_pause(folder):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    finish(session)
    first = read_provenance(session.places.out)["processor_seconds"]
    longer = resume(session.places, change={"steps": 8})
    finish(longer)
    assert 0 < first <= session.work + 0.05 and session.work < longer.work < session.work + 60


def test_a_training_can_start_from_weights(folder):
    first = begin(places(folder, "first.safetensors"), RECIPE, PLAN)
    finish(first)
    other = sessions.replace(RECIPE, config={"channels": 1}, seed=9)
    second = begin(places(folder, "second.safetensors"), other, PLAN, start=first.places.out)
    begun = second.learner.network.state_dict()
    assert all(torch.equal(begun[k], t) for k, t in tensors(first.places.out).items())
    assert second.recipe.config["widths"] == [4, 6]
    assert finish(second)[-1] == 6
    assert read_provenance(second.places.out)["start"] == "first.safetensors"
    assert read_provenance(first.places.out)["start"] is None


def test_out_holds_the_best_weights_not_the_last(folder, monkeypatch):
    values = iter([20.0, 25.0, 22.0])
    monkeypatch.setattr("priors.recipe.validation_psnr", lambda *_: value[0])
    value = [0.0]
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    best = None
    for step in session.steps():
        if step.done % 2 == 1:
            value[0] = next(values)
        if step.done == 4:
            best = [p.clone() for p in session.learner.mean.parameters()]
    assert read_provenance(session.places.out)["steps"] == 4
    assert all(
        torch.equal(a, b) for a, b in zip(load_network(session.places.out).parameters(), best, strict=True)
    )


def test_minutes_become_steps_once(folder, capsys, monkeypatch):
    monkeypatch.setattr(sessions, "seconds_per_step", lambda *_, **__: 0.5)
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN, minutes=0.2)
    assert session.learner.plan.steps == 22
    assert "0.500 s a step: 22 steps in 0.2 minutes." in capsys.readouterr().err
    next(session.steps())
    session.save()
    monkeypatch.setattr(sessions, "seconds_per_step", lambda *_, **__: 1 / 0)
    assert resume(session.places).learner.plan.steps == 22


def test_what_is_said_about_the_data(folder, capsys):
    (folder / "broken.png").write_bytes(b"nonsense")
    begin(Places((str(folder),), folder.parent / "net.safetensors"), RECIPE, PLAN)
    said = capsys.readouterr().err
    assert "skipped" in said
    assert "broken.png" in said
    assert "1 files skipped, 3 pictures used." in said
    assert "1 of the pictures are held out" in said
    begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    assert "1 pictures are smaller than the patch of 16 pixels" in capsys.readouterr().err


def test_other_pictures_are_noticed(folder, capsys):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    finish(session)
    iio.imwrite(folder / "9.png", np.zeros((30, 30), np.uint8))
    resume(session.places, change={"steps": 7})
    assert "not the pictures the training began with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": "l3"}, "loss is 'l3'"),
        ({"sigma": (0.2, 0.1)}, r"sigma is 0\.2:0\.1"),
        ({"sigma": (15, 50)}, r"sigma is 15:50, more than the whole range: as fractions .* 0\.05882:0\.1961"),
        ({"batch": 0}, "batch is 0"),
        ({"seed": -1}, "seed is -1: give a whole number from 0"),
    ],
)
def test_impossible_recipes(change, text):
    with pytest.raises(ValueError, match=text):
        sessions.replace(RECIPE, **change)


def test_names(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        Places(("x",), Path("net.pt"))
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        resume(Places(("x",), tmp_path / "net.safetensors"))
    (tmp_path / "net.training.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        resume(Places(("x",), tmp_path / "net.safetensors"))


def test_each_of_several_processes_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [own_device(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]


def test_a_batch_must_be_shared_evenly(monkeypatch):
    monkeypatch.setattr("priors.processes.world", lambda: 3)
    with pytest.raises(ValueError, match="a batch of 4 cannot be shared by 3 processes"):
        sessions.replace(RECIPE, batch=4).batches(None)


def test_a_gradient_step_starts_from_a_denoiser(folder):
    first = begin(places(folder, "first.safetensors"), RECIPE, PLAN)
    finish(first)
    recipe = sessions.replace(RECIPE, kind="gradient-step", config={"channels": 1})
    second = begin(places(folder, "second.safetensors"), recipe, PLAN, start=first.places.out)
    started = second.learner.network.inner.state_dict()
    assert all(torch.equal(t, started[k]) for k, t in load_network(first.places.out).state_dict().items())
    assert second.recipe.kind == "gradient-step" and second.recipe.config["widths"] == [4, 6]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"channels": 3}, r"of kind denoiser with channels = 1, asked is channels = 3: give --color as the"),
        ({"widths": [8, 6]}, r"with widths = \[4, 6\], asked is widths = \[8, 6\]: give --net as the start"),
        ({"sigma": (0.0, 0.1)}, r"asked is sigma = \[0\.0, 0\.1\]: give --sigma as the start has it"),
        ({"depth": 3}, "with no depth, asked is depth = 3"),
    ],
)
def test_a_start_of_another_shape_is_refused(folder, config, text):
    first = begin(places(folder, "first.safetensors"), RECIPE, sessions.replace(PLAN, steps=1))
    finish(first)
    asked = sessions.replace(RECIPE, config=config)
    with pytest.raises(ValueError, match=text):
        begin(places(folder, "second.safetensors"), asked, PLAN, start=first.places.out)


def test_a_kind_that_cannot_be_started_from_is_refused(folder):
    first = begin(places(folder, "first.safetensors"), RECIPE, PLAN)
    finish(first)
    recipe = sessions.replace(RECIPE, kind="ridge", config={})
    with pytest.raises(ValueError, match="holds a denoiser: a ridge starts from ridge only"):
        begin(places(folder, "second.safetensors"), recipe, PLAN, start=first.places.out)


def test_half_precision_is_measured_on_the_validation_pictures(folder, capsys):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    finish(session)
    session.store_half()
    told, card = capsys.readouterr().err, read_provenance(session.places.out)
    assert "stored in half precision: psnr_" in told
    half = load_network(session.places.out)
    assert card["half"]["after"] == session.measure(half)
