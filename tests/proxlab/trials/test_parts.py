"""Scenes, departures, plans and the store: each held to something computed another way."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from proxlab.errors import InputError, UsageError
from proxlab.trials.protocol import (
    QUICK,
    STANDARD,
    Speed,
    again,
    as_options,
    exact_steps,
    fit,
    read_sizes,
    seconds,
    total,
)  # fmt: skip
from proxlab.trials.scenes import Scene, margin_of, read_scenes, tensor
from proxlab.trials.shifts import changed_psf, departures
from proxlab.trials.store import Store
from proxlab.trials.subjects import find_subjects, with_honest_gradient

PSF = np.outer([1, 3, 2.0], [1, 2, 5, 2, 0.0])
PSF /= PSF.sum()


@pytest.fixture
def scene():
    m = margin_of(PSF)
    return Scene("a", np.random.default_rng(0).random((40 + 2 * m, 36 + 2 * m)), PSF, m)


def test_data_are_a_true_convolution_that_sees_no_border(scene):
    y, x, m = scene.data(), scene.wide, scene.margin
    for i, j in ((0, 0), (39, 35), (7, 20)):
        by_hand = sum(
            PSF[a, b] * x[i + m - (a - 1), j + m - (b - 2)] for a in range(3) for b in range(5)
        )  # psf * x at the pixel, the centre at n // 2
        assert y[i, j] == pytest.approx(by_hand)
    assert y.shape == scene.truth.shape == (40, 36)


def test_the_believed_operator_explains_the_data_away_from_its_own_borders(scene):
    """Two codes, scipy on the wide field and the operator on its own: they agree away from the borders."""
    op = scene.operator()
    field = torch.zeros(1, *op.img_size)
    rows, columns = op.start
    field[..., rows : rows + 40, columns : columns + 36] = tensor(scene.truth, "cpu")
    inside = op.A(field)[0, 0, 4:-4, 4:-4].numpy()
    assert np.abs(inside - scene.data()[4:-4, 4:-4]).max() < 1e-5


def test_the_middle_of_a_scene_is_the_same_scene(scene):
    small = scene.crop(20)
    top, left = (40 - 20) // 2, (36 - 20) // 2
    rows, columns = small.truth.shape
    assert np.array_equal(small.truth, scene.truth[top : top + rows, left : left + columns])
    assert np.allclose(small.data(), scene.data()[top : top + rows, left : left + columns])


def test_the_last_pictures_are_for_tuning_only_however_many_are_tested(tmp_path):
    from imaging.files.picture import write_picture

    pictures = [np.random.default_rng(n).random((60, 60)) for n in range(5)]
    for n, picture in enumerate(pictures):
        write_picture(tmp_path / f"{n}.png", np.uint8(255 * picture))
    for images in (pictures, tmp_path):
        for count, tested in ((8, 3), (3, 3), (1, 1)):
            tests, rest = read_scenes(images, PSF, count=count, side=32)
            assert (len(tests), [s.name[-5:] for s in rest]) in [
                (tested, ["3.png", "4.png"]), (tested, ["ure 4", "ure 5"]),
            ]  # fmt: skip
            assert {s.name for s in tests}.isdisjoint(s.name for s in rest)
    tests, rest = read_scenes(pictures[:3], PSF, count=2, side=32)
    assert (len(tests), len(rest)) == (2, 0)


def test_colour_becomes_grey_by_601():
    colour = np.zeros((60, 60, 3))
    colour[..., 1] = 0.5
    tests, _ = read_scenes([colour], PSF, count=1, side=32)
    assert tests[0].truth == pytest.approx(0.587 * 0.5)


def test_a_picture_too_small_is_refused():
    with pytest.raises(InputError, match="so that the data see no border: take larger ones"):
        read_scenes([np.zeros((36, 36))], PSF, count=1, side=32)


def test_a_psf_changes_as_it_should():
    n = np.arange(21) - 10.0
    wide = lambda s: np.exp(-(n[:, None] ** 2 + n**2) / (2 * s**2))  # noqa: E731
    g = wide(2.0) / wide(2.0).sum()
    variance = lambda k: (k * (np.arange(len(k)) - len(k) // 2)[:, None] ** 2).sum()  # noqa: E731
    # interpolation and averaging over pixels add a little width of their own
    assert variance(changed_psf(g, zoom=1.2)) == pytest.approx(1.44 * variance(g), rel=0.08)
    assert variance(changed_psf(g, zoom=0.8)) == pytest.approx(0.64 * variance(g), rel=0.12)
    moved = changed_psf(g, shift=0.5)
    columns = np.arange(moved.shape[1]) - moved.shape[1] // 2
    assert (moved * columns).sum() == pytest.approx(0.5, abs=0.02) and moved.sum() == pytest.approx(1)
    line = np.zeros((11, 11))
    line[5] = 1 / 11
    turned = changed_psf(line, angle=5)
    i, j = np.indices(turned.shape) - turned.shape[0] // 2
    covariance, spread = (turned * i * j).sum(), (turned * j * j).sum()
    assert abs(np.rad2deg(np.arctan(covariance / spread))) == pytest.approx(5, abs=0.7)


def test_departures_have_the_level_they_say(scene):
    sigma = 0.02
    clean = scene.data()
    for shift in departures(short=False):
        y = shift.make(scene, sigma, 3)
        rms = float(np.sqrt(np.mean((y - clean) ** 2)))
        if shift.group in ("reference", "level", "border") or shift.name.startswith(("unif", "corr", "Pois")):
            assert rms == pytest.approx(sigma, rel=0.12), shift.name
        elif shift.name.startswith("rounding"):
            assert rms == pytest.approx(sigma, rel=0.25)
        else:
            assert rms > 0.2 * sigma, shift.name
    assert len(departures(short=True)) == 13 and len(departures(short=False)) == 19


def test_a_plan_is_cut_until_it_fits_and_says_so():
    speeds = {"slow": Speed({0.01: 2.0, 0.03: 1.0, 0.08: 0.5}, 1.0, 1.0)}
    full = total(QUICK, speeds)
    fitted, cuts = fit(QUICK, speeds, full / 2)
    assert total(fitted, speeds) <= full / 2 and cuts
    assert any(text.startswith("pictures: ") and "instead of 8" in text for text in cuts)
    parts = [text.split(": ")[1].split(" instead of ") for text in cuts]
    assert all(kept != asked for kept, asked in parts)  # nothing is called cut that was not
    assert fit(QUICK, speeds, full + 1) == (QUICK, [])
    _, hopeless = fit(QUICK, speeds, 0.1)
    assert "even so about" in hopeless[-1]


def test_time_that_a_rung_saved_too_much_is_given_back():
    """Of half the time little stays unused, and nothing is attacked that is not in the study."""
    speeds = {"slow": Speed({0.0: 1.0}, 2.0, 1.0, product=0.5), "fast": Speed({0.0: 0.1}, 0.2, 0.1)}
    for minutes in (10, 30, 100, 500):
        kept, _ = fit(STANDARD, speeds, 60.0 * minutes)
        assert 0.9 * 60 * minutes <= total(kept, speeds) <= 60 * minutes
        assert max(kept.attacked, kept.shifted, kept.detailed) <= kept.pictures


def test_a_cut_is_never_more_than_what_was_asked():
    """Left out stays left out, a coarse tolerance coarse, however much time the rest of a rung saves."""
    speeds = {"slow": Speed({0.03: 1.0}, 1.0, 1.0, product=1e-6)}
    none = {"attacked": 0, "shifted": 0, "detailed": 0, "lipschitz": 0, "attack_levels": (), "exact": 0.0}
    coarse = {"exact": 0.05, "boxes": (), "attack_levels": (0.08,), "levels": (0.01, 0.03, 0.05, 0.08)}
    for asked in (STANDARD, QUICK, replace(QUICK, **coarse), replace(STANDARD, **coarse, shifted=0),
                  replace(STANDARD, **none), replace(QUICK, **none, boxes=(1.0,))):  # fmt: skip
        for share in (0.9, 0.7, 0.5, 0.3, 0.1, 0.03, 0.01, 0.001):
            kept, cuts = fit(asked, speeds, share * total(asked, speeds))
            assert kept.exact == 0 or kept.exact >= asked.exact
            assert set(kept.attack_levels) <= set(asked.attack_levels) and set(kept.boxes) <= set(asked.boxes)
            for name in ("pictures", "draws", "attacked", "iterations", "restarts", "shifted", "detailed"):
                assert getattr(kept, name) <= getattr(asked, name), (name, share)
            assert not any(text.startswith("exact: 0.03 instead of 0.05") for text in cuts)
            assert bool(kept.attack_levels) == bool(asked.attack_levels)


def test_the_cost_of_a_plan_by_hand():
    speed = Speed({0.01: 1.0, 0.03: 2.0, 0.08: 3.0}, step=7.0, worse=5.0, product=0.5)
    p = replace(QUICK, boxes=(2.0,))
    parts = seconds(p, speed, others=3)
    assert parts["noise"] == 8 * 4 * (1 + 2 + 3) and parts["transfer"] == 2 * 3 * (2 + 5) / 2
    assert parts["shift"] == 1 * 19 * 2 and parts["exact"] == 17 * 0.5 == exact_steps(p) * 0.5
    assert parts["worst"] == 2 * 2 * (11 * 7 + 9 * 2 + 5)  # two pictures, one level and a box
    assert seconds(replace(p, exact=0.0), speed, others=3)["exact"] == 0


def test_sizes_survive_being_written_on_a_command_line():
    odd = {"levels": [0.1 / 3, np.float64(0.06)], "attack_levels": [0.1 / 3], "draws": np.int64(4)}
    few = {"boxes": (), "short_shifts": True, "exact": 1 / 30, "minutes": 3}
    for p in (
        STANDARD,
        replace(QUICK, **few),
        replace(QUICK, **odd),
    ):
        words = as_options(p).split()
        sizes = read_sizes(words[2]) if len(words) > 1 else {}
        assert replace({"quick": QUICK, "standard": STANDARD}[p.name], **sizes) == replace(p, minutes=None)
    text = again("proxlab robustness --minutes=3 --sizes draws=2 -p 'a b' --standard", STANDARD)
    assert text == "proxlab robustness -p 'a b' --standard --out again"
    for wrong in ("draws=two", "draws=", "short_shifts=1", "boxes=a:b", "minutes=3", "name=x"):
        with pytest.raises(ValueError, match=r"wanted|has no size"):
            read_sizes(wrong)


@pytest.mark.parametrize(
    ("size", "value", "told"),
    [
        ("pictures", 0, "of at least 1"),
        ("pictures", "eight", "size pictures is 'eight': give a whole number"),
        ("side", 31, "of at least 32"),
        ("draws", 0, "of at least 1"),
        ("draws", 2.5, "size draws is 2.5: give a whole number"),
        ("iterations", 0, "of at least 1"),
        ("restarts", 0, "of at least 1"),
        ("resamples", 0, "of at least 1"),
        ("attacked", -1, "size attacked is -1: give a whole number of at least 0"),
        ("lipschitz", -2, "of at least 0"),
        ("levels", (), "size levels is empty: give at least one"),
        ("levels", 0.03, "size levels is 0.03: give a list"),
        ("levels", (0.03, -0.08), "none below 0"),
        ("levels", (0.03, float("inf")), "finite numbers"),
        ("levels", (0.03, 0.08, 0.08), "each number once"),
        ("levels", (0.03, 0.08, 0.08000001), "apart in their first six digits"),
        ("levels", (0.0, 0.08), r"attack_levels has 0.03, which is none of the levels \(0.0, 0.08\)"),
        ("levels", (0.03, 0.0, 0.08), "the middle one of the levels"),
        ("attack_levels", (0.02,), "or add it to the levels"),
        ("boxes", (0.0, 2.0), "size boxes has 0, a budget in which nothing can be attacked"),
        ("exact", float("nan"), "size exact is nan: give a relative tolerance of at least 1e-06, or 0 for"),
        ("exact", -0.01, "give a relative tolerance"),
        ("short_shifts", 3, "wanted True"),
        ("minutes", 0, "minutes is 0: give how long the study may take, above 0"),
        ("minutes", "3 h", "minutes is '3 h': give how long"),
    ],
)
def test_sizes_of_which_no_study_comes_are_refused(size, value, told):
    with pytest.raises(ValueError, match=told):
        replace(QUICK, **{size: value})


def test_parts_that_are_left_out_are_no_mistake():
    least = {"attacked": 0, "shifted": 0, "detailed": 0, "lipschitz": 0, "exact": 0, "levels": [0]}
    p = replace(QUICK, **least, attack_levels=[], boxes=[])
    assert p.levels == (0.0,) and p.middle == 0 and p.attack_levels == p.boxes == ()


def test_standard_holds_the_levels_of_the_literature():
    assert STANDARD.levels == (0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08) and STANDARD.pictures == 50


def test_a_unit_is_made_once_and_remade_when_its_inputs_change(tmp_path):
    calls = []

    def work():
        calls.append(1)
        return {"value": 1.5, "pictures": {"a": np.eye(2)}}

    key = ("noise", "tv", "a picture/with a slash.png", "0.03")
    store = Store(tmp_path, resume=True, code="a")
    assert store.get(key, 1, work)["value"] == 1.5 and not store.done(key, 2)
    record = store.get(key, 1, work)
    assert len(calls) == 1 and np.array_equal(store.pictures(record)["a"], np.eye(2))
    store.get(key, 2, work)
    assert len(calls) == 2
    Store(tmp_path, resume=False, code="a").get(key, 2, work)
    assert len(calls) == 3
    assert Store(tmp_path, resume=True, code="a").done(key, 2)
    assert not Store(tmp_path, resume=True, code="b").done(key, 2)
    Store(tmp_path, resume=True, code="b").get(key, 2, work)
    assert len(calls) == 4


def test_what_is_made_anew_is_said_in_a_sentence(tmp_path):
    made = Store(tmp_path, resume=True, code="a")
    units = [(("noise", name), 1) for name in "pqr"]
    assert made.stale(units) == ""  # nothing is kept
    for key, inputs in units:
        made.get(key, inputs, dict)
    assert made.stale(units) == "" and Store(tmp_path, resume=False, code="b").stale(units) == ""
    other = [*units[:2], (units[2][0], 2)]
    assert made.stale(other) == (
        "of 3 kept units 1 from another choice of pictures, methods or sizes are made anew."
    )
    Store(tmp_path, resume=True, code="b").get(*units[0], dict)
    assert made.stale(other) == (
        "of 3 kept units 1 from another version of proxlab, its weights or its libraries and "
        "1 from another choice of pictures, methods or sizes are made anew."
    )


def test_the_digest_of_the_code_sees_a_change_that_counts_and_no_other(monkeypatch):
    from pathlib import Path

    from proxlab.trials import origin

    honest, digest = Path.read_bytes, origin.code_digest.__wrapped__
    before = digest()

    def edited(name):
        return lambda path: honest(path) + (b"#" if path.as_posix().endswith(name) else b"")

    assert before == digest() == origin.code_digest()
    for name in ("algorithms/attack.py", "proxlab/trials/units.py"):
        monkeypatch.setattr(Path, "read_bytes", edited(name))
        assert digest() != before, name
    monkeypatch.setattr(Path, "read_bytes", edited("weights/ssnet-tv-range.safetensors"))
    assert digest() == before  # weights count for the methods that use them
    monkeypatch.setattr(Path, "read_bytes", edited("proxlab/pages/style.py"))
    assert digest() == before
    monkeypatch.setattr(origin, "versions", lambda: {"torch": "0"})
    assert digest() != before


def test_new_weights_change_the_digest_of_the_methods_that_use_them(monkeypatch):
    from pathlib import Path

    from proxlab.trials import subjects

    def digests():
        found = find_subjects(["stnn", "auto", "certified", "tv"], device="cpu", seed=0)
        return {s.name: s.digest for s in found}

    honest, before = Path.read_bytes, digests()
    monkeypatch.setattr(
        Path, "read_bytes", lambda p: honest(p) + b"#" * (p.name == "unet-tv-range.safetensors")
    )
    after = digests()
    assert {name for name in after if after[name] != before[name]} == {"stnn", "auto"}  # these choose
    assert after["tv"] is None and after["certified"]
    own = subjects._trained(subjects.load_method("pnp"), SimpleNamespace(digest=None, network=Theirs()))
    assert own == subjects._weights(Theirs())


def test_auto_with_a_prior_of_the_user_s_own_depends_on_it_and_on_what_ships(monkeypatch):
    from proxlab.trials import origin

    def digest(prior):
        return find_subjects(["auto"], device="cpu", seed=0, prior=prior)[0].digest

    def trained_further():
        network = Theirs()
        network.scale.data.fill_(0.6)
        return network

    def smooth(x, sigma):
        return x

    before = digest(Theirs())
    assert digest(Theirs()) == before != digest(trained_further())
    assert digest(smooth) not in (before, digest(None))  # of its file, where it has no weights
    monkeypatch.setattr(origin, "shipped_digest", lambda: "other weights")
    assert digest(Theirs()) != before


def test_a_user_s_method_is_told_from_the_same_with_another_helper(tmp_path, monkeypatch):
    from proxlab.trials.origin import source_digest

    class Mine:
        def __call__(self, op, y):
            return y

    digests = []
    for n in (1, 2):
        text = f"def help(y):\n    return {n} * y\n\n\ndef f(op, y):\n    return help(y)\n"
        (tmp_path / f"helped{n}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        found = find_subjects({"mine": f"helped{n}:f"}, device="cpu", seed=0)[0]
        digests.append(found.digest)
    assert len(set(digests)) == 2
    assert source_digest(Mine()) == source_digest(test_numbers_survive_json)  # both written in this file
    assert source_digest(len) is None


def test_methods_come_by_name_by_function_and_by_module(tmp_path, monkeypatch):
    (tmp_path / "my_own_method.py").write_text(
        "def f(op, y, sigma):\n    'Mine.'\n    return (1 - sigma) * y\n"
    )
    monkeypatch.chdir(tmp_path)
    named = find_subjects({"mine": "my_own_method:f", "double": lambda op, y: 2 * y}, device="cpu", seed=0)
    assert [s.name for s in named] == ["mine", "double", "identity", "wiener", "tikhonov", "tv"]
    y = torch.ones(1, 1, 2, 2)
    assert torch.allclose(named[0].at(0.25).reconstruct(None, y), 0.75 * y)
    assert torch.equal(named[1].at(0.25).reconstruct(None, y), 2 * y)
    assert "not told" in named[1].summary
    guessed = float(named[0].at(None).reconstruct(None, torch.rand(1, 1, 32, 32)).max())
    assert 0 < guessed < 1 and named[0].told and not named[1].told  # without a level it gets an estimate
    with pytest.raises(UsageError, match="cannot be imported"):
        find_subjects("my_own_method:g", device="cpu", seed=0)
    with pytest.raises(UsageError, match="unknown method 'weiner'"):
        find_subjects("weiner", device="cpu", seed=0)


def test_where_autograd_is_blind_the_surrogate_takes_over(scene):
    from algorithms.classical import tikhonov

    def honest(op, y):
        return tikhonov(op, y, lam=0.01, rtol=1e-4)

    def masked(op, y):
        return (tikhonov(op, y, lam=0.01, rtol=1e-4) * 64).round() / 64

    op = scene.operator("circular")  # closed form, so that autograd sees through the honest one
    y, truth = tensor(scene.data(), "cpu"), tensor(scene.truth, "cpu")
    subjects = find_subjects({"honest": honest, "masked": masked}, device="cpu", seed=0)[:2]
    ways = [with_honest_gradient(s, op, y, truth, 0.01).way for s in subjects]
    assert ways == ["autograd", "tikhonov"]


def test_numbers_survive_json(tmp_path):
    record = Store(tmp_path, resume=False, code="").get(("a",), 0, lambda: {"x": float("nan"), "y": (1, 2)})
    assert record["x"] is None and json.loads(json.dumps(record))["y"] == [1, 2]


@pytest.mark.parametrize("name", ["wiener", "tikhonov"])
def test_a_baseline_that_chooses_its_weight_is_attacked_at_that_weight(name, scene):
    """At a fixed guess the attack on Wiener's filter found half of what is there."""
    from algorithms.linearise import by_tikhonov
    from proxlab.methods import load_method
    from proxlab.methods.base import Noise, Task

    subject = next(s for s in find_subjects("tv", device="cpu", seed=0) if s.name == name)
    op, y = scene.operator("circular"), tensor(scene.data(), "cpu")
    task = Task(op, y, 0.02, "given", Noise("gaussian"), None, None, None, 0, lambda step: None)
    lam = load_method(name).run(task).lam
    bound, u = subject.at(0.02), torch.rand(1, 1, 40, 36)
    x, _ = bound.linearise(op)(y)
    expected, at_that_weight = by_tikhonov(bound.reconstruct, op, lam=lam)(y)
    assert torch.equal(x, expected) and "surrogate" not in bound.gradient
    given = subject.at(0.02, lam).linearise(op)(y)[1](u)
    assert torch.allclose(given, at_that_weight(u), rtol=1e-4)
    assert not torch.allclose(subject.at(0.02, 3 * lam).linearise(op)(y)[1](u), given, rtol=0.05)


