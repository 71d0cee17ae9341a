"""Optional packages: imported where they are used, and asked for by the name of an extra."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def of_extra(extra: str) -> Iterator[None]:
    """Imports within the context that fail say in one line which extra to install.

    Raises:
        ValueError: if a package is not there.

    >>> with of_extra("vision"):
    ...     import no_such_package
    Traceback (most recent call last):
    ...
    ValueError: no_such_package is not installed: pip install 'llfc[vision]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed: pip install 'llfc[{extra}]'") from None
