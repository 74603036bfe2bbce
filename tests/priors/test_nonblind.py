import json
from dataclasses import asdict, replace

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from priors import session as sessions
from priors.checkpoint import build, load_network, read_provenance, save_network
from priors.denoiser import DenoiserConfig
from priors.nonblind import NonBlind
from priors.recipe import recipe_from
from priors.session import Places, begin, resume
from priors.train import Learner, Plan, training

INNER = DenoiserConfig(widths=(4, 6), blocks=(1, 1))
CONFIG = json.loads(json.dumps({"network": INNER.to_dict(), "steps": 2}))
RECIPE = NonBlind(
    "unrolled", CONFIG, loss="l1", color=False, sigma=(0.0, 0.05), reach=9, batch=2, patch=24, seed=5
)
PLAN = Plan(steps=6, rate=1e-3, period=2, warmup=1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        picture = np.kron(rng.integers(0, 256, (7, 8)), np.ones((4, 4))).astype(np.uint8)
        iio.imwrite(tmp_path / "in" / f"{i}.png", picture)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def _no_events(monkeypatch):
    monkeypatch.setattr("priors.logbook.find_spec", lambda name: None)


def places(folder, name):
    return Places((str(folder),), folder.parent / name, (str(folder),))


def finish(session):
    return [step.done for step in session.steps()]


def same(first, second):
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_training_leaves_one_file_that_rebuilds_it(folder):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    assert finish(session) == [1, 2, 3, 4, 5, 6]
    card = read_provenance(session.places.out)
    assert card["kind"] == "unrolled" and card["config"]["steps"] == 2
    assert set(card["metrics"]) == {"psnr_2.55", "psnr_7.65", "psnr_12.75"}
    net = load_network(session.places.out)
    assert RECIPE.measure(net, session.data.validation) == card["metrics"]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_resumed_is_bit_identical(folder, checkpointing):
    recipe = replace(RECIPE, checkpointing=checkpointing)
    whole = begin(places(folder, "whole.safetensors"), recipe, PLAN)
    finish(whole)
    stopped = begin(places(folder, "stopped.safetensors"), recipe, PLAN)
    for step in stopped.steps():
        if step.done == 5:  # the last checkpoint is of step 4
            break
    again = resume(stopped.places)
    assert again.recipe == recipe and again.learner.network.checkpointing is checkpointing
    assert finish(again) == [5, 6]
    assert same(whole.places.state, again.places.state) and same(whole.places.out, again.places.out)


def test_checkpointing_trains_the_same_network(folder):
    plain = begin(places(folder, "plain.safetensors"), RECIPE, PLAN)
    frugal = begin(places(folder, "frugal.safetensors"), replace(RECIPE, checkpointing=True), PLAN)
    finish(plain), finish(frugal)
    assert same(plain.places.state, frugal.places.state)


def test_it_starts_from_a_denoiser_and_goes_on_from_itself(folder):
    start = folder.parent / "denoiser.safetensors"
    denoiser = build("denoiser", replace(INNER, widths=(6, 6)), seed=3)
    save_network(start, denoiser, {})
    recipe = replace(RECIPE, config={"network": {"channels": 1}, "steps": 2})
    session = begin(places(folder, "net.safetensors"), recipe, PLAN, start=start)
    assert session.recipe.config["network"]["widths"] == [6, 6]
    inner = session.learner.network.network.state_dict()
    assert all(torch.equal(inner[k], t) for k, t in denoiser.state_dict().items())
    finish(session)
    further = begin(places(folder, "more.safetensors"), recipe, PLAN, start=session.places.out)
    begun = further.learner.network.state_dict()
    assert all(torch.equal(begun[k], t) for k, t in load_file(session.places.out).items())


def test_another_start_is_refused(folder):
    start = folder.parent / "ridge.safetensors"
    from priors.ridge import RidgeConfig

    save_network(start, build("ridge", RidgeConfig(filters=2, widths=(), kernels=(3,), nodes=2), seed=0), {})
    with pytest.raises(ValueError, match="holds a ridge: a unrolled starts from unrolled or denoiser or lpn"):
        begin(places(folder, "net.safetensors"), RECIPE, PLAN, start=start)


def test_training_lowers_the_error(folder):
    """On one batch, again and again."""
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    batch, learner = RECIPE.batches(session.data.pictures)(0), Learner(RECIPE.network(), Plan(30, 3e-3))
    losses = [s.loss for s in training(learner, lambda step: batch, RECIPE.objective())]
    assert losses[-1] < 0.9 * losses[0]
    moved = learner.network.schedule.change.detach().abs().max()
    assert float(moved) > 1e-3  # levels learn too


def test_a_recipe_survives_being_written_down():
    assert recipe_from(json.loads(json.dumps(asdict(RECIPE)))) == RECIPE


def test_validation_uses_the_same_blur_every_time(folder):
    session = begin(places(folder, "net.safetensors"), RECIPE, PLAN)
    net = RECIPE.network().requires_grad_(False)
    first = RECIPE.measure(net, session.data.validation)
    assert RECIPE.measure(net, session.data.validation) == first
    assert len(first) == 3 and first["psnr_2.55"] > first["psnr_12.75"]
    assert list(replace(RECIPE, sigma=(0.2, 0.2)).measure(net, session.data.validation)) == ["psnr_51"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"loss": "pm"}, "loss is 'pm': choose one of l1, l2"),
        ({"reach": 15}, "reach is 15 with a patch of 24"),
        ({"reach": 10}, "reach is 10"),
        ({"sigma": (0.2, 0.1)}, r"sigma is 0\.2:0\.1"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_impossible_recipes(change, text):
    with pytest.raises(ValueError, match=text):
        sessions.replace(RECIPE, **change)


def test_a_start_of_another_shape_is_refused():
    wide = {"kind": "denoiser", "config": {**INNER.to_dict(), "channels": 3}}
    with pytest.raises(
        ValueError, match=r"of kind denoiser with channels = 3, asked is channels = 1: give --color"
    ):
        RECIPE.started_from(json.loads(json.dumps(wide)))
    whole = {"kind": "unrolled", "config": {**CONFIG, "steps": 8}}
    with pytest.raises(ValueError, match=r"of kind unrolled with steps = 8, asked is steps = 2: give --net"):
        RECIPE.started_from(whole)
    again = {"kind": "unrolled", "config": CONFIG}
    assert RECIPE.started_from(again).config == CONFIG
