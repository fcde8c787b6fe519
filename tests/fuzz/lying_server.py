"""A web server that answers some requests with lies: written byte by byte, as no honest server library would."""

import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

PIECE = 1 << 20


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    asked: tuple[int, int] | None
    """First byte and the one behind the last, of a range."""
    content: bytes | None
    """The file's, or the index page of a folder; None where there is none."""
    is_folder: bool


Send = Callable[[bytes], None]
Lie = Callable[[Request, Send], None]


def answer(
    request: Request,
    send: Send,
    content: bytes,
    status: str = "200 OK",
    length: int | str | None = None,
    *headers: str,
) -> None:
    """Send an answer; `length` is what is said of it, by default the truth."""
    length = len(content) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length}", "Connection: close", *headers, "", ""]
    send("\r\n".join(lines).encode())
    if request.method != "HEAD":
        send(content)


def honest(request: Request, send: Send) -> None:
    """Send the file, or the range of it that was asked for."""
    if request.content is None:
        answer(request, send, b"", "404 Not Found")
    elif request.is_folder and not request.path.endswith("/"):
        answer(request, send, b"", "301 Moved Permanently", None, f"Location: {request.path}/")
    elif request.is_folder:
        answer(request, send, request.content, "200 OK", None, "Content-Type: text/html")
    elif request.asked is None:
        answer(request, send, request.content)
    else:
        first, stop = request.asked
        content = request.content[first:stop]
        told = f"Content-Range: bytes {first}-{first + len(content) - 1}/{len(request.content)}"
        answer(request, send, content, "206 Partial Content", None, told)


