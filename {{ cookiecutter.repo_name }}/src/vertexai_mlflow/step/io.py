"""KFP's protocol as a step sees it: the executor input that it gets, and the executor output that it writes."""

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import fsspec

from ..contract import names, params
from ..contract.arguments import digest_of
from ..contract.places import MOUNT, is_below, is_local, mismatch
from ..errors import UserError


class StepIO:
    """What a task reads and writes. It never changes.

    Args:
        executor_input: KFP's ExecutorInput.
        imported: see ``StepArguments``; what it says of an artifact replaces what the platform says.

    Attributes:
        parameters: the values of the input parameters.
        params: the job's runtime parameters, decoded.
        resolved: the values of the configuration that the first task has resolved, decoded.
        inputs: the input artifacts by key.
        outputs: the output artifacts by key.
        output_file: where the executor output belongs.
    """

    def __init__(
        self, executor_input: Mapping[str, Any], imported: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        inputs, outputs = executor_input.get("inputs", {}), executor_input.get("outputs", {})
        self.parameters = inputs.get("parameterValues", {})
        self.params = params.decode(self.parameters.get(names.PARAMS, {}))
        self.resolved = params.decode(self.parameters.get(names.RESOLVED, {}))
        self._imported = imported or {}
        self.inputs = {key: self._as_compiled(key, artifact) for key, artifact in _artifacts(inputs).items()}
        self.outputs = _artifacts(outputs)
        self._artifacts = {**self.inputs, **self.outputs}
        self.output_file: str = outputs.get("outputFile", "")

    def opened(self, indexes: Iterable[str], root: str, known: Mapping[str, str] | None = None) -> Self:
        """The same with the input artifacts that these ones stand for, instead of these.

        Args:
            indexes: the keys of artifacts that are indexes.
            root: see ``refuse_uris_outside``.
            known: see ``StepArguments``.

        Raises:
            UserError: when one is not where it can be, is not what its task has written, or says something else of an
                artifact than was known when the job was compiled.
        """
        self.refuse_uris_outside(root, indexes)
        inputs = {key: artifact for key, artifact in self.inputs.items() if key not in indexes}
        for key in indexes:
            with fsspec.open(_index_file(self.uri(key)), "rb") as file:
                content = file.read()
            if (sha256 := hashlib.sha256(content).hexdigest()) != (recorded := self.sha256(key)):
                raise UserError(mismatch(_index_file(self.uri(key)), sha256, recorded))
            members = json.loads(content)
            marked = {name: one for name, one in members.items() if one.get(names.KNOWN)}
            hashes = {name: {"uri": one["uri"], "sha256": one["metadata"]["sha256"]} for name, one in marked.items()}
            if digest_of(hashes) != (known or {}).get(key, digest_of({})):
                raise UserError(
                    f"{_index_file(self.uri(key))} names other addresses or hashes of uploaded data, or of results of "
                    "the resumed job, than the spec of this job. Somebody may have replaced it. Launch the job again."
                )
            inputs |= members
        return self._with(inputs, self.outputs)

    def spread(self, index: str, keys: Iterable[str]) -> Self:
        """The same with a place for each of the artifacts that an output artifact will stand for, instead of that.

        Args:
            index: the key of that artifact; if it is empty, each of the others is an output artifact already.
            keys: the keys of the others.
        """
        if not index:
            return self
        home = self.uri(index).rstrip("/")
        return self._with(self.inputs, {key: {"name": key, "uri": f"{home}/{key}"} for key in keys})

    def write_index(self, index: str, members: Mapping[str, Mapping[str, Any]], **more: str) -> dict[str, Any]:
        """Write down what an output artifact stands for.

        Args:
            index: the key of that artifact.
            members: the artifacts that it stands for, by key.
            more: its metadata, besides the hash.

        Returns:
            The artifact, as KFP's ExecutorOutput has it.
        """
        content = json.dumps(members, allow_nan=False).encode()
        uri = _index_file(self.uri(index))
        with fsspec.open(uri, "wb", auto_mkdir=is_local(uri)) as file:
            file.write(content)
        metadata = {"sha256": hashlib.sha256(content).hexdigest(), names.MEMBERS: len(members), **more}
        artifact = {"name": self.outputs[index]["name"], "uri": self.uri(index), "metadata": metadata}
        return {index: {"artifacts": [artifact]}}

    def _with(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> Self:
        other = copy.copy(self)
        other.inputs, other.outputs, other._artifacts = dict(inputs), dict(outputs), {**inputs, **outputs}
        return other

    def refuse_uris_outside(self, root: str, keys: Iterable[str]) -> None:
        """Refuse artifacts that a job of this environment cannot have made.

        Args:
            root: URI below which its jobs keep their artifacts; empty if any place will do.
            keys: the artifacts that are read by their URI.

        Raises:
            UserError: naming the artifact and its URI.
        """
        if self._is_of_this_machine():
            return
        for key in keys:
            if root and key in self.inputs and key not in self._imported:
                uri = self.uri(key)
                if not is_below(uri, root):
                    raise UserError(
                        f"Artifact {key} is said to be at {uri}, but the jobs of this environment keep their artifacts "
                        f"below {root}. Somebody may have changed its address. Run the step that makes it again."
                    )

    def _as_compiled(self, key: str, artifact: Mapping[str, Any]) -> Mapping[str, Any]:
        """An artifact with the URI and the hash that it had when the job was compiled, if it was known then."""
        if not (known := self._imported.get(key)):
            return artifact
        return {
            **artifact,
            "uri": known["uri"],
            "metadata": {**artifact.get("metadata", {}), "sha256": known["sha256"]},
            names.KNOWN: True,
        }

    def uri(self, key: str) -> str:
        """The URI of an artifact."""
        return str(self._artifacts[key]["uri"])

    def sha256(self, key: str) -> str | None:
        """The recorded hash of an input artifact, empty if it has none; None for an artifact that this step makes."""
        return None if key in self.outputs else self._metadata(key).get("sha256", "")

    def model_uri(self, key: str) -> str:
        """The MLflow address of the model behind an artifact; empty if this step makes it."""
        return self._metadata(key).get("model_uri", "")

    def versions_to_load(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Dataset → the version under which an earlier step has saved it, by the keys of its artifacts."""
        inputs = {dataset: key for dataset, key in keys.items() if key in self.inputs}
        return {dataset: text for dataset, key in inputs.items() if (text := self._metadata(key).get("version"))}

    def has_no_files(self, key: str) -> bool:
        """Whether the step that made an artifact has recorded that there was nothing to carry."""
        return self._metadata(key).get("files") == 0

    def steps_of_other_jobs(self, job: str) -> dict[str, str]:
        """The steps whose results come from another job → the name of that job."""
        metadata = [artifact.get("metadata", {}) for artifact in self._artifacts.values()]
        return {item["step"]: item["job"] for item in metadata if item.get("job", job) != job}

    def write(self, output: Mapping[str, Any]) -> None:
        """Write KFP's ExecutorOutput, from which the platform learns what the task has made.

        Vertex AI names a file in the bucket by its path below the mount, ``/gcs/…``, where the image's user may not be
        allowed to write.
        """
        uri = re.sub(f"^{MOUNT}", "gs://", self.output_file)
        with fsspec.open(uri, "w", encoding="utf-8", auto_mkdir=is_local(uri)) as file:
            json.dump(output, file, allow_nan=False)

    def write_beside(self, name: str, text: str) -> None:
        """Write a file beside the executor output for ``run-local``. On Vertex AI nobody reads it, so there is none."""
        if self._is_of_this_machine():
            Path(self.output_file).with_name(name).write_text(text, encoding="utf-8")

    def _is_of_this_machine(self) -> bool:
        """Whether the job is one of ``run-local``, whatever the root of its environment."""
        return is_local(self.output_file) and not self.output_file.startswith(MOUNT)

    def _metadata(self, key: str) -> Mapping[str, Any]:
        return self._artifacts[key].get("metadata", {})


def _index_file(uri: str) -> str:
    return f"{uri.rstrip('/')}/{names.INDEX_FILE}"


def _artifacts(side: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {key: value["artifacts"][0] for key, value in side.get("artifacts", {}).items()}
