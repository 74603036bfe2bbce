"""What can go wrong with a psf."""


class PsfError(ValueError):
    """A psf, a psf text or a psf file that cannot be used; the message says what came, what was wanted, what
    to do.
    """


class PsfNotFound(PsfError):  # noqa: N818 - reads as a sentence where it is caught
    """The picture does not show its psf clearly enough: an estimate would be a guess."""