def _head(send: Send, *lines: str) -> None:
    send("\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode())


def endless_chunks(request: Request, send: Send) -> None:
    _head(send, "Transfer-Encoding: chunked")
    while request.method != "HEAD":
        send(b"%x\r\n" % PIECE + b" " * PIECE + b"\r\n")


def endless_body(request: Request, send: Send) -> None:
    _head(send, "Connection: close")
    while request.method != "HEAD":
        send(b'{"attributes": ' + b"[" * PIECE)


def endless_links(request: Request, send: Send) -> None:
    _head(send, "Content-Type: text/html", "Connection: close")
    number = 0
    while request.method != "HEAD":
        links = (f'<a href="{n:08x}.npz">x</a>' for n in range(number, number + 10_000))
        send("".join(links).encode())
        number += 10_000


def packed_bomb(request: Request, send: Send) -> None:
    _head(send, "Transfer-Encoding: chunked", "Content-Encoding: gzip")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(2000 if request.method != "HEAD" else 0):
        if packed := packer.compress(bytes(10 * PIECE)):
            send(b"%x\r\n" % len(packed) + packed + b"\r\n")


def packed(request: Request, send: Send) -> None:
    answer(
        request,
        send,
        zlib.compress(request.content or b"", wbits=31),
        "200 OK",
        None,
        "Content-Encoding: gzip",
    )


def says_packed(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"", "200 OK", None, "Content-Encoding: br")


def longer_than_it_says(request: Request, send: Send) -> None:
    content = request.content or b""
    answer(request, send, content, "200 OK", max(len(content) - 7, 0))


def shorter_than_it_says(request: Request, send: Send) -> None:
    content = request.content or b""
    answer(request, send, content, "200 OK", len(content) + 7)


def longer_than_it_is(request: Request, send: Send) -> None:
    answer(request, send, (request.content or b"") + b"more")


def says_it_is_huge(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"", "200 OK", 10**15)


def says_it_is_empty(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"", "200 OK", 0)


def says_no_number(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"", "200 OK", "-5")


def head_is_huge(request: Request, send: Send) -> None:
    (says_it_is_huge if request.method == "HEAD" else honest)(request, send)


def head_is_short(request: Request, send: Send) -> None:
    (longer_than_it_says if request.method == "HEAD" else honest)(request, send)


def head_is_empty(request: Request, send: Send) -> None:
    (says_it_is_empty if request.method == "HEAD" else honest)(request, send)


def range_from_byte_0(request: Request, send: Send) -> None:
    """Answer a range as a proxy does that keeps the beginning of a file for all of it."""
    content, (first, stop) = request.content or b"", request.asked or (0, 1)
    told = f"Content-Range: bytes 0-{stop - first - 1}/{len(content)}"
    answer(request, send, content[: stop - first], "206 Partial Content", None, told)


def range_without_a_name(request: Request, send: Send) -> None:
    content, (first, stop) = request.content or b"", request.asked or (0, 1)
    answer(request, send, content[: stop - first], "206 Partial Content")


def range_cut_short(request: Request, send: Send) -> None:
    content, (first, stop) = request.content or b"", request.asked or (0, 1)
    told = f"Content-Range: bytes {first}-{max(stop - 2, first)}/{len(content)}"
    answer(request, send, content[first : stop - 1], "206 Partial Content", None, told)


def no_such_range(request: Request, send: Send) -> None:
    content = request.content or b""
    answer(request, send, b"", "416 Range Not Satisfiable", None, f"Content-Range: bytes */{len(content)}")


def whole_for_a_range(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"")


def drips(request: Request, send: Send) -> None:
    content = request.content or b" "
    _head(send, f"Content-Length: {len(content)}")
    while request.method != "HEAD":
        send(b" ")
        time.sleep(0.02)


def drips_headers(_: Request, send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        send(b"x")
        time.sleep(0.02)


def is_silent(_: Request, send: Send) -> None:
    while True:
        time.sleep(0.05)
        send(b"")


def endless_headers(_: Request, send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\n")
    while True:
        send(b"X-%d: y\r\n" % time.monotonic_ns() * 1000)


def endless_header(_: Request, send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        send(b"x" * PIECE)


def endless_continues(_: Request, send: Send) -> None:
    while True:
        send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_redirects(request: Request, send: Send) -> None:
    answer(request, send, b"", "302 Found", None, f"Location: {request.path}?{time.monotonic_ns()}")


def redirect_to_a_file(request: Request, send: Send) -> None:
    answer(request, send, b"", "302 Found", None, "Location: file:///etc/passwd")


def redirect_to_nowhere(request: Request, send: Send) -> None:
    answer(request, send, b"", "302 Found", None, "Location: http://[::1/x")


def no_answer_at_all(_: Request, send: Send) -> None:
    send(b"\x15\x03\x01\x00\x02\x02\x46" * 99)


def impossible_chunk(_: Request, send: Send) -> None:
    _head(send, "Transfer-Encoding: chunked")
    send(b"fffffffffffffffffff\r\nx")


def status_of_its_own(request: Request, send: Send) -> None:
    answer(request, send, request.content or b"", "299 Fine")


def nothing_changed(_: Request, send: Send) -> None:
    send(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")


def hangs_up(_: Request, __: Send) -> None:
    return


LIES: dict[str, Lie] = {
    lie.__name__: lie
    for lie in (
        endless_chunks, endless_body, endless_links, packed_bomb, packed, says_packed, longer_than_it_says,
        shorter_than_it_says, longer_than_it_is, says_it_is_huge, says_it_is_empty, says_no_number, head_is_huge,
        head_is_short, head_is_empty, range_from_byte_0, range_without_a_name, range_cut_short, no_such_range,
        whole_for_a_range, drips, drips_headers, is_silent, endless_headers, endless_header, endless_continues,
        endless_redirects, redirect_to_a_file, redirect_to_nowhere, no_answer_at_all, impossible_chunk,
        status_of_its_own, nothing_changed, hangs_up,
    )
}  # fmt: skip

RANGE_LIES = (
    "range_from_byte_0",
    "range_without_a_name",
    "range_cut_short",
    "no_such_range",
    "whole_for_a_range",
)
"""Told only to who asks for a part of a file."""

OTHER_FILES = ("longer_than_it_is",)
"""Of a raw dataset, which nothing lists the bytes of, these are no lies but other files."""


@dataclass
class Liar:
    """A server; what it lies about may be changed while it runs."""

    url: str = ""
    about: str = "$^"
    """Pattern of the paths that are lied about."""
    lie: Lie = honest
    only_ranges: bool = False
    sent: int = 0
    """Bytes that were taken from this server so far."""
    requests: list[str] = field(default_factory=list)

    def tell(self, lie: str, about: str) -> None:
        """Lie about paths from now on; count anew."""
        self.lie, self.about, self.only_ranges, self.sent = LIES[lie], about, lie in RANGE_LIES, 0


@contextmanager
def lying(folder: Path) -> Iterator[Liar]:
    """Serve a folder; folders have index pages."""
    server = socket.create_server(("127.0.0.1", 0))
    liar = Liar(f"http://127.0.0.1:{server.getsockname()[1]}")
    stopped = threading.Event()
    threading.Thread(target=_serve, args=(server, folder, liar, stopped), daemon=True).start()
    try:
        yield liar
    finally:
        stopped.set()
        server.close()


def _serve(server: socket.socket, folder: Path, liar: Liar, stopped: threading.Event) -> None:
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(
                target=_answer_one, args=(connection, folder, liar, stopped), daemon=True
            ).start()


def _answer_one(connection: socket.socket, folder: Path, liar: Liar, stopped: threading.Event) -> None:
    def send(content: bytes) -> None:
        if stopped.is_set():
            raise ConnectionError("the test is over")
        if not content and _has_left(connection):
            raise ConnectionError("the client has left")
        for start in range(0, len(content), 1 << 16):
            piece = content[start : start + (1 << 16)]
            connection.sendall(piece)
            liar.sent += len(piece)

    with connection, suppress(OSError):
        received = b""
        while b"\r\n\r\n" not in received and len(received) < 1 << 16:
            piece = connection.recv(1 << 16)
            if not piece:
                return
            received += piece
        request = _read(received.decode("latin-1"), folder)
        liar.requests.append(f"{request.method} {request.path}")
        lies = re.search(liar.about, request.path) and (request.asked or not liar.only_ranges)
        (liar.lie if lies else honest)(request, send)
        connection.shutdown(socket.SHUT_WR)


def _has_left(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def _read(text: str, folder: Path) -> Request:
    method, target, _ = text.split("\r\n")[0].split(" ")
    path = unquote(urlsplit(target).path)
    asked = re.search(r"\r\nRange: bytes=(\d+)-(\d+)", text, re.IGNORECASE)
    file = folder / path.lstrip("/")
    content: bytes | None = None
    if file.is_dir():
        names = (f"{entry.name}/" if entry.is_dir() else entry.name for entry in sorted(file.iterdir()))
        content = "".join(f'<a href="{name}">x</a>' for name in names).encode()
    elif file.is_file():
        content = file.read_bytes()
    return Request(
        method, path, (int(asked[1]), int(asked[2]) + 1) if asked else None, content, file.is_dir()
    )
