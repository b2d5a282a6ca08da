"""Cloud Storage's JSON API as far as gcsfs and ``google.cloud.storage`` use it: buckets, and objects held in memory."""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import google_crc32c

from .google_identity import JsonHandler, Refused, served

# What an upload is cut into: all chunks but the last one are multiples of it.
_BLOCK = 256 * 1024
_PAGE = 1000
# What may be set when an object is made or changed.
_WRITABLE = (
    "cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime", "metadata",
)  # fmt: skip
# Query parameters that are understood or may be ignored; any other one is refused, so nothing goes unnoticed.
_UNDERSTOOD = {
    "alt", "delimiter", "endOffset", "generation", "ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch",
    "includeTrailingDelimiter", "maxResults", "name", "pageToken", "permissions", "prefix", "project",
    "rewriteToken", "sourceGeneration", "startOffset", "upload_id", "uploadType",
}  # fmt: skip
_IGNORED = {"fields", "includeFoldersAsPrefixes", "prettyPrint", "projection", "versions"}
# What `roles/storage.objectUser` does not let anybody do. https://docs.cloud.google.com/storage/docs/access-control/iam-roles
_OF_BUCKETS = {f"storage.buckets.{verb}" for verb in ("create", "delete", "get", "list", "update")}
# The first byte of a TLS handshake: gcsfs asks by gRPC at the address that it is given for HTTP.
_HANDSHAKE = b"\x16"

Query = Mapping[str, str]


