"""Importing the package costs nothing: numpy and the codecs come with the first picture."""

import subprocess
import sys

import pytest

import imaging.files


def test_import_loads_no_library():
    heavy = "{'numpy', 'PIL', 'tifffile', 'imagecodecs'}"
    code = f"import sys, imaging.files; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_twice():
    for name in imaging.files.__all__:
        first = getattr(imaging.files, name)
        assert callable(first) and getattr(imaging.files, name) is first, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = imaging.files.nothing