@pytest.mark.parametrize("name", ["wiener", "tikhonov"])
@pytest.mark.parametrize("boundary", ["unknown", "circular"])
def test_the_gradient_follows_the_weight_that_the_data_choose(name, boundary, scene):
    """Along any direction it is the difference quotient of the full method; without that part it is not."""
    from algorithms.linearise import by_tikhonov, result

    subject = next(s for s in find_subjects("tv", device="cpu", seed=0) if s.name == name)
    op = scene.operator(boundary).double()
    generator = torch.Generator().manual_seed(2)
    y = torch.from_numpy(scene.data())[None, None]
    y = y + 0.02 * torch.randn(y.shape, generator=generator, dtype=y.dtype)
    u, v = (torch.rand(y.shape, generator=generator, dtype=y.dtype) - 0.4 for _ in range(2))
    bound = subject.at(0.02)
    slope = float((bound.linearise(op)(y)[1](u) * v).sum())
    h = 1e-2  # the weight is found to 2 % of itself
    ends = [result(bound.reconstruct, op, y + s * h * v) for s in (1, -1)]
    quotient = float(((ends[0] - ends[1]) * u).sum()) / (2 * h)
    fixed = by_tikhonov(bound.reconstruct, op, lam=subject.weigh.lam(op, y, 0.02))(y)[1](u)
    assert slope == pytest.approx(quotient, rel=6e-3)
    assert float((fixed * v).sum()) != pytest.approx(quotient, rel=1.5e-2)


