"""A web server of a folder that answers ranges and counts what it is asked, for tests."""

import re
import threading
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class RangeServer(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        asked: (method, name, bytes sent) of every request.
        heads: whether HEAD is answered.
    """

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked, self.heads = Path(folder), [], True

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    @property
    def sent(self):
        """Bytes of content."""
        return sum(size for _, _, size in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer("HEAD")

    def do_GET(self):
        self._answer("GET")

    def log_message(self, *_):
        pass

    def _answer(self, method):
        name = self.path.split("?")[0].lstrip("/")
        file = self.server.folder / name
        if not file.is_file() or (method == "HEAD" and not self.server.heads):
            self.server.asked.append((method, name, 0))
            self.send_response(404 if not file.is_file() else 403)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        part = content
        if span:
            start, end = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
            part = content[start : end + 1]
        self.send_response(206 if span else 200)
        if span:
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", f'"{file.stat().st_mtime_ns}"')
        self.send_header("Last-Modified", formatdate(file.stat().st_mtime, usegmt=True))
        self.end_headers()
        sent = part if method == "GET" else b""
        self.server.asked.append((method, name, len(sent)))
        self.wfile.write(sent)


@contextmanager
def serving(folder):
    """A server of a folder, while it is wanted."""
    server = RangeServer(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
