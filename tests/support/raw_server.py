"""Serves a folder on this machine by HTTP, as well or as badly as a test asks for."""

import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Manners:
    """How a server behaves; may be changed while it runs."""

    ranges: bool = True
    """Whether parts of files can be asked for."""
    index: bool = True
    """Whether folders have index pages."""
    head: int = 200
    """What HEAD requests are answered with, where that is no success."""
    sizes: bool = True
    """Whether the size of a file is said before it comes."""
    token: str = ""
    """What a request must have in its `Authorization`; "" for nothing."""
    drop_every: int = 0
    """Of this many requests, one is not answered; 0 for none."""
    cut_every: int = 0
    """Of this many contents, one is cut off in the middle; 0 for none."""
    answers_left: float = float("inf")
    """After how many requests none is answered any more."""
    statuses: dict[str, int] = field(default_factory=dict)
    """What is answered for a path instead of the file."""
    retry_after: str = ""
    """What these answers say of when to ask again; "" for nothing."""
    versions: bool = False
    """Whether a file comes with a strong ETag of its content."""
    before: Callable[[str], None] | None = None
    """Called with each request before it is answered."""
    requests: list[str] = field(default_factory=list)
    """Method, path and range of each request so far."""


class _Handler(SimpleHTTPRequestHandler):
    """Answers one request after the other of one connection."""

    protocol_version = "HTTP/1.1"
    # Or each answer waits for the acknowledgement of its headers.
    disable_nagle_algorithm = True
    manners: Manners

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def answer_head(self) -> None:
        self._answer(super().do_HEAD)

    def answer_get(self) -> None:
        self._answer(super().do_GET)

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, answer: Any) -> None:
        manners, path = self.manners, unquote(urlsplit(self.path).path)
        manners.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if manners.before is not None:
            manners.before(manners.requests[-1])
        manners.answers_left -= 1
        if manners.answers_left < 0 or _falls_on(len(manners.requests), manners.drop_every):
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.headers.get("Authorization", "") != manners.token and manners.token:
            self.send_error(401)
        elif path in manners.statuses:
            self._refuse(manners.statuses[path])
        elif self.command == "HEAD" and manners.head != 200:
            self.send_error(manners.head)
        else:
            answer()

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if self.manners.retry_after:
            self.send_header("Retry-After", self.manners.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def list_directory(self, path: Any) -> BytesIO | None:
        if not self.manners.index:
            self.send_error(404)
            return None
        return super().list_directory(path)

    def send_head(self) -> Any:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return super().send_head()
        content = path.read_bytes()
        if self.manners.ranges and asked is not None:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            if first > last:
                self.send_error(416)
                return None
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        if self.manners.versions:
            self.send_header("ETag", f'"{zlib.crc32(path.read_bytes()):08x}"')
        if self.manners.sizes:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        return BytesIO(content)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content: bytes = source.read()
        if _falls_on(len(self.manners.requests), self.manners.cut_every):
            content = content[: len(content) // 2]
            self.close_connection = True
        outputfile.write(content)


def _falls_on(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


@contextmanager
def serving(folder: Path, manners: Manners | None = None) -> Iterator[str]:
    """Yield the URL at which a folder is served meanwhile."""

    methods = {"do_HEAD": _Handler.answer_head, "do_GET": _Handler.answer_get}
    handler = type("Handler", (_Handler,), {"manners": manners or Manners(), **methods})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
