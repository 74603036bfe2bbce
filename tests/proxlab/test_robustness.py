"""The study from end to end on tiny pictures, its files, its command; the page as a document."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from algorithms import sanity
from imaging.files.picture import write_picture
from proxlab import robustness
from proxlab.__main__ import main
from proxlab.errors import UsageError
from proxlab.pages.charts import KEY, Frame, Line, lines_chart, ticks, tradeoff_chart
from proxlab.pages.verdict import unreliable, verdict_of
from proxlab.trials import origin, subjects, units

TINY = {
    "pictures": 2,
    "side": 32,
    "levels": (0.02, 0.06),
    "attack_levels": (0.02, 0.06),
    "draws": 2,
    "attacked": 1,
    "iterations": 4,
    "boxes": (2.0,),
    "shifted": 1,
    "short_shifts": True,
    "detailed": 1,
    "lipschitz": 3,
    "exact": 0.5,
    "resamples": 20,
    "minutes": None,
}
PSF = np.ones((3, 3)) / 9


def shrink(op, y, sigma):
    """Half way to the mean."""
    return 0.5 * y + 0.5 * y.mean()


def blind(op, y):
    """Steps: no gradient anywhere."""
    return (y * 8).round() / 8


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(1)
    return [rng.random((12, 12)).repeat(4, 0).repeat(4, 1) for _ in range(2)]


@pytest.fixture(scope="module", autouse=True)
def _cheap():
    """The expensive baselines are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "BASELINES", ("identity",))
        yield


@pytest.fixture(scope="module")
def done(pictures, tmp_path_factory):
    """The record of a study and the folder of its files, which tests only read."""
    folder = tmp_path_factory.mktemp("study") / "r"
    return study(pictures, folder), folder


def study(pictures, out=None, **more):
    return robustness(
        {"shrink": shrink, "blind": blind}, pictures, PSF, sizes=TINY, out=out, device="cpu", **more
    )


def test_a_study_says_what_can_be_worked_out_by_hand(done):
    record, folder = done
    assert (
        record["schema"] == "proxlab-robustness/1"
        and [m["name"] for m in record["methods"]][-1] == "identity"
    )
    table = record["stability"]["identity"]
    assert table["rms_gain"]["value"] == pytest.approx(1, abs=1e-5)  # identity moves as far as the data
    assert table["lipschitz_local"]["value"] == pytest.approx(1, abs=1e-4)
    assert table["lipschitz_exact"]["value"] == table["rms_exact"]["value"] == 1
    # white noise on half way to the mean is halved, up to the mean's own noise; nothing can be worse than 1
    assert record["stability"]["shrink"]["rms_gain"]["value"] == pytest.approx(0.5, abs=0.01)
    assert 0.5 <= record["stability"]["shrink"]["lipschitz_local"]["value"] <= 1 + 1e-4
    own = [e["estimated"] for e in record["curves"]["shrink"]]  # told the level, and ignoring it
    assert all(e["n"] == 2 for e in own) and record["curves"]["blind"][0]["estimated"] is None
    for entry in record["curves"]["identity"]:
        # worst case of y + e against x: the clean error and the budget in one direction
        assert entry["worst"]["mean"] > entry["random"]["mean"] > entry["clean"]["mean"]
    for kinds in record["details"].values():
        assert all(d["constant"] >= d["bound"] - 1e-6 for d in kinds.values())
    assert record["details"]["shrink"]["dots"]["contrast"] == pytest.approx(
        0.5 * record["details"]["identity"]["dots"]["contrast"], rel=0.1
    )
    rows = list(csv.DictReader((folder / "per_image.csv").read_text().splitlines()))
    random = [float(r["relative"]) for r in rows if (r["part"], r["method"]) == ("random", "identity")]
    mean = np.mean([e["random"]["mean"] for e in record["curves"]["identity"]])
    assert len(random) == 2 * 2 * 2 and np.mean(random) == pytest.approx(mean)
    one = [r for r in rows if r["part"] == "local Lipschitz" and r["method"] == "identity"]
    assert [float(r["value"]) for r in one] == pytest.approx([1], abs=1e-4)
    assert {r["condition"] for r in rows if r["part"] == "detail"} >= {"text: contrast", "dots: bound"}
    assert record["code"] == origin.code_digest()[:16] and all(
        m["attack_seconds"] > 0 for m in record["methods"]
    )
    assert json.loads((folder / "report.json").read_text())["verdict"] == record["verdict"]
    check_page((folder / "report.html").read_text(), record)