def test_boxes_are_attacked_from_the_largest_down_and_their_flags_are_told_apart(monkeypatch):
    from proxlab.trials import units

    tried = []

    def fake(bound, problem, threat, effort, start):
        tried.append((round(255 * float(threat.budget)), start))
        flag = lambda name: {"name": name, "level": "warning", "text": "still rose."}  # noqa: E731
        found = SimpleNamespace(perturbation=f"of {tried[-1][0]}", error=float(threat.budget))
        return found, [flag("rising"), flag("surrogate")]

    monkeypatch.setattr(units, "attack", fake)
    y = torch.ones(1, 1, 2, 2)
    errors, flags = units._boxes(None, (None, y, y), (1.0, 8.0, 2.0), None)
    assert tried == [(8, None), (2, "of 8"), (1, "of 2")] and list(errors) == ["1", "8", "2"]
    assert errors["8"]["relative"] == pytest.approx(8 / 255 / 2)
    assert {f["name"] for f in flags} == {"linf_rising"} and len(flags) == 3
    assert flags[0]["text"] == "l-infinity: still rose."


class Theirs(torch.nn.Module):
    """Called like a deepinv reconstructor: data first."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, y, physics, **kwargs):
        return self.scale * physics.A_adjoint(y)


def test_models_called_with_data_first_are_taken_as_they_are(scene):
    from algorithms.interop import AsReconstructor

    op, y = scene.operator("circular"), torch.rand(1, 1, 40, 36)
    dressed = AsReconstructor(lambda op, y: 0.5 * op.A_adjoint(y))
    theirs, wrapped = find_subjects({"a": Theirs(), "b": dressed}, device="cpu", seed=0)[:2]
    for subject in (theirs, wrapped):
        assert torch.allclose(subject.at(0.1).reconstruct(op, y), 0.5 * op.A_adjoint(y))
    changed = Theirs()
    changed.scale.data.fill_(0.6)
    assert theirs.digest != find_subjects({"a": changed}, device="cpu", seed=0)[0].digest


def test_a_network_bounded_by_its_layers_has_a_proven_constant():
    class Whole:
        network = type("Net", (), {"lipschitz": 2.0})
        recipe = type("Recipe", (), {"preprocess": "none"})

        def __call__(self, op, y):
            return y

    class Expanding(Whole):
        recipe = type("Recipe", (), {"preprocess": "tikhonov"})

    found = find_subjects({"a": Whole(), "b": Expanding(), "c": lambda op, y: y}, device="cpu", seed=0)
    assert [s.bound for s in found[:3]] == [2.0, None, None]


def of_one_psf(path, preprocess="none"):
    """A network for PSF in a file, untrained."""
    from dataclasses import asdict

    from priors.checkpoint import save_network
    from priors.deblurring import Deblurring

    rows = tuple(tuple(float(v) for v in row) for row in PSF)
    made = Deblurring(
        kind="deblur", arch="ssnet", config={"width": 3, "kernels": [3]}, psf=rows, preprocess=preprocess,
        target="truth", noise=(0.0, 0.02), inject="before", loss="l2", color=False, batch=2, patch=16, seed=0,
    )  # fmt: skip
    save_network(path, made.network(), {"recipe": asdict(made)})
    return str(path)


def test_a_network_of_one_psf_is_tested_with_its_own_continuation_of_borders(scene, tmp_path):
    path = of_one_psf(tmp_path / "own.safetensors")
    subject = find_subjects([path], device="cpu", seed=0)[0]
    assert subject.summary.endswith("; trained with noise of 0 to 0.02")
    assert not subject.told and subject.prior == "own" and len(subject.digest) == 64
    op = scene.operator()
    x = subject.at(0.01).reconstruct(op, tensor(scene.data(), "cpu"))
    assert x.shape[1:] == op.img_size and bool(torch.isfinite(x).all())
    with pytest.raises(UsageError, match="trained for another psf"):
        subject.at(0.01).reconstruct(
            Scene("b", scene.wide, PSF[::-1].copy(), scene.margin).operator(), op.A(x)
        )


def test_a_network_behind_a_denoiser_depends_on_that_denoiser(tmp_path):
    """By its file, as the prior of a method, and loaded by the user."""
    from proxlab import load_reconstructor

    denoiser, here = tmp_path / "d.safetensors", {"device": "cpu", "seed": 0}
    path = of_one_psf(tmp_path / "behind.safetensors", f"denoise:{denoiser}")

    def digests():
        loaded = load_reconstructor(path)
        found = find_subjects({"file": path, "method": "stnn", "loaded": loaded}, **here, prior=path)
        found += find_subjects({"held": "stnn"}, **here, prior=loaded.network)
        return {s.name: s.digest for s in found}

    denoiser.write_bytes(b"one")
    before = digests()
    assert digests() == before
    denoiser.write_bytes(b"two")
    after = digests()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"file", "method", "loaded", "held"}
    denoiser.unlink()
    with pytest.raises(InputError, match=r"cannot be read .*d\.safetensors.*: put it back"):
        digests()
