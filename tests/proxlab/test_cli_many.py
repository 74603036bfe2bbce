"""Many pictures: one summary, what was done is passed over, the next is read ahead."""

import json
import threading
from pathlib import Path

import pytest

from imaging.files.picture import write_picture
from proxlab.__main__ import main
from proxlab.cli.many import Summary, ahead

ARGS = ["-p", "gaussian:1", "--method", "identity", "--sigma", "0.01", "-o", "out/"]


@pytest.fixture
def three(folder, grey):
    write_picture("b.png", grey[::-1])
    write_picture("c.png", grey[:, ::-1])
    return folder


def summary():
    return json.loads(Path("out/summary.json").read_text())


def test_a_folder_leaves_one_summary_the_bad_ones_in_it(three):
    Path("b.png").write_bytes(b"nothing")
    assert main(["deblur", ".", *ARGS]) == 6
    found = summary()
    assert (found["pictures"], found["failed"]) == (3, 1)
    assert [(Path(row["source"]).name, row["exit"]) for row in found["each"]] == [
        ("a.png", 0),
        ("b.png", 3),
        ("c.png", 0),
    ]
    assert "b.png" in found["each"][1]["end"] and found["each"][2]["method"] == "identity"


def test_resume_does_what_is_left_and_what_has_changed(three, grey, capsys):
    assert main(["deblur", "a.png", "b.png", *ARGS]) == 0
    before = Path("out/a_deblurred.png").stat().st_mtime_ns
    Path("out/b_deblurred.json").unlink()  # killed between the two files
    assert main(["deblur", ".", *ARGS, "--resume"]) == 6  # b's result is there without a receipt
    assert [row["end"] for row in summary()["each"]][::2] == ["done before", "done"]
    assert "exists already" in summary()["each"][1]["end"]
    assert main(["deblur", ".", *ARGS, "--resume", "--overwrite"]) == 0
    assert [row["end"] for row in summary()["each"]] == ["done before", "done", "done before"]
    assert Path("out/a_deblurred.png").stat().st_mtime_ns == before
    write_picture("a.png", grey + 1, overwrite=True)
    other = [text if text != "0.01" else "0.02" for text in ARGS]
    assert main(["deblur", ".", *ARGS, "--resume", "--overwrite"]) == 0
    assert [row["end"] for row in summary()["each"]] == ["done", "done before", "done before"]
    assert main(["deblur", ".", *other, "--resume", "--overwrite"]) == 0
    assert [row["end"] for row in summary()["each"]] == ["done"] * 3


def test_the_next_picture_is_read_while_one_is_worked_on():
    begun = [threading.Event() for _ in range(3)]

    def read(number):
        begun[number].set()
        return number * 10

    for number, promise in ahead(read, range(3)):
        assert promise.result() == number * 10
        if number < 2:
            assert begun[number + 1].wait(5)


def test_a_summary_without_a_folder_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Summary(None).write()
    assert list(tmp_path.iterdir()) == []
