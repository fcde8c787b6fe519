"""Memory that the system does not give: told apart from other errors, and said in a sentence."""

import errno
from collections.abc import Iterator

ADVICE = (
    "raise the limit (ulimit -v, or the container's) or give fewer --workers, then run the same command again: it goes on "
    "with the parts that are missing"
)


_WORDS = ("can't start new thread", "annot allocate memory", "failed to map segment")


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that there is no more memory.

    >>> is_shortage(MemoryError()), is_shortage(RuntimeError("can't start new thread")), is_shortage(ValueError())
    (True, True, False)
    """
    return any(map(_says_so, _chain(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from _chain(error.__cause__)
        yield from _chain(error.__context__)


def _says_so(error: BaseException) -> bool:
    # EAGAIN is what a process is refused with that would be one too many.
    if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN):
        return True
    # A thread needs memory for its stack, a library for its code; neither error has a number.
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError | RuntimeError | ImportError) and any(word in str(error) for word in _WORDS)
    )
