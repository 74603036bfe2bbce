"""What can be wrong with a picture or a file. One sentence each: what came, what was wanted, what to do."""


class PictureError(ValueError):
    """A picture, or the file it should come from or go to, cannot be used."""


class PictureNotFoundError(PictureError, FileNotFoundError):
    """The file, the folder or the files of a pattern are not there."""


class OutputExistsError(PictureError, FileExistsError):
    """The output is there already and overwriting was not asked for."""
