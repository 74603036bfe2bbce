"""The physics: operators, psfs, noise, pictures in files; names resolve on first use."""

from importlib import import_module

_HOME = {
    "LinearOperator": "operator",
    "CircularBlur": "blur",
    "WindowedBlur": "blur",
    "PaddedBlur": "blur",
    "VaryingBlur": "varying",
    "Downsample": "sampling",
    "Masked": "masks",
    "Inpainting": "masks",
    "Identity": "masks",
    "LeastSquares": "fidelity",
    "PoissonKL": "fidelity",
    "Huber": "fidelity",
    "estimate_sigma": "noise_level",
    "psnr": "metrics",
    "ssim": "metrics",
    "operator_checks": "testing",
    "function_checks": "testing",
    "parse_psf": "psf.text",
    "read_psf": "psf.files",
    "read_picture": "files.picture",
    "write_picture": "files.picture",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module 'imaging' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"imaging.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
