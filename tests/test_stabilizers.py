"""What benchmarks/stabilizers.py says of its records."""

import importlib
import sys
from pathlib import Path

import pytest

CONDITIONS = ("0", "0.01", "0.025", "0.05", "0.075")


@pytest.fixture
def parts(monkeypatch):
    """(stabilizer_findings, stabilizer_tables), forgotten afterwards."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    names = ("stabilizer_findings", "stabilizer_tables")
    yield tuple(importlib.import_module(name) for name in names)
    for name in names:
        sys.modules.pop(name, None)


def record(psnr, *, gain=1.0, error=5.0):
    """One picture: PSNR by condition, the errors rising by 1 under noise."""
    values = {c: [v, 0.9, error + n] for n, (c, v) in enumerate(zip(CONDITIONS, psnr, strict=True))}
    return {**values, "gain": gain, "noise": 2.0}


def row(findings, name, psnrs, **facts):
    records = [record(psnr, gain=facts.pop("gain", 1.0)) for psnr in psnrs]
    usual = {"inject": "before", "lipschitz": None, "weights": 100, "multiply_adds": 90.0, "gigapixels": 0.1}
    more = {"minutes": 1.0, "milliseconds": 10.0, "width": 4, "arch": "ssnet", "noise": [0, 0]}
    return {
        "name": name,
        **usual,
        **more,
        **facts,
        **findings.summary(records, CONDITIONS),
        "records": records,
    }


def flat(value, count=2):
    """The same PSNR under all conditions, the second picture 2 dB above the first."""
    return [[value + 2 * n] * len(CONDITIONS) for n in range(count)]


def test_the_authors_form_has_a_line_a_test_and_a_column_a_method(parts):
    findings, tables = parts
    rows = [
        row(findings, "blurred", flat(24), kind="input"),
        row(findings, "a", flat(28), kind="network", method="NN"),
        row(findings, "b", flat(27), kind="network", method="StNN"),
        row(findings, "c", flat(26), kind="network", method="NN", noise=[0.025, 0.025]),
        row(findings, "tv", flat(26, count=1), kind="method"),
    ]
    head, body = tables.paper_form(rows, CONDITIONS)
    assert head == ["PSNR in dB, 2 pictures", "trained at", "network", "NN", "FiNN", "StNN", "blurred"]
    assert body[0] == ["0", "0", "ssnet 4", "29.00 ± 1.00", "", "28.00 ± 1.00", "25.00 ± 1.00"]
    assert body[1][:4] == ["0", "0.025", "ssnet 4", "27.00 ± 1.00"] and len(body) == 2 * len(CONDITIONS)
    same = tables.alike(rows, CONDITIONS)
    assert {r["pictures"] for r in same} == {1} and same[0]["psnr"]["0"] == 24
    assert tables.paper_form(same, CONDITIONS)[0][-2:] == ["blurred", "tv"]


@pytest.mark.parametrize(("rises", "found"), [((0.5, 1.2), "yes"), ((0.5, 0.9), "NO")])
def test_the_smallest_bound_that_gains_a_decibel_is_named(parts, rises, found):
    findings, tables = parts
    rows = [row(findings, "blurred", flat(24), kind="input")]
    rows += [
        row(findings, "plain", flat(25), kind="filter", weight=1 / 64),  # at most 4 times
        row(findings, "smooth", flat(23), kind="filter", weight=1 / 16),  # at most twice
        row(findings, "free", flat(30), kind="network", method="NN"),
    ]
    for bound, rise in zip((2.0, 4.0), rises, strict=True):
        rows.append(
            row(findings, f"L={bound:g}", flat(24 + rise), kind="network", method="NN", lipschitz=bound)
        )
    line = next(text for text in findings.answers(rows) if "proven Lipschitz" in text)
    assert line.startswith(f"- {found}") and ("the smallest with L = 4" in line) == (found == "yes")
    assert tables.price_of_the_proof(rows)[1][0][3] == f"{6 - rises[0]:.2f}"  # below the one without a bound
    beside = [line[4] for line in tables.price_of_the_proof(rows)[1]]
    assert beside == [f"{1 + rises[0]:+.2f}", f"{rises[1] - 1:+.2f}"]
    rows[1]["weight"] = 1 / 65
    assert tables.price_of_the_proof(rows[:2] + rows[3:])[1][0][4] == ""  # no such filter was measured


@pytest.mark.parametrize(("multiply_adds", "found"), [(56_755.0, "yes"), (56_756.0, "NO")])
def test_small_in_both_senses_is_a_tenth_of_the_papers_in_both(parts, multiply_adds, found):
    findings, _ = parts
    few = {"weights": 56_870, "multiply_adds": multiply_adds}
    one = row(findings, "a", flat(28), kind="network", method="NN", **few)
    many = row(findings, "b", flat(28), kind="network", method="NN", arch="unet", weights=56_871)
    lines = findings.answers([row(findings, "blurred", flat(24), kind="input"), one, many])
    (line,) = [text for text in lines if "small in both senses" in text]
    assert (
        line.startswith(f"- {found}")
        and (": ssnet" in line) == (found == "yes")
        and "unet" not in line.split("(")[0]
    )
