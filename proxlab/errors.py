"""What can go wrong, as exceptions that carry the exit code of the command line."""

from collections.abc import Iterable, Sequence


class ProxlabError(Exception):
    """Anything this package refuses to do; `exit_code` is what the command returns for it."""

    exit_code = 1


class UsageError(ProxlabError, ValueError):
    """An argument that cannot be meant: unknown name, impossible value, unsupported combination."""

    exit_code = 2


class InputError(ProxlabError, ValueError):
    """A picture, psf, mask or receipt that cannot be used."""

    exit_code = 3


class PixelTypeError(InputError, TypeError):
    """Pixels of a type without a meaning here: complex, int64, text."""


class MemoryLimitError(ProxlabError, MemoryError):
    """The work does not fit in the memory allowed or present."""

    exit_code = 4


class ConvergenceError(ProxlabError, RuntimeError):
    """No usable result: the iteration ended in NaN, or did not converge where that was demanded."""

    exit_code = 5


class ClusterError(ProxlabError, RuntimeError):
    """A cluster that cannot be reached, or that went away during the work."""


class ProxlabWarning(UserWarning):
    """Something the caller should know about a result; issued when `info` was not asked for."""


def listed(names: Sequence[str], word: str) -> str:
    """Quote names and join them as prose.

    >>> listed(["a", "b", "c"], "or")
    "'a', 'b' or 'c'"
    """
    quoted = [repr(name) for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in the list, with the nearest one that is.

    >>> print(unknown("method", "weiner", ["tv", "wiener"]))
    unknown method 'weiner': did you mean 'wiener'? There are 'tv' and 'wiener'.
    """
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return UsageError(f"unknown {what} {name!r}: {hint}There are {listed(names, 'and')}.")
