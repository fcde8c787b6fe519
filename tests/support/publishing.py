"""A web server over a folder, which counts what is asked for and can spoil, delay or refuse it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Fault = Callable[[str, int, bytes], bytes]
"""Takes the path of a file, how often it was asked for (from 1) and its bytes; returns those to send."""


@dataclass
class Publisher:
    """A server that runs until it is closed."""

    url: str
    requests: Counter[str] = field(default_factory=Counter)
    """How often each file that is there was sent, by its path below the folder."""
    queries: Counter[str] = field(default_factory=Counter)
    """How often each query was sent with an address, "" where there was none."""
    fault: Fault = lambda _path, _number, content: content
    status: Callable[[str, int], int] = lambda _path, _number: 200
    """Takes the same but the bytes; returns the status of the answer."""

    def parts_sent(self) -> Counter[str]:
        """Return how often the metadata of each part was sent: once for each time it was fetched."""
        return Counter(
            {
                path.split("/")[1]: count
                for path, count in self.requests.items()
                if path.count("/") == 2 and path.endswith("/zarr.json")
            }
        )


class _Server(ThreadingHTTPServer):
    # So that closing waits for the answers under way: what one does late would be done to the next test's files.
    daemon_threads = False

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that was killed is what a test wants."""


@contextmanager
def published(folder: Path) -> Iterator[Publisher]:
    """Serve a folder on this machine."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path, _, query = self.path.lstrip("/").partition("?")
            file = folder / path
            if not file.is_file():
                self.send_error(404)
                return
            with lock:
                publisher.requests[path] += 1
                publisher.queries[query] += 1
                number = publisher.requests[path]
            if (status := publisher.status(path, number)) != 200:
                self.send_error(status)
                return
            content = publisher.fault(path, number, file.read_bytes())
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = _Server(("127.0.0.1", 0), Handler)
    publisher = Publisher(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
