"""A web server on this machine that behaves as badly as a test asks it to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Asked:
    """A request, and the connection to answer on."""

    def __init__(self, handler):
        self.handler, self.path, self.headers = handler, handler.path, handler.headers

    def answer(self, content=b"", status=200, cut=None, **headers):
        """Send `content`, or its first `cut` bytes while saying that all of it comes."""
        given = {
            "Content-Length": str(len(content)),
            "Connection": "close",
            **{name.replace("_", "-"): v for name, v in headers.items()},
        }
        self.handler.send_response(status)
        for name, value in given.items():
            if value is not None:
                self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content[:cut])
        self.handler.wfile.flush()
        self.handler.close_connection = True

    def file(self, content, cut=None, **headers):
        """As a good server: what the request's Range asks for, if the file is still the one it means."""
        wanted, if_range = self.headers.get("Range"), self.headers.get("If-Range")
        if not wanted or (if_range and if_range not in headers.values()):
            return self.answer(content, cut=cut, **headers)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return self.answer(status=416, Content_Range=f"bytes */{len(content)}")
        said = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.answer(content[start:], 206, cut, Content_Range=said, **headers)


@contextmanager
def served(respond: Callable[[Asked], None]):
    """The address of a server that answers by `respond`, and the list of requests it got."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            this = Asked(self)
            asked.append(this)
            respond(this)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