def test_the_worst_error_of_identity_is_clean_error_plus_budget(done):
    """|y + e - x| is largest for e along y - x: exactly |y - x| + |e|."""
    record, _ = done
    attacked = [e for e in record["curves"]["identity"] if e["worst"]]
    assert len(attacked) == 2
    for e in attacked:
        # one picture is attacked; its clean error is the clean statistic's median or worst
        names = (e["clean"]["median"], e["clean"]["worst"])
        gaps = [e["worst"]["mean"] - name for name in names]
        assert any(gap / e["level"] == pytest.approx(1.0, abs=0.12) for gap in gaps)  # |y| is nearly |x|


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(pictures, done):
    first, second = done[0], study(pictures)
    for part in ("curves", "stability", "shifts", "details", "flags", "boxes"):
        assert first[part] == second[part]
    assert study(pictures, seed=4)["curves"] != first["curves"]


def test_what_was_done_is_not_done_again(pictures, done, tmp_path, monkeypatch):
    whole, _ = done
    shutil.copytree(done[1], tmp_path / "r")
    calls = []
    honest = units.worst_unit

    def stop(*args):
        calls.append(args)
        raise KeyboardInterrupt

    (next(iter((tmp_path / "r" / "units").glob("worst_shrink*.json")))).unlink()
    monkeypatch.setattr(units, "worst_unit", stop)
    with pytest.raises(KeyboardInterrupt):
        study(pictures, tmp_path / "r", resume=True)
    monkeypatch.setattr(units, "worst_unit", lambda *args: calls.append(args) or honest(*args))
    again = study(pictures, tmp_path / "r", resume=True)
    assert len(calls) == 2 and again["curves"] == whole["curves"]  # the one that was missing, twice


def test_a_study_is_not_stitched_from_two_versions(pictures, done, tmp_path, monkeypatch):
    whole, _ = done
    shutil.copytree(done[1], tmp_path / "r")
    said, kept = [], len(list((tmp_path / "r" / "units").glob("*.json")))
    study(pictures, tmp_path / "r", resume=True, say=said.append)
    assert not any("anew" in text for text in said)
    monkeypatch.setattr(origin, "code_digest", lambda: "another")
    monkeypatch.setattr(units, "shift_unit", lambda *args: {"missing": "made anew"})
    again = study(pictures, tmp_path / "r", resume=True, say=said.append)
    assert [text for text in said if "anew" in text] == [
        f"of {kept} kept units {kept} from another version of proxlab, its weights or its libraries "
        "are made anew."
    ]
    assert again["curves"] == whole["curves"] and again["shifts"] != whole["shifts"]


def test_what_was_made_for_another_method_is_tried_on_each(done):
    record, folder = done
    rows = list(csv.DictReader((folder / "per_image.csv").read_text().splitlines()))
    tried = {(r["method"], r["condition"]): float(r["relative"]) for r in rows if r["part"] == "transfer"}
    names = ("shrink", "blind", "identity")
    assert set(tried) == {(a, f"0.06 from {b}") for a in names for b in names if a != b}
    for name in names:  # whoever found it, the worst is the worst
        worst = next(e["worst"]["worst"] for e in record["curves"][name] if e["level"] == 0.06)
        assert worst >= max(v for (method, _), v in tried.items() if method == name) - 1e-9


def lame(honest):
    """An attack that finds nothing."""

    def attack(bound, problem, threat, effort, start):
        found, flags = honest(bound, problem, threat, effort, start)
        half = found.perturbation * 0
        return type(found)(half, found.error * 0.5, found.trace, found.gradient, 1), flags

    return attack


