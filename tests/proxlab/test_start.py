"""Starting costs nothing: no heavy package before it is needed, every public name twice."""

import subprocess
import sys

import proxlab

HEAVY = "numpy", "torch", "deepinv", "scipy", "matplotlib", "skimage", "tqdm", "imaging"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1]


def test_neither_the_import_nor_the_help_loads_anything_heavy():
    look = f"import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(f"import proxlab; {look}") == "[]"
    helps = (
        "main(['--help']); main(['deblur', '--help']); main(['deblur', 'a.png', '--sgma', '1', '-p', 'x'])"
    )
    assert run(f"from proxlab.__main__ import main; {helps}; {look}") == "[]"
    assert run(f"import proxlab.job; {look}") != "[]"  # the check can fail


def test_large_pages_are_asked_for_unless_somebody_has_decided():
    look = "import os, proxlab; print(os.environ['THP_MEM_ALLOC_ENABLE'])"
    assert run(f"import os; os.environ.pop('THP_MEM_ALLOC_ENABLE', None); {look}") == "1"
    assert run(f"import os; os.environ['THP_MEM_ALLOC_ENABLE'] = '0'; {look}") == "0"


def test_every_public_name_resolves_twice_to_the_same_object():
    for name in proxlab.__all__:
        first = getattr(proxlab, name)
        assert first is getattr(proxlab, name) and callable(first)
    assert set(proxlab.__all__) <= set(dir(proxlab))


def test_an_unknown_name_is_an_attribute_error():
    import pytest

    with pytest.raises(AttributeError, match="module 'proxlab' has no attribute 'sharpen'"):
        proxlab.sharpen  # noqa: B018
