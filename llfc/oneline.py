"""What an error says, in one line for people."""


def first_line(error: BaseException) -> str:
    r"""The first line of what `error` says; its type where it says nothing.

    >>> first_line(RuntimeError("no room\nException raised from ...")), first_line(KeyError())
    ('no room', 'KeyError')
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__


def in_one_line(error: BaseException) -> str:
    r"""All that `error` says, its lines joined; its type where it says nothing.

    >>> in_one_line(RuntimeError("sizes differ:\n  3 and 4"))
    'sizes differ: 3 and 4'
    """
    return " ".join(str(error).split()) or type(error).__name__


def with_its_type(error: BaseException) -> str:
    """The type of `error` and all that it says, in one line.

    >>> with_its_type(KeyError("loss"))
    "KeyError: 'loss'"
    """
    return " ".join(f"{type(error).__name__}: {error}".split())
