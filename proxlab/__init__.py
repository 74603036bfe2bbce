"""The front door: arrays and files in, arrays and files out. Names resolve on first use."""

import os
from importlib import import_module

# Large arrays in pages of 2 MB, since those of 4 KB are asked for one by one wherever a large array is new.
# torch asks for this at its first tensor, on Linux alone; who has set it has decided.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOME = {
    "deblur": "front",
    "denoise": "front",
    "estimate_noise": "front",
    "trust": "trust_maps",
    "robustness": "study",
    "load_reconstructor": "reconstructors",
    "ProxlabError": "errors",
    "UsageError": "errors",
    "InputError": "errors",
    "MemoryLimitError": "errors",
    "ConvergenceError": "errors",
    "ProxlabWarning": "errors",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("proxlab")
    if name not in _HOME:
        message = f"module 'proxlab' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"proxlab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
