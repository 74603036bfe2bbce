import json
import os
import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from priors.checkpoint import (
    CheckpointError,
    build,
    load_network,
    network_class,
    read_provenance,
    save_network,
    save_tensors,
    store_half,
)
from priors.denoiser import DenoiserConfig

CONFIG = DenoiserConfig(channels=3, widths=(4, 6), blocks=(1, 2), sigma=(0.0, 0.2))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(path, build("denoiser", CONFIG, seed=3), {"data": ["here"], "steps": 7})
    return path


def test_a_file_alone_rebuilds_the_network(file):
    network, x = load_network(file), torch.rand(1, 3, 7, 9)
    assert network.config == CONFIG
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    same, other = (build("denoiser", CONFIG, seed=seed).requires_grad_(False) for seed in (3, 4))
    assert torch.equal(network(x, 0.1), same(x, 0.1))
    assert not torch.equal(network(x, 0.1), other(x, 0.1))


def test_provenance(file):
    card = read_provenance(file)
    assert (card["kind"], card["data"], card["steps"]) == ("denoiser", ["here"], 7)
    assert card["config"]["widths"] == [4, 6]


def test_global_random_state_is_left_alone(file):
    before = torch.get_rng_state()
    load_network(file)
    build("denoiser", CONFIG, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_truncated(file, keep):
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        load_network(file)


def test_pickles_are_not_opened(tmp_path):
    path = tmp_path / "old.safetensors"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="no complete safetensors file"):
        load_network(path)


def test_foreign_file(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(CheckpointError, match=r"of another program \(its format is None\)"):
        load_network(tmp_path / "foreign.safetensors")


def test_training_state_is_not_a_network(tmp_path):
    save_tensors(tmp_path / "s.safetensors", {"a": torch.zeros(1)}, {"format": "proxlab.training/1"})
    with pytest.raises(CheckpointError, match="holds the state of a training, wanted is a network"):
        load_network(tmp_path / "s.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        load_network(tmp_path / "none.safetensors")


def test_weights_that_do_not_fit(file):
    meta = {"format": "proxlab.network/1", "kind": "denoiser", "provenance": "{}"}
    wrong = {"channels": 1, "widths": [4, 6], "blocks": [1, 2]}
    save_tensors(file, load_file(file), meta | {"config": json.dumps(wrong)})
    with pytest.raises(CheckpointError, match="does not fit the network it names"):
        load_network(file)
    save_tensors(file, load_file(file), meta | {"config": json.dumps({"depth": 3})})
    with pytest.raises(CheckpointError, match="does not fit the network it names"):
        load_network(file)


def test_unknown_kind():
    with pytest.raises(CheckpointError, match="'diffusion' is no kind of network here"):
        network_class("diffusion")


def test_a_failed_write_leaves_the_old_file(file, monkeypatch):
    old = file.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_network(file, build("denoiser", CONFIG, seed=9), {})
    assert file.read_bytes() == old
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def test_others_may_read_the_file(file):
    (file.parent / "plain").write_bytes(b"")
    wanted = stat.S_IMODE((file.parent / "plain").stat().st_mode)
    assert stat.S_IMODE(file.stat().st_mode) == wanted


def test_half_precision_rounds_the_weights_and_halves_the_file(tmp_path):
    network, x = build("denoiser", CONFIG, seed=3), torch.rand(1, 3, 8, 8)
    save_network(tmp_path / "whole.safetensors", network, {})
    save_network(tmp_path / "half.safetensors", network, {}, half=True)
    weights = {t.dtype for t in load_file(tmp_path / "half.safetensors").values()}
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("whole", "half")]
    assert weights == {torch.float16} and sizes[1] < 0.8 * sizes[0]
    twin = load_network(tmp_path / "half.safetensors")
    assert {p.dtype for p in twin.parameters()} == {torch.float32}
    for name, weight in network.state_dict().items():
        assert torch.equal(twin.state_dict()[name], weight.half().float())
    assert torch.allclose(twin(x, 0.1), network(x, 0.1), atol=1e-3)
    assert not torch.equal(twin(x, 0.1), network(x, 0.1))


def test_what_half_precision_loses_is_measured_and_claims_are_recomputed(tmp_path):
    from priors.ridge import RidgeConfig

    path = tmp_path / "ridge.safetensors"
    network = build("ridge", RidgeConfig(filters=2, widths=(), kernels=(3,), nodes=2), seed=0)
    torch.nn.init.normal_(network.positive)
    save_network(path, network, {"steps": 7})
    loss = store_half(path, lambda n: {"weight": float(n.positive.flatten()[0])})
    card, rounded = read_provenance(path), load_network(path)
    first = network.positive.detach().flatten()[0]
    assert loss["weight"] == pytest.approx(float(first - first.half().float()), abs=1e-9)
    assert card["steps"] == 7 and card["half"]["before"]["weight"] == pytest.approx(float(first))
    assert card["half"]["claims"]["convexity"] == rounded.claims.convexity
    assert rounded.claims.convexity != network.claims.convexity


def test_weights_beyond_half_precision_are_refused(tmp_path):
    network = build("denoiser", CONFIG, seed=3)
    torch.nn.init.constant_(network.head.bias, 1e6)
    with pytest.raises(ValueError, match=r"head\.bias has weights up to 1e\+06, beyond float16"):
        save_network(tmp_path / "n.safetensors", network, {}, half=True)


def test_a_configuration_that_no_network_can_have_is_a_bad_file(file):
    with safe_open(file, "pt") as stream:
        metadata = stream.metadata()
    metadata["config"] = json.dumps({**CONFIG.to_dict(), "blocks": [1]})
    save_file(load_file(file), file, metadata)
    with pytest.raises(CheckpointError, match=r"does not fit the network it names.*2 widths and 1 block"):
        load_network(file)
