"""Run one pipeline by ``kedro run``, compiled on this machine, and compiled with a disk for each step; nodes record what they find."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.storage import cloud_storage
from own_disks import run_on_own_disks
from running import environment
from warm_kedro import warm_kedro

from vertexai_mlflow.local.scheduler import RunOptions, run_spec

WAYS = ("kedro run", "run-local", "own disks")
ROOT = "gs://bucket/root"


def record_in_each_way(
    project: Path,
    chosen: Iterable[str],
    in_image: Iterable[str],
    prepare: Callable[[], None],
    run_config: Mapping[str, Any] | None = None,
    env: str = "",
) -> tuple[dict[str, dict[str, str]], str]:
    """Run a project's pipeline three times.

    Args:
        project: the project.
        chosen: options that choose the pipeline, for ``kedro run`` and for compiling.
        in_image: files and folders that are in the image besides those that .dockerignore lets in.
        prepare: called before each run.
        run_config: ``run_config`` of ``vertexai.yml``, besides image and root.
        env: the configuration environment.

    Returns:
        Way → what each node recorded: the name of its file in the folder RECORD → its text; and what compiling printed.
    """
    records = {way: project.parent / way for way in WAYS}
    for record in records.values():
        record.mkdir()
    variables = {"KEDRO_ENV": env} if env else {}
    printed_by_compile = []

    def compiled(**more: str) -> dict[str, Any]:
        settings = {"run_config": {"image": "x", **(run_config or {}), **more}}
        (project / "conf/base/vertexai.yml").write_text(yaml.safe_dump(settings))
        code, printed = kedro("vertexai", "compile", *chosen, **variables)
        assert code == 0, printed
        printed_by_compile.append(printed)
        return json.loads((project / "pipeline.json").read_text())

    with cloud_storage() as storage, warm_kedro(project, **storage.environment) as kedro:
        prepare()
        code, printed = kedro("run", *chosen, **variables, RECORD=str(records["kedro run"]))
        assert code == 0, printed
        prepare()
        spec = compiled()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(RECORD=str(records["run-local"]), PYTHONPATH=str(project / "src")).items():
                patch.setenv(name, value)
            job = run_spec(spec, RunOptions(project / ".vertexai", project, preloaded=kedro.preloaded))
        assert job.state == "SUCCEEDED", "".join(Path(task.log).read_text() for task in job.failed_tasks)
        prepare()
        run_on_own_disks(
            compiled(root=ROOT), project, ROOT, kedro.preloaded, in_image, RECORD=str(records["own disks"]),
            **storage.environment,
        )  # fmt: skip
    texts = {way: {path.name: path.read_text() for path in record.iterdir()} for way, record in records.items()}
    return texts, "".join(printed_by_compile)
