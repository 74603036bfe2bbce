"""Point spread functions: generators, texts, files, the doctor, estimates. Names resolve on first use."""

from imaging.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOME)
