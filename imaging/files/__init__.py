"""Pictures in files: the only place that sees integers and file formats. Names resolve on first use."""

from imaging.lazy import lazy_names

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
__getattr__, __dir__ = lazy_names(__name__, _HOME)
