"""Memory that the system does not give: told apart from other errors, and said in a sentence."""

import errno

ADVICE = (
    "raise the limit (ulimit -v, or the container's) or give fewer --workers, then run the same command again: it goes on "
    "with the parts that are missing"
)

_TRACEBACK = "_RemoteTraceback"
"""The class of `concurrent.futures` that holds it, which has no public name."""

_WORDS = ("can't start new thread", "annot allocate memory", "failed to map segment")


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that there is no more memory.

    >>> is_shortage(MemoryError()), is_shortage(RuntimeError("can't start new thread")), is_shortage(ValueError())
    (True, True, False)
    """
    seen: list[BaseException] = []
    left = [error]
    while left:
        one = left.pop()
        if _says_so(one):
            return True
        seen.append(one)
        left += [led for led in (one.__cause__, one.__context__) if led is not None and led not in seen]
    return False


def _says_so(error: BaseException) -> bool:
    # EAGAIN is what a process is refused with that would be one too many.
    if isinstance(error, OSError) and error.errno in (errno.ENOMEM, errno.EAGAIN):
        return True
    # What led to an error in another process arrives as the text of its traceback.
    has_text = isinstance(error, OSError | RuntimeError | ImportError) or type(error).__name__ == _TRACEBACK
    # A thread needs memory for its stack, a library for its code; neither error has a number.
    return isinstance(error, MemoryError) or (has_text and any(word in str(error) for word in _WORDS))
