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


def test_tensorboard_reads_a_training_that_went_back(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    book = Logbook(tmp_path / "log.csv", tmp_path / "log.events")
    for step, value in ((2, 1.0), (4, 2.0), (6, 3.0), (4, 5.0)):  # killed after 6, resumed from 2
        book.write(step, {"psnr_25": value})
    found = reading.EventAccumulator(str(book.events))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("psnr_25")] == [(2, 1.0), (4, 5.0)]
