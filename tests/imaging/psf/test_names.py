"""The package hands out every public name, lazily."""

import subprocess
import sys

import pytest

import imaging.psf


@pytest.mark.parametrize("name", imaging.psf.__all__)
def test_every_public_name_resolves_twice_to_an_object(name):
    first, second = getattr(imaging.psf, name), getattr(imaging.psf, name)
    assert first is second and callable(first)
    assert name in dir(imaging.psf)


def test_importing_the_package_imports_no_numpy():
    code = "import sys, imaging.psf; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"module 'imaging.psf' has no attribute 'gausian'"):
        _ = imaging.psf.gausian
