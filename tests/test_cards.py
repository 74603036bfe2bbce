"""Every weight that ships has a card, and a card says what its weights are and how they were made."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from priors.base import WEIGHTS
from priors.checkpoint import build, read_provenance, save_network
from priors.deblurring import Deblurring
from priors.denoiser import DenoiserConfig
from priors.nonblind import NonBlind
from priors.recipe import Denoising
from priors.train import Plan

ROOT = Path(__file__).resolve().parent.parent
PRIORS = {
    *("denoiser-gray", "denoiser-color", "lpn-gray", "lpn-color", "lpn-map-gray", "ridge-gray"),
    *("gradient-step-gray", "gradient-step-color"),
}
NETWORKS = {f"ssnet-{kind}-{level}" for kind in ("nn", "finn", "stnn", "renn") for level in ("0", "0.025")}
NETWORKS |= {"ssnet-tv-range", "unet-tv-range", "bounded-2", "bounded-4"}
NAMES = PRIORS | {"unrolled-gray", "unrolled-color"} | NETWORKS
SHIPPED = sorted(WEIGHTS.glob("*.safetensors"))


@pytest.fixture
def cards(monkeypatch):
    """The script that writes the cards."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    kept = sys.modules.pop("common", None)
    import cards

    yield cards
    for name in ("cards", "common", "one_psf_cards", "stabilizer_findings", "unrolled_cards"):
        sys.modules.pop(name, None)
    if kept is not None:
        sys.modules["common"] = kept


def made(folder, **changes):
    """A file of weights as a training would leave it."""
    config = {"channels": 1, "widths": [4], "blocks": [1], "sigma": [0.0, 0.2]}
    recipe = Denoising("denoiser", config, "l2", False, (0.0, 0.2), batch=2, patch=24, seed=3)
    provenance = {
        **{"data": ["train", "test"], "pictures": 400, "data_hash": "0123456789ab", "steps": 90},
        **{"recipe": asdict(recipe), "plan": asdict(Plan(steps=100, rate=2e-3, hold=60, period=10))},
        **{"seconds": 7200.0, "metrics": {"psnr_25": 29.5}, "versions": {"torch": "2.4"}},
    }
    path = folder / "denoiser-gray.safetensors"
    save_network(path, build("denoiser", DenoiserConfig(**config), seed=0), provenance | changes)
    return path


def test_names_are_those_that_were_promised():
    assert {path.stem for path in SHIPPED} <= NAMES


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_weight_has_its_card(path, cards):
    text = path.with_suffix(".md").read_text()
    assert text == cards.card(path, ROOT / "benchmarks" / "results"), "run python benchmarks/cards.py"
    assert path.stat().st_size < 6e6


def test_no_card_without_weights():
    assert {p.stem for p in WEIGHTS.glob("*.md")} <= {p.stem for p in SHIPPED}


def test_a_card_has_what_a_reader_needs(cards, tmp_path):
    text = cards.card(made(tmp_path), tmp_path)
    assert text.startswith("# denoiser-gray\n")
    assert [f"## {h}" in text for h in cards.HEADINGS] == [True] * len(cards.HEADINGS)
    assert "non-commercial research and education only" in text
    assert "90 of 100 planned steps" in text and "2.0 hours" in text and "400 pictures" in text
    assert "psnr at 25: 29.50 dB" in text


def test_the_command_makes_the_same_training_again(cards, tmp_path):
    from proxlab.cli.parser import build_parser
    from proxlab.cli.train import asked

    path = made(tmp_path)
    words = shlex.split(cards.command("denoiser-gray", read_provenance(path)))
    recipe, plan = asked(build_parser().parse_args(words[1:]), "cpu")
    wanted = read_provenance(path)
    given = {**wanted["recipe"], "config": recipe.config, "sigma": recipe.sigma}
    assert asdict(recipe) == given and recipe.sigma == (0.0, 0.2)
    assert recipe.network().config.to_dict() == DenoiserConfig(**wanted["recipe"]["config"]).to_dict()
    assert asdict(plan) == wanted["plan"]


