"""The names on a web server's index page of a folder.

The page is gone through once, from the front, so that one made to be slow is not: Python's own parser goes back for
each tag that does not end, a minute for some 100 kB of them.
"""

import html
import re
from collections.abc import Iterator
from urllib.parse import unquote, urljoin, urlsplit

MAX_NAMES = 1 << 21
"""How many names a folder may have: Python takes about 300 bytes for each."""

_TAG = re.compile(rb"<!--|<(a|script|style)(?=[\s/>])", re.IGNORECASE)
_ATTRIBUTE = re.compile(rb"[\s/]*([^\s/>=]+)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]*)))?")
_MOST_TAG_BYTES = 1 << 16


def parse_index(page: str | bytes | memoryview, url: str) -> dict[str, bool]:
    """Return the names of what lies directly in a folder, each with whether it is a folder itself.

    Links that lead elsewhere are left out: to the folder above, to another order of the same page, to a style sheet.

    Args:
        page: the HTML; bytes in UTF-8.
        url: where it lies; ends with a slash.

    Returns:
        The names; of more than `MAX_NAMES` one more than that.

    >>> parse_index('<a href="../">up</a> <a href="?C=S">size</a> <a href="a%20b.npz">a b</a> <a href="c/">c</a>',
    ...             "http://host/raw/")
    {'a b.npz': False, 'c': True}
    """
    folder = _path(url)
    names: dict[str, bool] = {}
    for target in _links(page.encode() if isinstance(page, str) else page):
        try:
            address = urlsplit(urljoin(url, html.unescape(target.decode("utf-8", "replace"))))
        except ValueError:
            # No address, or a character's number of thousands of digits.
            continue
        path = _path(address.geturl())
        if address.netloc != urlsplit(url).netloc or address.query or not path.startswith(folder):
            continue
        name = path[len(folder) :]
        if (bare := name.removesuffix("/")) and "/" not in bare and bare not in (".", ".."):
            names[bare] = name.endswith("/")
            if len(names) > MAX_NAMES:
                break
    return names


def _links(page: bytes | memoryview) -> Iterator[bytes]:
    """Yield where a page's links lead, as it is written there."""
    place = 0
    while (tag := _TAG.search(page, place)) is not None:
        name = (tag[1] or b"").lower()
        if name == b"a":
            target, place = _read_target(page, tag.end())
            if target:
                yield target
            continue
        # What stands in a comment or a script is no link.
        end = re.compile(rb"</" + name if name else b"-->", re.IGNORECASE).search(page, tag.end())
        if end is None:
            return
        place = end.end()


def _read_target(page: bytes | memoryview, place: int) -> tuple[bytes, int]:
    """Return the value of `href` among a tag's attributes, b"" without one, and where to go on."""
    end = min(len(page), place + _MOST_TAG_BYTES)
    target = b""
    while (found := _ATTRIBUTE.match(page, place, end)) is not None:
        place = found.end()
        if found[1].lower() == b"href" and not target:
            target = found[2] or found[3] or found[4] or b""
    return target, place


def _path(url: str) -> str:
    return unquote(urlsplit(url).path, errors="surrogateescape")
