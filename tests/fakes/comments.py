"""The comments of a pull request, by the APIs of GitHub and GitLab on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-the-job"
REPOSITORY = "acme/penguins"
HEADERS = {"github": ("Authorization", f"Bearer {TOKEN}"), "gitlab": ("PRIVATE-TOKEN", TOKEN)}
PLACES = {
    "github": (f"/repos/{REPOSITORY}/issues/7/comments", f"/repos/{REPOSITORY}/issues/comments", "PATCH"),
    "gitlab": ("/projects/42/merge_requests/7/notes", "/projects/42/merge_requests/7/notes", "PUT"),
}


class Host(ThreadingHTTPServer):
    """The comments of pull request 7, as both hosts' APIs have them. It takes no other token and no other path."""

    def __init__(self, ci: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ci = ci
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.comments: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        listing, _one, _verb = PLACES[self.server.ci]
        is_listing = self.path == f"{listing}?per_page=100"
        self.answer(200 if is_listing else 404, self.server.comments)

    def do_POST(self) -> None:
        listing, _one, _verb = PLACES[self.server.ci]
        if self.path != listing:
            return self.answer(404, {})
        self.server.comments.append({"id": 100 + len(self.server.comments), "user": {"type": "Bot"}, **self.body()})
        self.answer(201, {})

    def do_PATCH(self) -> None:
        _listing, one, verb = PLACES[self.server.ci]
        ids = [comment["id"] for comment in self.server.comments]
        id_ = self.path.rpartition("/")[2]
        if self.command != verb or self.path != f"{one}/{id_}" or int(id_) not in ids:
            return self.answer(404, {})
        self.server.comments[ids.index(int(id_))].update(self.body())
        self.answer(200, {})

    do_PUT = do_PATCH

    def body(self) -> dict[str, Any]:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        # GitLab reads what has no type as a form.
        assert self.server.ci == "github" or self.headers["Content-Type"] == "application/json"
        return dict(json.loads(content))

    def answer(self, status: int, content: Any) -> None:
        name, value = HEADERS[self.server.ci]
        if self.headers[name] != value:
            status, content = 401, {}
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def comments(ci: str) -> Iterator[Host]:
    """Serve them as ``github`` or ``gitlab`` does."""
    with Host(ci) as host:
        threading.Thread(target=lambda: host.serve_forever(poll_interval=0.02), daemon=True).start()
        try:
            yield host
        finally:
            host.shutdown()
