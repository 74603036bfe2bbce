"""Names of a package that resolve on first use, so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, home: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's __getattr__ and __dir__ (PEP 562): home says in which of its modules each name lives.

    The __getattr__ raises AttributeError for any other name.

    >>> get, names = lazy_names("imaging", {"psnr": "metrics"})
    >>> get("psnr").__module__, names()
    ('imaging.metrics', ['psnr'])
    """

    def get(name: str) -> object:
        """The thing of that name, its module imported now."""
        if name not in home:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return get, lambda: sorted(home)
