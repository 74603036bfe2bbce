import pytest
import torch

from algorithms.driver import last
from algorithms.pnp import data_term, geometric, in_turn
from algorithms.splitting import hqs
from algorithms.unseen import FILL
from imaging.blur import CircularBlur, PaddedBlur, WindowedBlur
from imaging.masks import Masked
from priors.checkpoint import build, load_network, save_network
from priors.deblurrer import DeblurrerConfig
from priors.denoiser import DenoiserConfig

INNER = DenoiserConfig(widths=(4, 6), blocks=(1, 1))
CONFIG = DeblurrerConfig(network=INNER.to_dict(), steps=3)


def network(config=CONFIG):
    return build("unrolled", config, seed=1).double().requires_grad_(False)


def blur(psf, border, channels=1):
    kind = {"circular": CircularBlur, "unknown": WindowedBlur}[border]
    return kind(psf, (channels, 12, 11))


@pytest.fixture
def y():
    return torch.rand(2, 1, 12, 11, dtype=torch.float64)


@pytest.mark.parametrize("border", ["circular", "unknown"])
def test_a_fresh_one_is_plug_and_play(psf, y, border):
    net, op = network(), blur(psf, border)
    pairs = geometric(0.03, start=CONFIG.start, n=3, weight=CONFIG.weight)
    f = data_term(op, y, steps=CONFIG.inner, fill=FILL)
    run = last(hqs(f, in_turn(net.network, pairs), pairs, x0=op.embed(y)), 3)
    torch.testing.assert_close(net(op, y, 0.03), run.x, rtol=1e-5, atol=1e-6)  # the schedule is float32


@pytest.mark.parametrize("family", ["hqs", "pgd", "admm"])
@pytest.mark.parametrize("border", ["circular", "unknown"])
def test_a_batch_is_its_samples_one_by_one(psf, y, family, border):
    net, op = network(DeblurrerConfig(network=INNER.to_dict(), steps=2, family=family)), blur(psf, border)
    together = net(op, y, torch.tensor([0.01, 0.05]))
    alone = [net(op, y[i : i + 1], level) for i, level in enumerate((0.01, 0.05))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_a_grey_network_takes_colours_one_by_one(psf):
    net, op, y = network(), blur(psf, "circular", 3), torch.rand(1, 3, 12, 11, dtype=torch.float64)
    planes = [net(blur(psf, "circular"), y[:, c : c + 1], 0.02) for c in range(3)]
    torch.testing.assert_close(net(op, y, 0.02), torch.cat(planes, 1), rtol=1e-9, atol=1e-9)


def test_a_colour_network_refuses_grey(psf, y):
    inner = {**INNER.to_dict(), "channels": 3}
    with pytest.raises(ValueError, match="the picture has 1 channels: this network is for 3"):
        network(DeblurrerConfig(network=inner, steps=1))(blur(psf, "circular"), y, 0.02)


def test_masks_and_other_borders_are_taken(psf, y):
    net, mask = network(), torch.rand(1, 1, 12, 11) > 0.2
    op = Masked(blur(psf, "circular"), mask)
    hidden = y.masked_fill(~mask, 0.0)
    other = hidden + torch.where(mask, 0.0, 5.0)
    f = [data_term(op, data, steps=3).prox(y, gamma=2.0) for data in (hidden, other)]
    assert torch.equal(*f)  # hidden data do not count
    assert bool(torch.isfinite(net(op, hidden, 0.02)).all())
    assert net(PaddedBlur(psf, (1, 12, 11), "reflect"), y, 0.02).shape == y.shape


def test_one_file_alone_rebuilds_it(psf, y, tmp_path):
    net = build("unrolled", CONFIG, seed=1)
    with torch.no_grad():
        net.schedule.change.add_(0.01)
    save_network(tmp_path / "net.safetensors", net, {})
    again = load_network(tmp_path / "net.safetensors")
    op, y = blur(psf, "unknown").to(torch.float32), y.float()
    with torch.no_grad():
        assert torch.equal(again(op, y, 0.02), net(op, y, 0.02))
        assert not torch.equal(again(op, y, 0.02), build("unrolled", CONFIG, seed=1)(op, y, 0.02))
    assert again.config == CONFIG


def test_it_starts_from_a_denoiser(psf, y):
    trained, net = build("denoiser", INNER, seed=8), network()
    net.start_from(trained)
    assert all(
        torch.equal(a, b.double())
        for a, b in zip(net.network.parameters(), trained.parameters(), strict=True)
    )


def test_a_learned_proximal_network_inside(psf, y):
    from priors.lpn import LPNConfig

    config = DeblurrerConfig(network=LPNConfig(side=3).to_dict(), prior="lpn", steps=2)
    assert network(config)(blur(psf, "circular"), y, 0.02).shape == y.shape


@pytest.mark.parametrize(
    ("change", "text"), [({"family": "sgd"}, "family is 'sgd'"), ({"steps": 0}, "steps is 0 and inner 3")]
)
def test_impossible_configurations(change, text):
    with pytest.raises(ValueError, match=text):
        DeblurrerConfig(**change)
