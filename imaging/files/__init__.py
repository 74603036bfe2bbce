"""Pictures in files: the only place that sees integers and file formats. Names resolve on first use."""

from importlib import import_module

_HOME = {
    "Metadata": "metadata",
    "OutputExistsError": "errors",
    "Picture": "picture",
    "PictureError": "errors",
    "PictureNotFoundError": "errors",
    "Resolution": "metadata",
    "Scale": "scaling",
    "atomic_write": "atomic",
    "expand_inputs": "inputs",
    "format_of": "formats",
    "from_float": "scaling",
    "join_alpha": "scaling",
    "linear_to_srgb": "light",
    "read_picture": "picture",
    "split_alpha": "scaling",
    "srgb_to_linear": "light",
    "to_float": "scaling",
    "write_picture": "picture",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        message = f"module 'imaging.files' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"imaging.files.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
