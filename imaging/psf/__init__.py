"""Point spread functions: generators, texts, files, the doctor, estimates. Names resolve on first use."""

from importlib import import_module

_HOME = {
    "PsfError": "errors",
    "PsfNotFound": "errors",
    "gaussian": "generators",
    "disk": "generators",
    "motion": "generators",
    "box": "generators",
    "shake": "generators",
    "zernike": "optics",
    "parse_psf": "text",
    "Auto": "text",
    "read_psf": "files",
    "write_psf": "files",
    "diagnose": "doctor",
    "Diagnosis": "doctor",
    "Finding": "doctor",
    "estimate_psf": "estimate",
    "PsfEstimate": "estimate",
    "psf_from_point": "measured",
    "psf_from_edge": "measured",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module 'imaging.psf' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"imaging.psf.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
