"""Freed memory is kept inside, and goes back outside."""

import os
import subprocess
import sys

import pytest

from imaging import heap
from imaging.heap import kept_heap, settle

PROBE = """
import ctypes, os
from imaging.heap import kept_heap, settle
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def touched(megabytes):
    at = libc.malloc(megabytes << 20)
    libc.memset(at, 1, megabytes << 20)
    return at

start = held()
with kept_heap():
    with kept_heap():
        one, two = touched(200), touched(200)
        libc.free(one), libc.free(two)
    inside = held() - start
    three = touched(200)
    settle()
    settled = held() - start
    libc.free(touched(300)), libc.free(three)
print(inside, settled, held() - start)
"""
glibc = pytest.mark.skipif(heap._glibc() is None, reason="the allocator is not glibc's, or was set elsewhere")


def probe(**more):
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env={**os.environ, **more}
    )
    return [int(number) for number in done.stdout.split()]


@glibc
def test_what_is_freed_is_kept_inside_and_given_back_at_the_end():
    inside, settled, after = probe()
    assert inside >= 400 and 200 <= settled < 230 and after < 20


@glibc
def test_who_has_set_the_allocator_has_decided():
    inside, _, after = probe(MALLOC_TOP_PAD_="131072")
    assert inside < 20 and after < 20


def test_little_may_stay_and_nothing_is_given_back_outside(monkeypatch):
    given = []
    monkeypatch.setattr(heap, "_give_back", lambda spare=heap.SPARE: given.append(spare))
    monkeypatch.setattr(heap, "_set", lambda options: given.append(options))
    settle()
    assert not given
    with kept_heap(), kept_heap():
        settle()
    assert given == [{-4: 0, -1: heap.NEVER}, heap.SPARE, heap.USUAL, heap.SPARE]


def test_the_settings_go_back_after_an_error(monkeypatch):
    seen = []
    monkeypatch.setattr(heap, "_set", seen.append)
    with pytest.raises(ValueError, match="inside"), kept_heap():
        message = "inside"
        raise ValueError(message)
    assert seen[-1] == heap.USUAL
