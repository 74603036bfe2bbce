"""Small end-to-end networks, picture in, picture out: m(x) with x (B, C, H, W); names resolve on use."""

from imaging.lazy import lazy_names

_HOME = {
    "SSNet": "ssnet",
    "SSNetConfig": "ssnet",
    "UNet": "unet",
    "UNetConfig": "unet",
    "NAFNet": "nafnet",
    "NAFNetConfig": "nafnet",
    "Bounded": "bounded",
    "BoundedConfig": "bounded",
    "multiply_adds": "layers",
}
__all__ = sorted(_HOME)
__getattr__, __dir__ = lazy_names(__name__, _HOME)
