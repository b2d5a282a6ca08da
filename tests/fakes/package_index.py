"""A package index that wants a user and a password, over a folder of wheels: https://peps.python.org/pep-0503."""

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "reader", "planted-p4ss%2Fw0rd$HOME"


@dataclass
class Index:
    """The index.

    Args:
        url: its address, with user and password.
        refused: requests that came without them.
        served: paths of requests that were answered.
    """

    url: str
    refused: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)


def make_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Make the wheel of a package with one module of its name."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": "",
        f"{name}-{version}.dist-info/METADATA": metadata + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{name}-{version}.dist-info/RECORD"] = "".join(f"{file},,\n" for file in files)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return path


@contextmanager
def package_index(wheels: Path) -> Iterator[Index]:
    """Serve the wheels of a folder on loopback."""
    # A password in a URL is quoted there, and plain in the header.
    plain = PASSWORD.replace("%2F", "/")
    wanted = "Basic " + base64.b64encode(f"{USER}:{plain}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                index.refused.append(self.path)
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            kind, name = self.path.strip("/").split("/")[-2:]
            files = [path for path in wheels.iterdir() if path.name.split("-")[0].replace("_", "-").lower() == name]
            if kind == "files" and (wheels / name).is_file():
                self._answer((wheels / name).read_bytes(), "application/octet-stream")
            elif kind == "simple" and files:
                hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
                links = "".join(
                    f'<a href="../../files/{file}#sha256={sha}">{file}</a>\n' for file, sha in hashes.items()
                )
                self._answer(f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html")
            else:
                self.send_error(404)

        def _answer(self, body: bytes, kind: str) -> None:
            index.served.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index = Index(f"http://{USER}:{PASSWORD}@127.0.0.1:{server.server_port}/repository/simple/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()


# A project that needs two packages of its company.
SHOP = """\
[project]
name = "shop"
requires-python = ">=3.11"
version = "1"
dependencies = ["acme-core>=1"]
[project.optional-dependencies]
launch = ["acme-tools"]
dev = []
"""


@contextmanager
def index_of_the_shop(folder: Path) -> Iterator[Index]:
    """An index that has what the shop needs, of wheels that are made in a folder."""
    make_wheel(folder, "acme_core", "1.2")
    make_wheel(folder, "acme_tools", "3.0", "acme-core")
    with package_index(folder) as index:
        yield index
