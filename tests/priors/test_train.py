import copy
from dataclasses import replace

import pytest
import torch

from priors.checkpoint import CheckpointError, build
from priors.denoiser import DenoiserConfig
from priors.losses import l2, regression
from priors.train import MOMENTS, Learner, Plan, read_plan, seconds_per_step, training

PLAN = Plan(steps=12, rate=3e-3, warmup=2, ema=0.9)


def learner(plan=PLAN, seed=0):
    return Learner(build("denoiser", DenoiserConfig(widths=(4, 6), blocks=(1, 1)), seed=seed), plan)


def batches(step):
    generator = torch.Generator().manual_seed(step)
    clean = torch.rand(4, 1, 1, 1, generator=generator).expand(4, 1, 8, 8)
    return clean + 0.1 * torch.randn(4, 1, 8, 8, generator=generator), clean, torch.full((4,), 0.1)


def weights(learner):
    return [p for part in (learner.network, learner.mean) for p in part.state_dict().values()]


def test_training_lowers_the_loss():
    plan = Plan(steps=40, rate=1e-2, warmup=5)
    losses = [step.loss for step in training(learner(plan), batches, regression(l2))]
    assert len(losses) == 40
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_first_step_is_adam():
    """One step equals torch.optim.Adam applied by hand, and the running mean follows its formula."""
    mine = learner()
    network, mean = copy.deepcopy(mine.network), copy.deepcopy(mine.mean)
    optimizer = torch.optim.Adam(network.parameters(), lr=PLAN.rate_at(0))
    noisy, clean, sigma = batches(0)
    l2(network(noisy, sigma), clean).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), PLAN.clip)
    optimizer.step()
    mine.step(batches(0), regression(l2))
    for a, b, m, old in zip(*(n.parameters() for n in (mine.network, network, mine.mean, mean)), strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(m, 0.1 * old + 0.9 * b, atol=1e-7)


def test_rates():
    plan = Plan(steps=100, rate=1.0, hold=50, last=0.1, warmup=4)
    assert [plan.rate_at(k) for k in (0, 1, 3, 30, 50)] == [0.25, 0.5, 1, 1, 1]
    assert plan.rate_at(75) == pytest.approx(0.55)
    assert plan.rate_at(100) == pytest.approx(0.1)
    assert Plan(steps=100, rate=1.0, hold=100).rate_at(99) == 1.0


def test_resuming_equals_not_stopping(tmp_path):
    whole, stopped = learner(), learner()
    list(training(whole, batches, regression(l2)))
    for step in training(stopped, batches, regression(l2)):
        if step.done == 5:
            break
    stopped.save(tmp_path / "state.safetensors", {"note": "five"})
    fresh = learner(seed=1)
    assert fresh.restore(tmp_path / "state.safetensors")["note"] == "five"
    assert [s.done for s in training(fresh, batches, regression(l2))] == list(range(6, 13))
    assert all(torch.equal(a, b) for a, b in zip(weights(fresh), weights(whole), strict=True))


def test_resuming_without_the_moments_is_another_training(tmp_path):
    """The negative control of the test above: Adam's moments matter."""
    whole, stopped = learner(), learner()
    list(training(whole, batches, regression(l2)))
    next(training(stopped, batches, regression(l2)))
    stopped.optimizer.state.clear()
    list(training(stopped, batches, regression(l2)))
    assert not all(torch.equal(a, b) for a, b in zip(weights(stopped), weights(whole), strict=True))


def test_the_plan_is_written_down(tmp_path):
    learner().save(tmp_path / "state.safetensors", {"session": '{"best": 1}'})
    assert read_plan(tmp_path / "state.safetensors") == (PLAN, {"best": 1})


def test_truncated_state(tmp_path):
    path = tmp_path / "state.safetensors"
    learner().save(path, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        learner().restore(path)


def test_a_loss_that_is_no_number_stops_the_training():
    mine = learner()
    before = [p.clone() for p in mine.network.parameters()]
    with pytest.raises(FloatingPointError, match="the loss of step 0 is nan: resume with a rate below"):
        mine.step(
            batches(0), lambda network, batch, progress: l2(network(batch[0], batch[2]), batch[1]) * torch.nan
        )
    assert all(torch.equal(a, b) for a, b in zip(before, mine.network.parameters(), strict=True))


def test_measuring_the_speed_changes_nothing():
    mine = learner()
    before = [p.clone() for p in mine.network.parameters()]
    assert seconds_per_step(mine, batches, regression(l2), seconds=0.01) > 0
    assert mine.done == 0
    assert all(torch.equal(a, b) for a, b in zip(before, mine.network.parameters(), strict=True))


def test_bfloat16_training_keeps_float32_weights():
    mine = learner(Plan(steps=2, rate=1e-3, precision="bf16"))
    list(training(mine, batches, regression(l2)))
    assert {p.dtype for p in mine.network.parameters()} == {torch.float32}


def saved_after(steps, path, device="cpu", optimizer="adam", start=None):
    """A training that goes on from the state `start`, if any, up to so many steps on a device."""
    mine = learner(replace(PLAN, optimizer=optimizer))
    mine = Learner(mine.network, mine.plan, device=device)
    if start is not None:
        mine.restore(start)
    while mine.done < steps:
        mine.step(batches(mine.done), regression(l2))
    mine.save(path, {})
    return mine


def devices_of(learner):
    """Where weights, running mean and moments lie; a count of steps is a number, wherever it lies."""
    moments = [t for s in learner.optimizer.state.values() for name, t in s.items() if name in MOMENTS]
    return {t.device.type for t in [*weights(learner), *moments]}, len(moments)


@pytest.mark.filterwarnings("ignore:.*non-meta parameter")  # which copies nothing there: only places count
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_state_is_of_no_device(tmp_path, optimizer):
    """Everything a training holds comes back on the device asked for, not on the one it was saved on."""
    old = saved_after(3, tmp_path / "state.safetensors", optimizer=optimizer)
    network = build("denoiser", DenoiserConfig(widths=(4, 6), blocks=(1, 1)), seed=1)
    moved = Learner(network, old.plan, device="meta")
    moved.restore(tmp_path / "state.safetensors")
    assert moved.done == 3
    assert devices_of(moved) == ({"meta"}, devices_of(old)[1])
    assert devices_of(old)[0] == {"cpu"} and devices_of(old)[1] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_from_cpu_to_gpu_and_back(tmp_path, optimizer):
    """Up to rounding the same training as on the CPU alone."""
    files = [tmp_path / f"{n}.safetensors" for n in range(4)]
    whole = saved_after(12, files[0], optimizer=optimizer)
    saved_after(4, files[1], optimizer=optimizer)
    away = saved_after(8, files[2], "cuda", optimizer, start=files[1])
    back = saved_after(12, files[3], "cpu", optimizer, start=files[2])
    assert devices_of(away)[0] == {"cuda"} and devices_of(back)[0] == {"cpu"}
    for a, b in zip(weights(whole), weights(back), strict=True):
        assert torch.allclose(a, b, atol=2e-3)
