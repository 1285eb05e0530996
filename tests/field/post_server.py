"""A server that answers every POST alike, and keeps the head of each request."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Post(NamedTuple):
    """What the server keeps of a request."""

    path: str
    authorization: str | None


@contextmanager
def run_post_server(
    status: int = 200, location: str | None = None
) -> Iterator[tuple[str, list[Post]]]:
    """Run a server that answers every POST with ``status`` and the header ``location``.

    Yield its URL and the list of the requests, which grows while the server runs.
    """
    posts: list[Post] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            posts.append(Post(self.path, self.headers["authorization"]))
            self.send_response(status)
            if location:
                self.send_header("location", location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posts
        server.shutdown()
        thread.join()