@dataclass
class Upload:
    """A resumable upload that has begun."""

    bucket: str
    told: dict[str, Any]
    query: Query
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Answer:
    """An HTTP answer; ``body`` is bytes, or becomes JSON."""

    status: int
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Storage:
    """Buckets and their objects. A test reads them, and may change them between requests.

    Args:
        buckets: names of the buckets.
        objects: ``bucket/name`` → content.
        resources: ``bucket/name`` → what the API says about the object.
        denied: permissions that the caller lacks. By default it may do what ``roles/storage.objectUser`` lets it, which is
            nothing to the buckets themselves.
        failures: HTTP statuses to answer the next requests with, first ones first.
        requests: what was asked: method, and path without the query.
        grpc: how many connections were made for gRPC. They hang, as behind a network that lets only HTTPS through.
        environment: makes gcsfs and ``google.cloud.storage`` talk to it, without asking for credentials first.
    """

    buckets: set[str] = field(default_factory=lambda: {"bucket"})
    objects: dict[str, bytes | bytearray] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=lambda: set(_OF_BUCKETS))
    failures: list[int] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    grpc: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._uploads: dict[str, Upload] = {}
        self._generation = time.time_ns() // 1000
        self._lock = threading.RLock()

    @property
    def on_vertex(self) -> dict[str, str]:
        """The same environment, where a stand-in for the metadata server has credentials."""
        return {name: value for name, value in self.environment.items() if name != "NO_GCE_CHECK"}

    def put(self, path: str, data: bytes | bytearray, **told: Any) -> dict[str, Any]:
        """Make an object, or replace it; ``path`` is ``bucket/name``. Returns what the API says about it."""
        bucket, _, name = path.partition("/")
        crc32c, md5 = _crc32c(data), _md5(data)
        with self._lock:
            self._generation += 1
            now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{self._generation % 1_000_000:06d}Z"
            self.objects[path] = data
            self.resources[path] = {
                "kind": "storage#object", "id": f"{path}/{self._generation}", "bucket": bucket, "name": name,
                "generation": str(self._generation), "metageneration": "1", "storageClass": "STANDARD",
                "size": str(len(data)), "crc32c": base64.b64encode(crc32c).decode(),
                "md5Hash": base64.b64encode(md5).decode(), "etag": f"etag-{self._generation}",
                "timeCreated": now, "updated": now, "contentType": "application/octet-stream",
                **{key: value for key, value in told.items() if key in _WRITABLE},
            }  # fmt: skip
            return self.resources[path]

    def grow_old(self, days: int, lifecycle: Mapping[str, Any]) -> None:
        """Let so many days pass, after which the bucket's rules delete objects.

        A rule goes by prefixes alone, and by the age since an object was made; to read it does not renew it.
        https://docs.cloud.google.com/storage/docs/lifecycle
        """
        for rule in lifecycle["rule"]:
            assert rule["action"] == {"type": "Delete"} and set(rule["condition"]) == {"age", "matchesPrefix"}
            prefixes = tuple(rule["condition"]["matchesPrefix"])
            for path in [path for path in self.objects if path.partition("/")[2].startswith(prefixes)]:
                if days >= rule["condition"]["age"]:
                    self._forget(path)

    def answer(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes, address: str
    ) -> Answer:
        """One request.

        Raises:
            Refused: with an HTTP status and a message.
        """
        self.requests.append((method, path))
        with self._lock:
            failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise Refused(failure, "Cloud Storage has a bad day.")
        if unknown := query.keys() - _UNDERSTOOD - _IGNORED:
            raise Refused(400, f"This stand-in does not know the query parameters {sorted(unknown)}.")
        match = re.fullmatch(
            r"(/upload|/download)?/storage/v1/b(?:/([^/]+))?(/o|/iam/testPermissions)?(?:/(.+))?", path
        )
        if not match:
            raise Refused(404, f"no such method: {path}")
        service, bucket, kind, rest = match.groups()
        if service == "/upload":
            return self._upload(method, bucket, query, headers, body, address)
        if kind is None:
            return self._bucket(method, bucket, query, body)
        self._must_exist(bucket)
        if kind != "/o":
            asked = query["permissions"].split(",")
            return Answer(200, {"permissions": [permission for permission in asked if permission not in self.denied]})
        if rest is None:
            return self._list(bucket, query)
        source, *to = (unquote(part) for part in rest.split("/"))
        with self._lock:
            if to:
                return self._to_another(bucket, source, to, query, body)
            return self._object(method, f"{bucket}/{source}", query, headers, body)

    def _must_exist(self, bucket: str) -> None:
        if bucket not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")

    def _allow(self, permission: str) -> None:
        if permission in self.denied:
            raise Refused(403, f"Permission '{permission}' denied on resource (or it may not exist).")

    def _bucket(self, method: str, bucket: str | None, query: Query, body: bytes) -> Answer:
        def resource(name: str) -> dict[str, Any]:
            return {"kind": "storage#bucket", "id": name, "name": name, "location": "EU", "storageClass": "STANDARD"}

        if bucket is None and method == "GET":
            self._allow("storage.buckets.list")
            return Answer(200, {"kind": "storage#buckets", "items": [resource(name) for name in sorted(self.buckets)]})
        if bucket is None and method == "POST":
            self._allow("storage.buckets.create")
            name = json.loads(body)["name"]
            if name in self.buckets:
                raise Refused(409, "Your previous request to create the named bucket succeeded and you already own it.")
            self.buckets.add(name)
            return Answer(200, resource(name))
        self._must_exist(bucket or "")
        self._allow(f"storage.buckets.{ {'DELETE': 'delete', 'PATCH': 'update'}.get(method, 'get') }")
        if method == "DELETE":
            if any(path.startswith(f"{bucket}/") for path in self.objects):
                raise Refused(409, "The bucket you tried to delete is not empty.")
            self.buckets.discard(bucket or "")
            return Answer(204)
        return Answer(200, resource(bucket or ""))

    def _list(self, bucket: str, query: Query) -> Answer:
        """A page of objects, and of the prefixes that end with the delimiter."""
        self._allow("storage.objects.list")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start = base64.urlsafe_b64decode(query.get("pageToken", "")).decode() or query.get("startOffset", "")
        with self._lock:
            names = [name for path in self.objects if (name := path.removeprefix(f"{bucket}/")) != path]
        items: list[dict[str, Any]] = []
        prefixes: dict[str, None] = {}
        end, most = query.get("endOffset"), min(int(query.get("maxResults", _PAGE)), _PAGE)
        for name in sorted((name for name in names if name.startswith(prefix)), key=str.encode):
            head, separator, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            folder = prefix + head + separator if separator else ""
            if name.encode() < start.encode() and not (folder and folder.encode() >= start.encode()):
                continue
            if end and name.encode() >= end.encode():
                break
            if len(items) + len(prefixes) >= most and folder not in prefixes:
                token = base64.urlsafe_b64encode((folder or name).encode()).decode()
                break
            if folder:
                prefixes[folder] = None
            if not folder or (query.get("includeTrailingDelimiter") == "true" and folder == name):
                with self._lock:
                    items += [self.resources[f"{bucket}/{name}"]] if f"{bucket}/{name}" in self.resources else []
        else:
            token = ""
        reply = {"kind": "storage#objects", "nextPageToken": token, "prefixes": list(prefixes), "items": items}
        return Answer(200, {key: value for key, value in reply.items() if value})

    def _object(self, method: str, path: str, query: Query, headers: Mapping[str, str], body: bytes) -> Answer:
        self._allow(f"storage.objects.{ {'DELETE': 'delete', 'PATCH': 'update'}.get(method, 'get') }")
        resource = self._found(path, query.get("generation"))
        self._check(path, query, unchanged=304 if method == "GET" else 412)
        if method == "DELETE":
            self._forget(path)
            return Answer(204)
        if method == "PATCH":
            changes = {key: value for key, value in json.loads(body).items() if key in _WRITABLE}
            resource |= changes | {"metageneration": str(int(resource["metageneration"]) + 1)}
            return Answer(200, resource)
        if query.get("alt") != "media":
            return Answer(200, resource)
        return _download(self.objects[path], resource, headers.get("Range"))

    def _to_another(self, bucket: str, source: str, to: list[str], query: Query, body: bytes) -> Answer:
        """``compose``, ``moveTo``, ``copyTo`` and ``rewriteTo``, the latter always in one go."""
        self._allow("storage.objects.get")
        path = f"{bucket}/{source}"
        if to == ["compose"]:
            asked = json.loads(body)
            parts = [f"{bucket}/{item['name']}" for item in asked["sourceObjects"]]
            told = {"contentType": self._found(parts[0], None)["contentType"], **asked.get("destination", {})}
            return Answer(200, self._write(path, b"".join(self.objects[part] for part in parts), told, query))
        stored = self._found(path, query.get("sourceGeneration"))
        told = {**stored, **(json.loads(body or b"{}"))}
        match to:
            case ["moveTo", "o", name]:
                self._allow("storage.objects.delete")
                moved = self._write(f"{bucket}/{name}", self.objects[path], told, query)
                self._forget(path)
                return Answer(200, moved)
            case ["copyTo" | "rewriteTo" as verb, "b", target, "o", name]:
                self._must_exist(target)
                made = self._write(f"{target}/{name}", self.objects[path], told, query)
                if verb == "copyTo":
                    return Answer(200, made)
                size = {"totalBytesRewritten": made["size"], "objectSize": made["size"]}
                return Answer(200, {"kind": "storage#rewriteResponse", "done": True, "resource": made, **size})
        raise Refused(404, f"no such method: {'/'.join(to)}")

    def _upload(
        self, method: str, bucket: str, query: Query, headers: Mapping[str, str], body: bytes, address: str
    ) -> Answer:
        self._must_exist(bucket)
        if "upload_id" in query:
            return self._chunk(method, query["upload_id"], headers.get("Content-Range"), body)
        content_type = headers.get("Content-Type") or "application/octet-stream"
        if query.get("uploadType") == "media":
            told = {"contentType": content_type}
            return Answer(200, self._write(f"{bucket}/{query['name']}", body, told, query))
        if query.get("uploadType") == "multipart":
            told, data = _parts(content_type, body)
            return Answer(200, self._write(f"{bucket}/{told.get('name') or query['name']}", data, told, query))
        if query.get("uploadType") != "resumable":
            raise Refused(400, f"Unknown uploadType {query.get('uploadType')}")
        told = {"contentType": headers.get("X-Upload-Content-Type") or "application/octet-stream"}
        told |= {"name": query.get("name"), **json.loads(body or b"{}")}
        with self._lock:
            id_ = f"upload-{len(self._uploads)}"
            self._uploads[id_] = Upload(bucket, told, query)
        url = f"http://{address}/upload/storage/v1/b/{quote(bucket)}/o?uploadType=resumable&upload_id={id_}"
        return Answer(200, b"", {"Location": url, "X-GUploader-UploadID": id_})

    def _chunk(self, method: str, id_: str, content_range: str | None, body: bytes) -> Answer:
        """One chunk of a resumable upload, or, without a chunk, a question how far the upload has got."""
        upload = self._uploads.get(id_)
        if not upload:
            raise Refused(404, f"No upload {id_}")
        if method == "DELETE":
            del self._uploads[id_]
            return Answer(499)
        match = re.fullmatch(
            r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", content_range or f"bytes 0-{len(body) - 1}/{len(body)}"
        )
        if not match:
            raise Refused(400, f"Content-Range {content_range} cannot be read")
        start, last, total = match.groups()
        if start is not None:
            if int(start) > len(upload.data) or int(last) - int(start) + 1 != len(body):
                raise Refused(
                    400, f"Content-Range {content_range} does not fit {len(body)} bytes after {len(upload.data)}"
                )
            new = body[len(upload.data) - int(start) :]
            # What is no multiple of a block is kept only if it is the end.
            ends = total != "*" and int(last) + 1 == int(total)
            upload.data += new if ends else new[: len(new) - len(new) % _BLOCK]
        if total != "*" and len(upload.data) == int(total):
            made = self._write(f"{upload.bucket}/{upload.told['name']}", upload.data, upload.told, upload.query)
            self._uploads.pop(id_)
            return Answer(200, made)
        return Answer(308, b"", {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {})

    def _write(self, path: str, data: bytes | bytearray, told: Mapping[str, Any], query: Query) -> dict[str, Any]:
        """Make an object, if the caller may, and the preconditions and checksums are right."""
        for name, digest in (("md5Hash", _md5), ("crc32c", _crc32c)):
            if name in told and base64.b64decode(told[name]) != digest(data):
                raise Refused(400, f"Provided {name} does not match the object's content.")
        with self._lock:
            self._allow("storage.objects.create")
            if path in self.objects:
                self._allow("storage.objects.delete")
            self._check(path, query, unchanged=412)
            return self.put(path, data, **told)

    def _found(self, path: str, generation: str | None) -> dict[str, Any]:
        resource = self.resources.get(path)
        if not resource or generation not in (None, resource["generation"]):
            raise Refused(404, f"No such object: {path}")
        return resource

    def _check(self, path: str, query: Query, unchanged: int) -> None:
        """Preconditions; generation 0 means that there is no object."""
        resource = self.resources.get(path, {"generation": "0", "metageneration": "0"})
        if any(
            resource[key] != query.get(f"if{key.capitalize()}Match", resource[key])
            for key in ("generation", "metageneration")
        ):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.")
        if resource["generation"] == query.get("ifGenerationNotMatch"):
            raise Refused(unchanged, "At least one of the pre-conditions you specified did not hold.")

    def _forget(self, path: str) -> None:
        del self.objects[path], self.resources[path]


def _md5(data: bytes | bytearray) -> bytes:
    return hashlib.md5(data).digest()


def _crc32c(data: bytes | bytearray) -> bytes:
    checksum = google_crc32c.Checksum()
    for start in range(0, len(data), 2**24):
        checksum.update(bytes(data[start : start + 2**24]))
    return checksum.digest()


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart upload: what is told about the object, and its content."""
    match = re.search(r'boundary="?([^";]+)', content_type)
    boundary = b"--" + match[1].encode() if match else b""
    newline = b"\r\n" if body.startswith(boundary + b"\r\n") else b"\n"
    _head, _, rest = body.partition(newline * 2)
    about, _, rest = rest.partition(newline + boundary)
    head, _, rest = rest.partition(newline * 2)
    end = rest.rfind(newline + boundary + b"--")
    if not match or end < 0:
        raise Refused(400, "The multipart body cannot be read.")
    type_ = re.search(rb"(?i)content-type: *([^\r\n]+)", head)
    return {"contentType": type_[1].decode() if type_ else None, **json.loads(about)}, rest[:end]


def _download(data: bytes | bytearray, resource: Mapping[str, Any], wanted: str | None) -> Answer:
    headers = {
        "Content-Type": resource["contentType"], "Accept-Ranges": "bytes", "ETag": resource["etag"],
        "X-Goog-Generation": resource["generation"], "X-Goog-Metageneration": resource["metageneration"],
        "X-Goog-Hash": f"crc32c={resource['crc32c']},md5={resource['md5Hash']}",
        "X-Goog-Stored-Content-Length": resource["size"],
    }  # fmt: skip
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
    if not match or match.groups() == ("", ""):
        return Answer(200, memoryview(data), headers)
    first, last = match.groups()
    start = int(first) if first else max(0, len(data) - int(last))
    end = min(int(last) + 1, len(data)) if first and last else len(data)
    if start >= len(data):
        raise Refused(416, f"The requested range is not satisfiable: {wanted}")
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
    return Answer(206, memoryview(data)[start:end], headers)


@contextmanager
def cloud_storage(*buckets: str) -> Iterator[Storage]:
    """Serve it on loopback, with these buckets, or one that is called ``bucket``."""
    storage = Storage(set(buckets) or {"bucket"})

    class Handler(JsonHandler):
        disable_nagle_algorithm = True
        wbufsize = 64 * 1024  # head and body of a small answer leave together

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that has been killed
                if self.connection.recv(1, socket.MSG_PEEK) != _HANDSHAKE:
                    super().handle()
                    return
                storage.grpc += 1
                while self.connection.recv(2**16):
                    pass

        def handle_any(self) -> None:
            if self.headers.get("Transfer-Encoding"):
                self.close_connection = True
                self.answer(411, {"error": {"code": 411, "message": "Length required"}})
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            query: dict[str, str] = {}
            for key, value in parse_qsl(url.query, keep_blank_values=True):
                query[key] = f"{query[key]},{value}" if key == "permissions" and key in query else value
            try:
                reply = storage.answer(self.command, url.path, query, self.headers, body, self.headers["Host"])
            except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
                status, message = error.args if isinstance(error, Refused) else (400, f"cannot be read: {error!r}")
                errors = [{"domain": "global", "reason": "refused", "message": message}]
                reply = Answer(status, {"error": {"code": status, "message": message, "errors": errors}})
            data = reply.body
            if not isinstance(data, bytes | memoryview):
                data = json.dumps(data).encode()
                reply.headers["Content-Type"] = "application/json; charset=UTF-8"
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD" and reply.status not in (204, 304):
                self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    with served(Handler) as address:
        storage.environment = {
            "STORAGE_EMULATOR_HOST": f"http://{address}",
            # Nobody has credentials here, so there is no need to look for a metadata server.
            "NO_GCE_CHECK": "true",
        }
        yield storage
