import sys

import pytest

from priors import logbook
from priors.logbook import Logbook


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setattr(logbook, "find_spec", lambda name: None)
    return Logbook(tmp_path / "log.csv", tmp_path / "log.events")


def test_rows(book):
    book.begin()
    book.write(10, {"loss": 0.5, "psnr_25": 28.0})
    book.write(20, {"loss": 0.25, "psnr_25": 29.0})
    assert book.file.read_text() == "step,loss,psnr_25\n10,0.5,28.0\n20,0.25,29.0\n"
    assert not book.events.exists()


def test_going_back_drops_later_rows(book):
    for step in (10, 20, 30):
        book.write(step, {"loss": 1 / step})
    book.begin(after=20)
    book.write(30, {"loss": 7})
    assert book.file.read_text().splitlines() == ["step,loss", "10,0.1", "20,0.05", "30,7"]
    book.begin()
    assert not book.file.exists()


def test_tensorboard_where_it_is_installed(book, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            written.append((folder, purge_step))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

    monkeypatch.setattr(logbook, "find_spec", lambda name: object())
    fake = type(sys)("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    book.write(5, {"loss": 0.5})
    assert written == [(str(book.events), 5), ("loss", 0.5, 5)]
