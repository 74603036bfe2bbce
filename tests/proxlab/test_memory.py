"""Limits are read, and kept."""

import numpy as np
import pytest
import torch

import proxlab
from imaging.heap import _glibc, kept_heap
from proxlab.errors import MemoryLimitError, UsageError
from proxlab.memory import check_limit, parse_bytes, peak, resident

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2G", 2 * 10**9), ("2g", 2 * 10**9), ("500MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), (1e9, 10**9), (7, 7)],
)
def test_limits(text, amount):
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "two", "-1G", "0", "2X", "G"])
def test_what_is_no_amount(text):
    with pytest.raises(UsageError, match="max_memory is"):
        parse_bytes(text)


def test_the_limit_is_kept():
    check_limit(10**9, "1G", CPU)
    with pytest.raises(MemoryLimitError, match=r"needs about 3 GB but max_memory is 2 GB: .*--roi") as caught:
        check_limit(3 * 10**9, "2G", CPU)
    assert caught.value.exit_code == 4 and isinstance(caught.value, MemoryError)


def test_where_libraries_alone_fill_the_limit_that_is_said():
    with pytest.raises(MemoryLimitError, match=r"are held before it starts, .* so allow more\.$"):
        check_limit(resident() + 1000, "1M", CPU)


def test_without_a_limit_the_machine_is_the_limit(monkeypatch):
    monkeypatch.setattr("proxlab.memory.machine_memory", lambda: 24e9)
    check_limit(23 * 10**9, None, CPU)
    check_limit(72 * 10**9, "100G", CPU)  # told to try
    with pytest.raises(MemoryLimitError, match=r"about 72 GB, more than the 24 GB of this machine: .*--roi"):
        check_limit(72 * 10**9, None, CPU)


def test_a_run_beyond_the_machine_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr("proxlab.memory.machine_memory", lambda: 1e8)
    with pytest.raises(MemoryLimitError, match="of this machine"):
        proxlab.deblur(np.ones((64, 64)), "disk:1", method="tikhonov")
    with pytest.raises(MemoryLimitError, match="of this machine"):
        proxlab.denoise(np.ones((64, 64)))


def test_memory_is_measured():
    before = resident()
    block = bytearray(b"x") * 64_000_000
    assert resident() > before + 50_000_000
    assert peak() >= resident() - 10_000_000
    assert len(block) == 64_000_000


@pytest.mark.skipif(_glibc() is None, reason="the allocator is not glibc's, or was set elsewhere")
def test_what_one_run_freed_is_there_for_the_next():
    before = resident()
    with kept_heap():
        block = np.ones(300 << 17)  # 300 MB
        assert resident() > before + (250 << 20)
        del block
        assert resident() < before + (50 << 20)
