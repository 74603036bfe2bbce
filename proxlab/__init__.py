"""The front door: arrays and files in, arrays and files out. Names resolve on first use."""

from importlib import import_module

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
