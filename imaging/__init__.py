"""The physics: operators, psfs, noise, pictures in files; names resolve on first use."""

from imaging.lazy import lazy_names

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
    "LeastAbsolute": "fidelity",
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
__getattr__, __dir__ = lazy_names(__name__, _HOME)
