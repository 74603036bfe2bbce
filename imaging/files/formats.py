"""Which file formats there are, how to recognise them, and what each can hold."""

import os
from pathlib import Path
from typing import NamedTuple

from imaging.files.errors import PictureError

EXTENSIONS = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jpe": "jpeg",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".webp": "webp",
    ".npy": "npy",
}
NAMES = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "bmp": "BMP", "webp": "WebP", "npy": "npy"}
_ANY = ("bool", "uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")


class Holds(NamedTuple):
    """What a format stores without loss of depth: dtypes (bool goes in as 0 and 255), channels, pages."""

    dtypes: tuple[str, ...]
    channels: tuple[int, ...]
    pages: bool


HOLDS = {
    "png": Holds(("uint8", "uint16"), (1, 2, 3, 4), False),
    "jpeg": Holds(("uint8",), (1, 3), False),
    "tiff": Holds(_ANY[1:], (1, 2, 3, 4), True),
    "bmp": Holds(("uint8",), (1, 3, 4), False),
    "webp": Holds(("uint8",), (1, 2, 3, 4), False),
    "npy": Holds(_ANY, (1, 2, 3, 4), True),
}


def format_of(path: str | os.PathLike[str]) -> str:
    """Return what the extension of `path` stands for: "png", "jpeg", "tiff", "bmp", "webp" or "npy".

    Raises:
        PictureError: the extension is missing or unknown.

    >>> format_of("photo.JPG")
    'jpeg'
    """
    suffix = Path(path).suffix.lower()
    if suffix in EXTENSIONS:
        return EXTENSIONS[suffix]
    known = ", ".join(sorted(EXTENSIONS))
    got = f"the unknown extension {suffix}" if suffix else "no extension"
    message = f"{path} has {got}, so its format is not known: use one of {known}."
    raise PictureError(message)


def sniff(head: bytes) -> str | None:
    """Return the format that the first bytes of a file show, or None; a name says less."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    signatures = {
        b"\x89PNG\r\n\x1a\n": "png",
        b"\xff\xd8\xff": "jpeg",
        b"II*\0": "tiff",
        b"MM\0*": "tiff",
        b"II+\0": "tiff",
        b"MM\0+": "tiff",
        b"BM": "bmp",
        b"\x93NUMPY": "npy",
    }
    return next((name for signature, name in signatures.items() if head.startswith(signature)), None)


def check_holds(path: str | os.PathLike[str], format: str, dtype: str, channels: int, pages: bool) -> None:
    """Raise PictureError, naming the formats that can, unless `format` stores such a picture without loss.

    `channels` counts alpha; `pages` says whether there are several.
    """
    holds = HOLDS[format]
    stored = "uint8" if dtype == "bool" and format != "npy" else dtype
    what = None
    if stored not in holds.dtypes:
        what = f"{dtype} pixels"
    elif channels not in holds.channels:
        what = f"{channels} channels" if channels not in (2, 4) else "an alpha channel"
    elif pages and not holds.pages:
        what = "several pages"
    if what is None:
        return
    able = [
        extension
        for extension, name in ((".png", "png"), (".tif", "tiff"), (".npy", "npy"))
        if (stored in HOLDS[name].dtypes or dtype in HOLDS[name].dtypes)
        and channels in HOLDS[name].channels
        and (HOLDS[name].pages or not pages)
    ]
    depths = "" if "pixels" not in what else f" (it holds {' or '.join(holds.dtypes)})"
    advice = (
        f"write {' or '.join(able)}, or convert the picture first" if able else "convert the picture first"
    )
    message = f"{path}: {NAMES[format]} cannot hold {what}{depths}: {advice}."
    raise PictureError(message)
