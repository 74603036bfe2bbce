"""Bars are for terminals and for work that lasts."""

import numpy as np
import pytest

from proxlab.methods.base import Progress
from proxlab.progress import Bar, Update, reporter


def update(n):
    return Update(n, 9, None, None, lambda: np.zeros((2, 2)))


def test_nothing_is_drawn_away_from_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("proxlab.progress.PATIENCE", 0.0)
    with Bar("a.png", shown=True) as bar:
        for n in range(1, 10):
            bar(update(n))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("patience", "drawn"), [(0.0, True), (60.0, False)])
def test_on_a_terminal_it_waits(capsys, monkeypatch, patience, drawn):
    import sys

    monkeypatch.setattr("proxlab.progress.PATIENCE", patience)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Bar("a.png", shown=True) as bar:
        for n in range(1, 10):
            bar(update(n))
    assert ("a.png" in capsys.readouterr().err) is drawn


def test_quiet_draws_nothing(capsys, monkeypatch):
    import sys

    monkeypatch.setattr("proxlab.progress.PATIENCE", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Bar("a.png", shown=False) as bar:
        bar(update(1))
    assert capsys.readouterr().err == ""


def test_the_picture_is_made_only_when_asked_for():
    made = []

    def render(x):
        made.append(x)
        return np.zeros((1, 1))

    seen = []
    report = reporter(seen.append, render)
    report(Progress(1, None, "x"))
    assert made == [] and seen[0].total is None
    assert seen[0].image.shape == (1, 1) and made == ["x"]
    reporter(None, render)(Progress(2, None, "y"))
    assert made == ["x"]
