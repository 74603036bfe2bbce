"""Many pictures: one summary, what was done is passed over, reading and writing beside the work."""

import json
import threading
import time
from pathlib import Path

import pytest

from imaging.files.picture import write_picture
from proxlab.__main__ import main
from proxlab.cli.many import Summary
from proxlab.cli.stages import Stages, flow

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


def test_a_run_in_which_nothing_was_done_leaves_the_summary_of_the_one_before(three):
    assert main(["deblur", ".", *ARGS]) == 0
    before = summary()
    assert main(["deblur", ".", *ARGS]) == 2  # all of it exists
    assert summary() == before


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


def test_one_is_read_and_one_written_while_one_is_worked_on():
    reading, working, writing = ([threading.Event() for _ in range(3)] for _ in range(3))

    def read(n):
        reading[n].set()
        return n

    def work(n, read):
        working[n].set()
        if n == 1:
            assert reading[2].wait(5) and writing[0].wait(5)  # both while this goes on
        return lambda: 10 * read()

    def write(n, result):
        writing[n].set()
        if n == 0:
            assert working[1].wait(5)
        return result()

    assert list(flow(Stages(read, work, write), range(3), together=1)) == [0, 10, 20]


def test_nothing_overlaps_where_memory_is_short():
    open_now, most = [], []

    def work(n, read):
        open_now.append(n)
        most.append(len(open_now))
        return read

    def write(n, result):
        time.sleep(0.01)
        open_now.remove(n)
        return result()

    assert list(flow(Stages(lambda n: n, work, write), range(4), together=0)) == [0, 1, 2, 3]
    assert max(most) == 1


def test_what_fails_before_is_raised_where_it_is_written():
    def fail(n, read):
        if n == 1:
            message = "not this one"
            raise ValueError(message)
        return read

    def write(n, result):
        try:
            return result()
        except (OSError, ValueError) as error:
            return str(error)

    def read(n):
        if n == 2:
            message = "cannot be read"
            raise OSError(message)
        return n

    def work(n, read):
        return fail(n, lambda: read()) if n != 2 else (lambda value=None: read())

    assert list(flow(Stages(read, work, write), range(4), together=1)) == [
        0,
        "not this one",
        "cannot be read",
        3,
    ]


def test_an_interruption_abandons_what_was_begun_elsewhere():
    class Pending:
        def __init__(self):
            self.over = threading.Event()

        def __call__(self):
            assert self.over.wait(5)

        cancel = property(lambda self: self.over.set)

    begun = []

    def work(n, read):
        if n == 2:
            raise KeyboardInterrupt
        begun.append(Pending())
        return begun[-1]

    with pytest.raises(KeyboardInterrupt):
        list(flow(Stages(lambda n: n, work, lambda n, result: result()), range(5), together=9))
    assert len(begun) == 2 and all(one.over.is_set() for one in begun)


def test_a_summary_without_a_folder_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Summary(None).write()
    assert list(tmp_path.iterdir()) == []
