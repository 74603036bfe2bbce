"""What imaging refuses, as errors of this package: whoever catches either, catches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imaging.files.errors import PictureError, PictureNotFoundError
from imaging.psf.errors import PsfError, PsfNotFound
from proxlab.errors import InputError


class BadPictureError(InputError, PictureError):
    """An array that is no picture."""


class MissingPictureError(BadPictureError, PictureNotFoundError):
    """A picture that is not there."""


class BadPsfError(InputError, PsfError):
    """A psf that cannot be used."""


class UnseenPsfError(BadPsfError, PsfNotFound):
    """A picture that does not show its psf clearly enough."""


@contextmanager
def as_input() -> Iterator[None]:
    """Raise what imaging says of a psf or a picture as InputError, with the same sentence.

    >>> with as_input():
    ...     raise PsfError("psf sums to zero")
    Traceback (most recent call last):
    proxlab.refusals.BadPsfError: psf sums to zero
    """
    try:
        yield
    except InputError:
        raise
    except PsfNotFound as cause:
        raise UnseenPsfError(str(cause)) from cause
    except PsfError as cause:
        raise BadPsfError(str(cause)) from cause
    except PictureNotFoundError as cause:
        raise MissingPictureError(str(cause)) from cause
    except PictureError as cause:
        raise BadPictureError(str(cause)) from cause