def test_figures_are_of_these_weights_alone(cards, tmp_path):
    path = made(tmp_path)
    weights = cards.file_digest(path)[:8]
    file = cards.ResultFile(tmp_path / "denoising_bsd68.json")
    for number, (psnr, whose) in enumerate([(29.0, weights), (30.0, weights), (99.0, "another1")]):
        file.add(f"denoiser-gray|25|{number:02d}", {"psnr": psnr, "weights": whose, "picture": "x"})
    text = cards.card(path, tmp_path)
    assert "2 pictures of bsd68" in text and "29.50 |" in text and "99.00" not in text.split("## Figures")[1]


def made_for_one_psf(folder, **changes):
    """A network for one psf, as a training would leave it, and that psf as a file."""
    bell = np.exp(-0.5 * (np.arange(-5, 6) / 1.3) ** 2)
    psf = bell[:, None] * bell
    np.save(folder / "PSF.npy", psf)
    rows = tuple(tuple(float(v) for v in row) for row in psf / psf.sum())
    parts = {"preprocess": "cgls:3,0.01", "target": "truth", "noise": (0.025, 0.025), "inject": "before"}
    shape = {"width": 3, "skip": True}
    more = {"loss": "ln-mse", "color": False, "batch": 2, "patch": 32, "seed": 1}
    recipe = Deblurring("deblur", "ssnet", shape, rows, **{**parts, **changes}, **more)
    path = folder / "ssnet-stnn-0.025.safetensors"
    plan = asdict(Plan(steps=8, rate=3e-3, period=2, optimizer="muon"))
    provenance = {
        **{"data": ["train", "test"], "pictures": 400, "data_hash": "0123456789ab", "steps": 6},
        **{"recipe": asdict(recipe), "plan": plan, "seconds": 1200.0, "processor_seconds": 90.0},
        **{"metrics": {"psnr_0.025": 25.5}, "versions": {"torch": "2.4"}},
    }
    save_network(path, recipe.network(), provenance)
    return path


def test_a_network_for_one_psf_says_where_it_stands(cards, tmp_path):
    path = made_for_one_psf(tmp_path)
    digest = cards.file_digest(path)[:8]
    file = cards.ResultFile(tmp_path / "stabilizers_bsd68.json")
    quality = {  # dB at 0 and at 0.01, noise gain
        "blurred": (24.0, 23.8, 1.0),
        "Tikhonov filter, weight 0.01": (26.0, 25.0, 0.1),
        "Tikhonov filter, weight 0.001": (28.0, 24.0, 10.0),
        "mine": (28.5, 25.5, 1.0),
    }
    for row, (clean, noisy, gain) in quality.items():
        for picture in ("a", "b"):
            record = {"version": digest if row == "mine" else "another1", "gain": gain, "noise": 2.5}
            file.add(f"{row} | {picture}", {**record, "0": [clean, 0.9, 5.0], "0.01": [noisy, 0.8, 6.0]})
        file.add(
            f"{row} | c", {"version": "old", "gain": 9.0, "noise": 2.5, "0": [9, 0, 9], "0.01": [9, 0, 9]}
        )
    text = cards.card(path, tmp_path)
    assert "| 28.50 | 25.50 |" in text and "2 pictures of bsd68" in text
    assert "Tikhonov filter, best weight for each | 28.00 | 25.00 |" in text
    assert "**1.50 dB above the filters' frontier**" in text and "+0.50 dB at 0.01" in text  # 27 dB at gain 1
    assert "1.5 minutes of processor time" in text and "11x11 Gaussian of 1.3 pixels" in text
    assert "non-commercial" in text and "under-trained network looks stable" in " ".join(text.split())
    file.add("mine | a", {**file.records["mine | a"], "version": "another1"})
    file.add("mine | b", {**file.records["mine | b"], "version": "another1"})
    assert "frontier" not in cards.card(path, tmp_path)


