"""Where the files at a URL come from, as text: parts in a cache are shared by stores of one origin only.

Two addresses may have one origin only if they lead to the same files, whoever asks. So what is about who asks is left
out (user, password, query with its signature, fragment), and what always means the same is written in one way; all else
stays, and at worst a part is fetched twice.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

_WEB_PORTS = {"http": 80, "https": 443}
_HOSTED = {*_WEB_PORTS, "ftp", "sftp", "ssh", "smb"}
"""Protocols whose URLs may name a user before a host. Others put there what tells files apart, as abfs its container."""

_PLACES = {
    *("endpoint_url", "endpoint", "base_url", "host", "hostname", "port", "profile"),
    *("account_name", "account_host", "connection_string"),
    *("org", "repo", "sha", "ref", "fo", "root", "path", "target_protocol", "remote_protocol"),
}
"""Storage options that say where files are. All others say how they are asked for, and tokens among them change."""

_S3_PLACES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL", "AWS_PROFILE")
"""Variables that decide which server has a bucket, with a file that the last one names a part of."""

_CHAIN = re.compile(r"::(?=[A-Za-z][A-Za-z0-9+.-]*(?:://|::|$))")
"""Between the links of a chain; an address of IPv6 holds the same two characters."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def origin_of(url: str, options: Mapping[str, Any]) -> str:
    """Return the origin of what fsspec opens at a URL with these storage options."""
    origin = normalized(url)
    places = sorted(_places(options))
    if re.search(r"(^|::)s3a?:", origin):
        places += [[name, os.environ[name]] for name in _S3_PLACES if os.environ.get(name)]
    return f"{origin} {json.dumps(places)}" if places else origin


def normalized(url: str) -> str:
    """Return a URL, or any name, without what is about who asks, and with what always means the same in one way.

    >>> normalized("HTTPS://me:secret@Example.org:443/a%7eb/coco.zarr/?signature=1#x")
    'https://example.org/a~b/coco.zarr'
    """
    return "::".join(_normalized_link(link) for link in _CHAIN.split(url))


def _normalized_link(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        return url
    if scheme not in _HOSTED:
        return f"{scheme}://{rest.rstrip('/')}"
    if scheme in _WEB_PORTS:
        rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    place, slash, path = rest.partition("/")
    path = f"{slash}{path}".rstrip("/")
    host = place.rpartition("@")[2].lower()
    if scheme in _WEB_PORTS:
        host = host.removesuffix(f":{_WEB_PORTS[scheme]}").removesuffix(":")
        path = quote(_ESCAPE.sub(_unescape, path), safe="/%:@!$&'()*+,;=~", errors="surrogateescape")
    return f"{scheme}://{host}{path}"


def _unescape(escape: re.Match[str]) -> str:
    """Return a character that need not be escaped as it is; any other escape in capitals."""
    character = chr(int(escape[1], 16))
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _places(options: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the options that say where files are, also those of nested options, by name."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from ([f"{name}.{inner}", found] for inner, found in _places(value))
        elif str(name).lower() in _PLACES:
            yield [str(name), str(value)]
