"""A web server on this machine that does what web servers do to downloads."""

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Behavior:
    """What the server does with one path."""

    data: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    length: bool = True
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    stops: list[int] = field(default_factory=list)  # bytes after which the connection dies, one a request
    redirect: str | None = None
    kind: str = "application/zip"
    delay_s: float = 0.0  # before each of ten parts
    wrong_range: bool = False


@dataclass
class Seen:
    """What the server saw of one request, and how many bytes of the body it sent."""

    path: str
    range: str | None
    sent: int = 0
    status: int = 0


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: dict[str, Behavior] = {}
        self.seen: list[Seen] = []

    def url(self, path: str, data: bytes, **behavior: Any) -> str:
        """Serve data under a path; return its address."""
        self.paths[f"/{path}"] = Behavior(data, **behavior)
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        behavior = self.server.paths[self.path]
        seen = Seen(self.path, self.headers.get("Range"))
        self.server.seen.append(seen)
        if behavior.statuses:
            seen.status = behavior.statuses.pop(0)
            return self.send_error(seen.status)
        if behavior.redirect:
            self.send_response(302)
            self.send_header("Location", behavior.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self.send_body(behavior, seen)

    def send_body(self, behavior: Behavior, seen: Seen) -> None:
        data, start = behavior.data, 0
        asked = re.fullmatch(r"bytes=(\d+)-", seen.range or "")
        guard = self.headers.get("If-Range")
        if asked and behavior.ranges and guard in (None, behavior.etag, behavior.modified):
            start = int(asked[1])
            if start >= len(data):
                seen.status = 416
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        seen.status = 206 if start else 200
        self.send_response(seen.status)
        if start:
            begin = start - 10 if behavior.wrong_range else start
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Type", behavior.kind)
        if behavior.length:
            self.send_header("Content-Length", str(len(data) - start))
        for name, value in (("ETag", behavior.etag), ("Last-Modified", behavior.modified)):
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        stop = behavior.stops.pop(0) if behavior.stops else len(data) - start
        body = data[start : start + stop]
        step = max(1, len(body) // 10)
        for at in range(0, len(body), step):
            time.sleep(behavior.delay_s)
            self.wfile.write(body[at : at + step])
            seen.sent += len(body[at : at + step])
        return None


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server in a thread."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
