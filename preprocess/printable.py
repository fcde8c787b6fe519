"""Text of strangers on a terminal: keys, names and reasons come out of files that anybody may have made."""


def printable(text: str) -> str:
    r"""Return a text with what is no visible character spelt out: a terminal would obey it.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
