"""Artifact Registry to somebody who reads: the manifests and configurations of images, by the registry's own protocol."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .google_identity import Google, JsonHandler

if TYPE_CHECKING:
    from .google_apis import Cloud

# What a configuration, a manifest and an index are called.
# https://github.com/opencontainers/image-spec/blob/main/media-types.md
_OCI = [f"application/vnd.oci.image.{kind}.v1+json" for kind in ("config", "manifest", "index")]
_DOCKERS = [
    f"application/vnd.docker.{kind}+json"
    for kind in ("container.image.v1", "distribution.manifest.v2", "distribution.manifest.list.v2")
]
_DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
# Where gcr.io keeps its blobs. Artifact Registry keeps them at an address of its own host.
_STORAGE = "storage-download.googleapis.com"


@dataclass(frozen=True)
class Image:
    """An image, as the tool that has built it pushes it.

    Args:
        platforms: ``os/architecture`` of each variant. One that is empty is not told, neither by the index nor by
            the variant's configuration.
        index: whether the name stands for an index of the variants, or for the manifest of the one that there is.
        attested: whether the index also lists an attestation, as buildx makes it.
        oci: whether the documents are of OCI's types, or of docker's own.
        labels: the labels of each variant.
    """

    platforms: tuple[str, ...] = ("linux/amd64",)
    index: bool = False
    attested: bool = False
    oci: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    def documents(self) -> list[tuple[str, str]]:
        """Media type and text of all that the registry has of it; the last one is what the name stands for."""
        config_type, manifest_type, index_type = _OCI if self.oci else _DOCKERS
        blobs, entries = [], []
        for platform in [*self.platforms, *(["unknown/unknown"] if self.attested else [])]:
            told = dict(zip(("os", "architecture"), platform.split("/"), strict=True)) if platform else {}
            config = json.dumps(
                {**told, "config": {"Labels": dict(self.labels)}, "rootfs": {"type": "layers", "diff_ids": []}}
            )
            manifest = {
                "schemaVersion": 2, "mediaType": manifest_type, "config": _described(config_type, config), "layers": [],
            }  # fmt: skip
            blobs += [(config_type, config), (manifest_type, json.dumps(manifest))]
            entry = _described(manifest_type, json.dumps(manifest)) | ({"platform": told} if told else {})
            if platform == "unknown/unknown":
                of = {"type": "attestation-manifest", "digest": str(entries[0]["digest"])}
                entry["annotations"] = {f"vnd.docker.reference.{key}": value for key, value in of.items()}
            entries.append(entry)
        if self.index:
            blobs.append((index_type, json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": entries})))
        return blobs

    @property
    def digest(self) -> str:
        """The digest of what its name stands for."""
        return _digest(self.documents()[-1][1])


def serve(google: Google, host: str, cloud: "Cloud") -> None:
    """Be the registry at a host of Google's, with the images of a cloud, to those whom it does not deny to download."""

    def answer(handler: JsonHandler) -> None:
        who = google.tokens.get((handler.headers["Authorization"] or "").removeprefix("Bearer "))
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", handler.path)
        download = re.fullmatch(r"/artifacts-downloads/namespaces/(.+)/downloads/(.+)", handler.path)
        if handler.command not in ("GET", "HEAD"):
            _refuse(handler, 405, "UNSUPPORTED", "The operation is unsupported.")
        elif download:
            _send(handler, cloud.images, *download.groups())
        elif who is None:
            _refuse(handler, 401, "UNAUTHORIZED", "authentication required", **{
                "WWW-Authenticate": f'Bearer realm="https://{host}/v2/token",service="{host}"'
            })  # fmt: skip
        elif not match:
            _refuse(handler, 404, "NAME_UNKNOWN", f"no such path: {handler.path}")
        elif (who, _DOWNLOAD) in cloud.denied:
            _refuse(handler, 403, "DENIED", f'Permission "{_DOWNLOAD}" denied on resource (or it may not exist)')
        elif match[2] == "manifests":
            _manifest(handler, cloud.images, match[1], match[3])
        else:
            # https://github.com/ahmetb/serverless-registry-proxy/issues/8 shows such an address.
            elsewhere = f"https://{_STORAGE}" if host.endswith("gcr.io") else ""
            place = f"{elsewhere}/artifacts-downloads/namespaces/{match[1]}/downloads/{match[3]}"
            handler.answer(302, "", headers={"Location": place})

    def storage(handler: JsonHandler) -> None:
        """The address is signed, and whoever sends a token as well is refused. It was not for this host."""
        if handler.headers["Authorization"]:
            handler.answer(400, "<Error><Code>InvalidArgument</Code></Error>", "application/xml")
        else:
            answer(handler)

    google.servers |= {host: answer, _STORAGE: storage}


def _manifest(handler: JsonHandler, images: Mapping[str, Image], name: str, reference: str) -> None:
    """What a tag or a digest stands for, to a client that knows what that is."""
    tagged = images.get(f"{name}:{reference}")
    documents = tagged.documents()[-1:] if tagged else _all(images, name)
    accepted = re.split(r",\s*", handler.headers["Accept"] or "")
    for media_type, text in documents:
        if media_type in accepted and (tagged or _digest(text) == reference):
            handler.answer(200, text, media_type, {"Docker-Content-Digest": _digest(text)})
            return
    _refuse(handler, 404, "MANIFEST_UNKNOWN", f'Failed to fetch "{reference}"')


def _send(handler: JsonHandler, images: Mapping[str, Image], name: str, digest: str) -> None:
    """A blob: the configuration of an image."""
    for media_type, text in _all(images, name):
        if media_type in (_OCI[0], _DOCKERS[0]) and _digest(text) == digest:
            handler.answer(200, text, "application/octet-stream")
            return
    _refuse(handler, 404, "BLOB_UNKNOWN", "blob unknown to registry")


def _all(images: Mapping[str, Image], name: str) -> list[tuple[str, str]]:
    return [document for tag, image in images.items() if tag.split(":")[0] == name for document in image.documents()]


def _described(media_type: str, text: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(text), "size": len(text)}


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _refuse(handler: JsonHandler, status: int, code: str, message: str, **headers: str) -> None:
    handler.answer(status, {"errors": [{"code": code, "message": message}]}, headers=headers)