def test_a_weaker_attack_than_chance_or_transfer_is_flagged(pictures, monkeypatch):
    monkeypatch.setattr(units, "attack", lame(units.attack))
    record = study(pictures)
    names = {f["name"] for f in record["flags"] if f["level"] == "error"}
    assert "beaten" in names and unreliable(record)


def test_a_blind_attack_is_flagged_or_replaced(done):
    record, _ = done
    ways = {m["name"]: m["gradient"] for m in record["methods"]}
    assert [(f["method"], f["level"]) for f in record["flags"] if f["name"] == "surrogate"] == [
        ("blind", "note")
    ]
    assert ways["blind"] == "a quadratic surrogate" and ways["identity"] == "automatic differentiation"


def test_the_command_prints_a_plan_and_a_verdict(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for n, picture in enumerate(pictures):
        write_picture(f"photos/{n}.png", np.uint8(255 * picture))
    (tmp_path / "half.py").write_text("def f(op, y):\n    return y / 2\n")
    from proxlab import study as module

    monkeypatch.setitem(module.PROTOCOLS, "quick", module.Protocol("quick", **TINY, restarts=1))
    command = ["robustness", "--method", "half:f", "--images", "photos", "--psf", "box:3", "--device", "cpu"]
    honest = units.worst_unit

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(units, "worst_unit", stop)
    assert main([*command, "--out", "other"]) == 130
    assert "the same command with --resume goes on" in capsys.readouterr().err
    monkeypatch.setattr(units, "worst_unit", honest)
    assert main([*command, "--quick", "--minutes", "5"]) == 0
    said = capsys.readouterr()
    assert "total     about" in said.err and "errs least" in said.out and "report.html" in said.out
    assert main(command) == 2
    assert "holds a report already" in capsys.readouterr().err
    assert main([*command, "--resume", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["curves"]["half:f"]
    command += ["--out", "third"]
    assert main([*command, "--sizes", "pixels=3"]) == 2 and "no size 'pixels'" in capsys.readouterr().err
    assert main([*command, "--sizes", "exact=nan"]) == 2
    assert "size exact is nan: give a relative tolerance" in capsys.readouterr().err
    zero = sanity.Flag("gradient_zero", "error", "gradients are masked.")
    monkeypatch.setattr(sanity, "check_gradient", lambda *args: zero)
    assert main([*command, "--sizes", "draws=1"]) == 5
    assert "is unreliable" in capsys.readouterr().out
    assert json.loads((tmp_path / "third/report.json").read_text())["protocol"]["draws"] == 1


def test_a_study_cut_to_the_clock_is_made_again_by_the_command_it_prints(pictures, tmp_path, monkeypatch):
    """Whatever the machine does meanwhile: speeds are not what the second one depends on."""
    from proxlab.trials import preparation
    from proxlab.trials.protocol import Speed, as_options, read_sizes

    many = [*pictures, *(p.T for p in pictures)]  # the last two are tuned on
    slow = Speed(dict.fromkeys(TINY["levels"], 9.0), 9.0, 9.0)
    monkeypatch.setattr(preparation, "speed_of", lambda *args: slow)
    cut = study(many, minutes=0.5)
    assert cut["cuts"] and cut["protocol"]["attack_levels"] == [0.06]
    words = as_options(protocol_of(cut)).split()
    sizes = read_sizes(words[words.index("--sizes") + 1])
    monkeypatch.setattr(preparation, "speed_of", lambda *args: Speed({0.02: 1e-9}, 1e-9, 1e-9))
    again = robustness({"shrink": shrink, "blind": blind}, many, PSF, sizes=sizes, device="cpu")
    assert not again["cuts"]
    for part in ("curves", "stability", "shifts", "details", "flags", "boxes", "weights", "tuned_on"):
        assert again[part] == cut[part], part


def protocol_of(record):
    from proxlab.trials.protocol import Protocol

    return Protocol(**record["protocol"])


def test_a_resumed_study_keeps_its_plan_on_a_slower_machine(pictures, tmp_path, monkeypatch):
    from proxlab.trials import preparation
    from proxlab.trials.protocol import Speed

    fast, slow = (Speed(dict.fromkeys(TINY["levels"], s), s, s) for s in (1e-9, 99.0))
    monkeypatch.setattr(preparation, "speed_of", lambda *args: fast)
    whole = study(pictures, tmp_path / "r", minutes=1)
    monkeypatch.setattr(preparation, "speed_of", lambda *args: slow)
    again = study(pictures, tmp_path / "r", minutes=1, resume=True)
    assert again["protocol"] == whole["protocol"] and again["curves"] == whole["curves"]
    assert not again["cuts"] and len(again["pictures"]) == 2
    assert study(pictures, minutes=1)["cuts"]  # what the slow machine would have planned by itself


def test_the_gain_of_a_linear_method_is_told_and_nothing_measured_exceeds_it(pictures):
    four = [*pictures, *(p.T for p in pictures)]
    record = robustness({"tikhonov": "tikhonov"}, four, PSF, sizes={**TINY, "exact": 0.01}, device="cpu")
    table = record["stability"]["tikhonov"]
    top = table["lipschitz_quadratic"]
    assert top["kind"] == "exact to 1 %" and "Lanczos" in top["definition"]
    for name in ("lipschitz_local", "lipschitz_random", "rms_gain"):
        assert table[name]["value"] <= 1.011 * top["value"], name
    assert table["lipschitz_local"]["value"] > 0.8 * top["value"]  # three steps of ascent, from below


def test_quick_never_looks_at_the_clock():
    from proxlab.trials.protocol import PROTOCOLS

    assert all(p.minutes is None for p in PROTOCOLS.values())


def test_mistakes_are_answered(pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="a file: the report is a folder"):
        robustness("identity", pictures, PSF, out=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    for minutes in (0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="give how long the study may take, above 0"):
            robustness("identity", pictures, PSF, minutes=minutes)
    with pytest.raises(UsageError, match="'identity', '': an empty name is none"):
        robustness("identity,", pictures, PSF)
    with pytest.raises(UsageError, match="wanted one of quick, standard, paper"):
        robustness("identity", pictures, PSF, protocol="fast")
    with pytest.raises(UsageError, match="unknown field"):
        robustness("identity", pictures, PSF, sizes={"picture": 3})
    with pytest.raises(UsageError, match="sizes has the name 'mine': leave it out"):
        robustness("identity", pictures, PSF, sizes={"name": "mine"})
    with pytest.raises(UsageError, match="size pictures is 0: give a whole number of at least 1"):
        robustness("identity", pictures, PSF, sizes={"pictures": 0})
    with pytest.raises(UsageError, match="a study knows 'unknown' and 'circular'"):
        robustness("identity", pictures, PSF, boundary="edge")


def test_an_error_flag_makes_the_verdict_and_the_exit_code_say_so(done):
    record = dict(done[0])
    flag = {"method": "shrink", "name": "beaten", "level": "error", "text": "beaten", "count": 1}
    record["flags"] = [flag]
    assert unreliable(record) == ["shrink"]
    assert "worst case of shrink is unreliable" in verdict_of(record)


def curves_of(worst, *, attacked):
    """One level; each method's worst error beside a random one of 0.1."""
    return {
        name: [
            {
                "level": 0.03,
                "random": {"mean": 0.1, "n": 3},
                "worst": {"mean": value, "n": attacked},
                "ratio": {"mean": value / 0.1},
            }
        ]
        for name, value in worst.items()
    }


def said(worst, *, attacked=2, bad=()):
    """The verdict on such a study, with the attacks on `bad` flagged."""
    flags = [{"method": name, "level": "error"} for name in bad]
    curves = curves_of(worst, attacked=attacked)
    return verdict_of({"protocol": {"levels": [0.03]}, "curves": curves, "flags": flags})


def test_a_failed_attack_shows_nobody_to_be_steady_but_what_it_found_counts():
    worst = {"tv": 0.4, "pnp": 0.2, "net": 1.2}
    for bad, least in (("net", "pnp"), ("pnp", "tv")):
        text = said(worst, bad=[bad])
        assert f"{least} errs least" in text and "net most (120.0 %)" in text and "12.00 (net)" in text
        assert f"{least} has the smallest worst error" in text
    text = said(worst, bad=worst)
    assert "net errs most (120.0 %)" in text and "trust it first" not in text


def test_the_verdict_advises_only_where_the_figures_do():
    assert "pnp has the smallest worst error at this level: trust it first" in said({"pnp": 0.2, "tv": 0.23})
    one = said({"pnp": 0.2, "tv": 0.4}, attacked=1)
    assert "One attacked picture is too few to choose a method by" in one and "trust it first" not in one
    near = said({"pnp": 0.2, "tv": 0.21, "red": 0.215, "wiener": 0.3})
    assert "pnp, tv and red have the smallest worst errors" in near and "trust it first" not in near
    idle = said({"identity": 0.15, "pnp": 0.2, "tv": 0.4})
    assert "than the data left as they are (15.0 %); pnp comes nearest" in idle
    assert "trust it first" not in idle
    assert "trust it first" not in said({"identity": 0.21, "pnp": 0.2, "tv": 0.4})
    assert "trust it first" in said({"identity": 0.25, "pnp": 0.2, "tv": 0.4})


class Document(HTMLParser):
    VOID = ("meta", "img", "input", "line", "polyline", "polygon", "br", "link")

    def __init__(self):
        super().__init__()
        self.stack, self.links, self.images, self.ids, self.problems = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[k] for k in ("href", "src") if k in given]
        if tag == "img" and not given.get("alt"):
            self.problems.append("img without alt")
        if tag == "svg" and not given.get("aria-label"):
            self.problems.append("svg without label")
        if tag == "input" and not given.get("aria-label"):
            self.problems.append("input without label")
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Nothing is open after it."""

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")


def check_page(text, record):
    page = Document()
    page.feed(text)
    assert not page.problems and not page.stack
    assert len(set(page.ids)) == len(page.ids)
    outside = [u for u in page.links if not u.startswith(("#", "data:image/png;base64,"))]
    assert outside == [] and "url(" not in text and "http" not in re.sub(r"base64,[^\"]*", "", text)
    assert all(u[1:] in page.ids for u in page.links if u.startswith("#"))
    assert "prefers-color-scheme:dark" in text and "@media print" in text
    assert text.count("<caption>") >= 5 and all(m["name"] in text for m in record["methods"])


def test_an_unclosed_page_would_be_seen():
    page = Document()
    page.feed("<p><b>x</p><img src='http://x'>")
    assert page.problems and page.links == ["http://x"]


def test_the_gallery_shows_the_worst_that_was_found_whoever_found_it():
    from proxlab.pages.page import _gallery
    from proxlab.report import gallery_of

    flat = lambda value: np.full((4, 4), value)  # noqa: E731
    names = ("truth", "data", "clean", "attacked", "perturbation")
    own = {name: flat(n / 10) for n, name in enumerate(names)}
    worst = [
        {"key": ["worst", m, "a.png"], "levels": {"0.03": {"relative": 1.0}}, "arrays": own} for m in "pq"
    ]
    other = {"attacked": flat(0.9), "perturbation": flat(0.8)}
    transfer = {
        "key": ["transfer", "q", "a.png"],
        "from": {"p": {"error": 2.0}, "r": {"error": 1.0}},
        "arrays": other,
    }
    first, second = gallery_of({"worst": worst, "transfer": [transfer]})
    assert first["made_for"] is None and first["arrays"]["attacked"][0, 0] == 0.3
    assert second["made_for"] == "p" and second["arrays"]["attacked"][0, 0] == 0.9
    assert second["arrays"]["clean"][0, 0] == 0.2
    html = _gallery({}, [first, second]).lower()
    assert html.count("by the perturbation made for p") == 1
    assert html.count("to be found") == html.count("its data without noise") == 2  # one alt, one caption


def test_a_chart_puts_its_points_where_they_belong():
    frame = Frame((0, 10), (0, 100), ("x", "y"), "a chart")
    chart = lines_chart([Line("a<b", 0, [(0, 0, 0, 0), (10, 100, 90, 110)])], frame)
    points = re.search(r'<polyline class="line c0"[^>]*points="([^"]*)"', chart).group(1).split()
    assert points == [f"{frame.px(0):.1f},{frame.py(0):.1f}", f"{frame.px(10):.1f},{frame.py(100):.1f}"]
    assert frame.px(5) == pytest.approx((frame.px(0) + frame.px(10)) / 2) and "a&lt;b" in chart
    assert frame.py(1000) == frame.py(100)  # bands end at the frame
    assert ticks(0.0, 0.07) == pytest.approx([0, 0.02, 0.04, 0.06])


def test_a_logarithmic_chart_gives_equal_ratios_equal_room():
    frame = Frame((0, 1), (5.0, 2000.0), ("x", "y"), "a chart", log=True)
    assert frame.py(10) - frame.py(20) == pytest.approx(frame.py(500) - frame.py(1000))
    assert frame.rows() == [5, 10, 20, 50, 100, 200, 500, 1000, 2000] and frame.py(1) == frame.py(5)
    assert Frame((0, 1), (0.01, 9000.0), ("x", "y"), "", log=True).rows() == [0.01, 0.1, 1, 10, 100, 1000]


def test_the_bound_is_drawn_where_it_is():
    frame = Frame((0, 4), (-1, 2), ("eta", "C"), "trade-off")
    chart = tradeoff_chart((6.0, 2.0), {"m": (3.0, 0.5)}, frame)
    ends = re.search(r'<polyline class="bound" points="([^"]*)"', chart).group(1).split()
    # (6 - 2 eta) / 2 is 3 at 0: cut at C = 2, eta = 1; and -1 at eta = 4
    assert ends == [f"{frame.px(1):.1f},{frame.py(2):.1f}", f"{frame.px(4):.1f},{frame.py(-1):.1f}"]


def test_names_stay_inside_the_chart_and_apart():
    names = [f"a network with a name {n}" for n in range(9)]
    frame = Frame((0, 1), (0, 1), ("x", "y"), "crowded", names=names)
    chart = lines_chart([Line(n, 0, [(0, 0, 0, 0), (1, 0.01, 0, 0)]) for n in names], frame)
    places = sorted(float(y) for y in re.findall(r'class="name t0" x="[\d.]+" y="([\d.]+)"', chart))
    assert len(places) == 9 and places[-1] <= 300 and min(np.diff(places)) > 12.9
    assert frame.right + 8 + KEY + 7 * 24 < 460 < Frame((0, 1), (0, 1), ("x", "y"), "").right + 20 + KEY


def test_a_flag_of_many_methods_is_one_item():
    from proxlab.pages.tables import flag_list

    flags = [{"method": m, "name": "surrogate", "level": "note", "text": "same", "count": 3} for m in "abc"]
    page = flag_list({"flags": [*flags, {**flags[0], "text": "other", "count": 1}]})
    assert page.count("<li") == 2 and "a, b, c: same (9 times)" in page and "a: other</li>" in page


def test_a_difference_to_total_variation_shows_its_interval():
    from proxlab.pages.tables import _difference

    entry = {"mean": -0.021, "low": -0.03, "high": 0.004, "n": 8}
    assert _difference(entry) == '-2.1 <span class="soft">[-3.0, +0.4]</span>'
    assert _difference({**entry, "n": 1}) == "-2.1" and _difference(None) == "&ndash;"


def test_what_was_left_out_is_not_a_table_of_dashes():
    from proxlab.pages.tables import shift_table

    row = {"name": "JPEG", "methods": {"tv": {"relative": 0.1}}}
    record = {"methods": [{"name": "tv"}], "shifts": [row], "protocol": {"shifted": 1}}
    assert "<table>" in shift_table(record) and "10.0" in shift_table(record)
    assert "left out of this study" in shift_table({**record, "protocol": {"shifted": 0}})
