"""The names on a web server's index page of a folder."""

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit


class _Links(HTMLParser):
    """Notes where a page's links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link."""
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]


def parse_index(page: str, url: str) -> dict[str, bool]:
    """Return the names of what lies directly in a folder, each with whether it is a folder itself.

    Links that lead elsewhere are left out: to the folder above, to another order of the same page, to a style sheet.

    Args:
        page: the HTML.
        url: where it lies; ends with a slash.

    >>> parse_index('<a href="../">up</a> <a href="?C=S">size</a> <a href="a%20b.npz">a b</a> <a href="c/">c</a>',
    ...             "http://host/raw/")
    {'a b.npz': False, 'c': True}
    """
    links = _Links()
    links.feed(page)
    folder = _path(url)
    names: dict[str, bool] = {}
    for target in links.targets:
        try:
            address = urlsplit(urljoin(url, target))
        except ValueError:
            continue
        path = _path(address.geturl())
        if address.netloc != urlsplit(url).netloc or address.query or not path.startswith(folder):
            continue
        name = path[len(folder) :]
        if (bare := name.removesuffix("/")) and "/" not in bare and bare not in (".", ".."):
            names[bare] = name.endswith("/")
    return names


def _path(url: str) -> str:
    return unquote(urlsplit(url).path, errors="surrogateescape")
