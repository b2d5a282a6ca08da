"""The custom jobs of the stand-in by gRPC, which Google's launcher speaks, behind a proxy that leads to them.

The launcher asks ``<region>-aiplatform.googleapis.com``: its connection goes through the proxy, and meets a certificate
of a test authority there. Only cancelling goes by REST.
"""

import json
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import grpc
import trustme
from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from ..google_identity import served
from . import Vertex, custom_jobs
from .server import Json, Refusal

_SERVICE = "google.cloud.aiplatform.v1.JobService"
_CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 403: grpc.StatusCode.PERMISSION_DENIED, 404: grpc.StatusCode.NOT_FOUND}


@contextmanager
def grpc_jobs(vertex: Vertex, folder: Path) -> Iterator[dict[str, str]]:
    """Serve; the environment variables by which gRPC's clients come here."""

    def create(request: Any) -> Json:
        return custom_jobs.answer(vertex, "POST", [], "", {}, json_format.MessageToDict(request.custom_job))

    def get(request: Any) -> Json:
        return custom_jobs.answer(vertex, "GET", [request.name.rpartition("/")[2]], "", {}, {})

    methods = {
        "CreateCustomJob": _method(vertex, types.CreateCustomJobRequest, create),
        "GetCustomJob": _method(vertex, types.GetCustomJobRequest, get),
    }
    authority = trustme.CA()
    certificate = authority.issue_cert(f"{vertex.region}-aiplatform.googleapis.com")
    roots = folder / "grpc-roots.pem"
    roots.write_bytes(authority.cert_pem.bytes())
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        with served(type("Proxy", (_Proxy,), {"port": port})) as proxy:
            yield {"grpc_proxy": f"http://{proxy}", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots)}
    finally:
        server.stop(None).wait()


def _method(vertex: Vertex, message: Any, answer: Callable[[Any], Json]) -> grpc.RpcMethodHandler:
    def handle(request: Any, context: grpc.ServicerContext) -> Any:
        headers = dict(context.invocation_metadata())
        if headers.get("authorization") != f"Bearer {vertex.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "Request had invalid authentication credentials.")
        try:
            with vertex.lock:
                reply = json.loads(json.dumps(answer(request)))
        except Refusal as refusal:
            context.abort(_CODES[refusal.status], refusal.message)
        return json_format.ParseDict(reply, types.CustomJob.pb()())

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=message.pb().FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )


class _Proxy(BaseHTTPRequestHandler):
    """A proxy whose CONNECT leads to one port, whatever host was asked for."""

    port: int

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""

    def do_CONNECT(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as upstream:
            self.send_response(200, "Connection established")
            self.end_headers()
            other = {self.connection: upstream, upstream: self.connection}
            while True:
                for ready in select.select(list(other), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        self.close_connection = True
                        return
                    other[ready].sendall(data)