def test_a_network_of_bounded_gain_says_what_is_proven_and_a_variant_that_it_is_one(cards, tmp_path):
    from priors.networks import Bounded, BoundedConfig

    made = read_provenance(made_for_one_psf(tmp_path, preprocess="tv", noise=(0.005, 0.08)))
    net = Bounded(BoundedConfig(lipschitz=2.0, width=2, layers=1, kernel=3))
    bounded = {**made, "kind": "bounded", "config": net.config.to_dict()}
    text = " ".join(cards.one_psf.what(bounded, net, 12.0).split())
    assert (
        "Lipschitz constant is at most 2, by construction" in text
        and "Nothing is proven of its ans" not in text
    )
    text = " ".join(cards.one_psf.what(made, object(), 12.0).split())
    assert "A variant of the StNN of Evangelista" in text and "Nothing is proven of its answers" in text
    assert "total variation in front" in text and "by mirroring" in cards.one_psf.limits(made)


def test_the_command_makes_the_same_network_for_one_psf(cards, tmp_path, monkeypatch):
    from proxlab.cli.parser import build_parser
    from proxlab.cli.train import asked

    path = made_for_one_psf(tmp_path, target="tikhonov:1e-4", preprocess="none")
    monkeypatch.chdir(tmp_path)
    wanted = read_provenance(path)
    words = shlex.split(cards.command("ssnet-renn-0.025", wanted))
    recipe, plan = asked(build_parser().parse_args(words[1:]), "cpu")
    assert np.allclose(recipe.psf, wanted["recipe"]["psf"], rtol=1e-12)
    same = {**wanted["recipe"], "psf": recipe.psf, "noise": tuple(wanted["recipe"]["noise"])}
    assert asdict(recipe) == same and asdict(plan) == wanted["plan"]
    assert "validated on, against its target: psnr at 0.025: 25.50 dB" in cards.card(path, tmp_path)


def test_unknown_pictures_are_refused(cards, tmp_path):
    path = made(tmp_path, data=["holiday"])
    with pytest.raises(SystemExit, match="under which licence"):
        cards.card(path, tmp_path)


def made_unrolled(folder):
    """An unrolled network as a training from a denoiser would leave it."""
    inner = {"channels": 1, "widths": [4], "blocks": [1], "sigma": [0.0, 0.2], "bias": True}
    config = {"network": inner, "prior": "denoiser", "steps": 8, "sigma": [0.0, 0.05]}
    recipe = NonBlind("unrolled", config, "ln-mse", False, (0.0, 0.05), reach=27, batch=2, patch=96, seed=3)
    provenance = {
        **{"data": ["train", "test"], "pictures": 400, "data_hash": "0123456789ab", "steps": 90},
        **{"recipe": asdict(recipe), "plan": asdict(Plan(steps=100, rate=2e-4, period=20))},
        **{"seconds": 1200.0, "metrics": {"psnr_7.65": 26.5}, "versions": {"torch": "2.4"}},
    }
    path = folder / "unrolled-gray.safetensors"
    save_network(path, recipe.network(), provenance | {"start": "denoiser-gray.safetensors"})
    return path


def test_an_unrolled_network_stands_beside_plug_and_play(cards, tmp_path):
    path = made_unrolled(tmp_path)
    digest = cards.file_digest(path)[:8]
    file = cards.ResultFile(tmp_path / "quality_bsd68_circular.json")
    for level, values in {"2.55": (31.0, 30.0), "7.65": (27.0, 26.5)}.items():
        for told in ("", " (sigma given)"):
            file.add(f"proxlab unrolled{told} | a levin1 {level}", {"psnr": values[0], "weights": digest})
            file.add(f"proxlab pnp{told} | a levin1 {level}", {"psnr": values[1], "weights": "another1"})
    file.add("proxlab unrolled | b levin1 7.65", {"psnr": 99.0, "weights": "another1"})
    text = " ".join(cards.card(path, tmp_path).split())
    assert "8 steps of half-quadratic splitting around one denoiser whose weights all steps share" in text
    assert "| this network | 31.00 | 27.00 | 29.00 |" in text and "| plug-and-play | 30.00 | 26.50 |" in text
    assert "bsd68_circular (sigma given), 2 cases" in text and "99.00" not in text
    assert "--loss ln-mse" in text and "--reach 27" in text and "--start denoiser-gray.safetensors" in text
    assert "at most 27 pixels a side" in text
