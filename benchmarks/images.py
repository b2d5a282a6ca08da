"""The image: its size against kedro-docker's own template, a rebuild, and what compiled bytecode is worth.

Needs a Docker engine; ``.ci/engine up FOLDER`` starts one on a bare machine.
"""

import gzip
import json
import shutil
import tarfile
import tomllib
from pathlib import Path
from types import SimpleNamespace

from timing import BIN, ROOT, Row, median, ratio, run

from vertexai_mlflow.commands.working_tree import packed

OURS, THEIRS, BARE = "bench-ours:1", "bench-theirs:1", "bench-bare:1"
_WITHOUT_BYTECODE = f"""
FROM {OURS}
USER root
RUN find /opt/venv /home/kedro -name __pycache__ -prune -exec rm -r {{}} +
USER kedro
"""


def measure_image(folder: Path) -> list[Row]:
    """Sizes in MB as docker tells them, layers shared with the base included."""
    answers = ["project_name=Image"]
    run([str(BIN / "cookiecutter"), str(ROOT), "--no-input", "-o", str(folder), *answers], ROOT)
    project = folder / "image"
    _build(OURS, project)
    theirs = folder / "theirs"
    shutil.copytree(project, theirs)
    _as_kedro_docker_has_it(theirs)
    _build(THEIRS, theirs, "--build-arg", "BASE_IMAGE=python:3.11-slim")
    bare = folder / "bare"
    bare.mkdir()
    (bare / "Dockerfile").write_text(_WITHOUT_BYTECODE)
    _build(BARE, bare)

    nodes = project / "src/image/pipelines/penguins/nodes.py"
    before = _layers(OURS)

    def rebuild() -> None:
        nodes.write_text(nodes.read_text() + "\n# changed\n")
        _build(OURS, project)

    rebuilt = median(rebuild, 3)
    new = len([layer for layer in _layers(OURS) if layer not in before])
    pushed = sum(size for size in _sizes(OURS)[:new]) / 1e6
    sent = _compressed(OURS, new, folder)
    archive = len(packed(SimpleNamespace(path=project, conf=project / "conf"), "gs://bucket").archive)
    compiled, plain = (median(lambda image=image: _start(image), 3) for image in (OURS, BARE))
    ours, their = (_size(image) / 1e6 for image in (OURS, THEIRS))
    by_theirs, without = f"by kedro-docker's template: {their:.0f} MB", f"without bytecode: {plain:.1f} s"
    return [
        ("size of the example's image", f"{ours:.0f} MB", by_theirs, ratio(ours, their)),
        ("rebuild after a change of the code", f"{rebuilt:.1f} s", "at most 10 s", ratio(rebuilt, 10)),
        ("new layers after it", f"{pushed:.2f} MB", "at most 1 MB", ratio(pushed, 1)),
        (
            "bytes sent to run an edit, by `--upload-code`",
            f"{archive / 1e3:.0f} kB",
            f"the new layers, compressed as push sends them: {sent / 1e3:.0f} kB",
            ratio(archive, sent),
        ),
        ("a step's start in its container", f"{compiled:.1f} s", without, ratio(compiled, plain)),
    ]


def _as_kedro_docker_has_it(project: Path) -> None:
    """Its Dockerfile and ``.dockerignore``, and the project's dependencies where it looks for them."""
    import kedro_docker

    template = Path(kedro_docker.__file__).parent / "template"
    shutil.copy(template / "Dockerfile.simple", project / "Dockerfile")
    shutil.copy(template / ".dockerignore", project / ".dockerignore")
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    requirements = [*declared["dependencies"], *declared["optional-dependencies"]["launch"]]
    (project / "requirements.txt").write_text("\n".join(requirements))


def _build(image: str, folder: Path, *arguments: str) -> None:
    run(["docker", "build", "--network", "host", "--tag", image, *arguments, "."], folder)


def _start(image: str) -> None:
    """From ``docker run`` to a step that has its imports behind it."""
    run(["docker", "run", "--rm", "--network", "host", image, "python", "-m", "vertexai_mlflow.step", "--help"], ROOT)


def _compressed(image: str, new: int, folder: Path) -> int:
    """What the newest layers of an image have, in bytes, when they are compressed."""
    run(["docker", "save", "--output", str(folder / "saved.tar"), image], ROOT)
    with tarfile.open(folder / "saved.tar") as saved:
        manifest = json.load(saved.extractfile("manifest.json"))
        layers = [saved.extractfile(name).read() for name in manifest[0]["Layers"][-new:]]
    return sum(len(gzip.compress(layer)) for layer in layers)


def _inspect(image: str) -> dict:
    return json.loads(run(["docker", "image", "inspect", image], ROOT))[0]


def _size(image: str) -> int:
    return _inspect(image)["Size"]


def _layers(image: str) -> list[str]:
    return _inspect(image)["RootFS"]["Layers"]


def _sizes(image: str) -> list[int]:
    """Sizes of the layers that have any, newest first."""
    printed = run(["docker", "history", "--human=false", "--format", "{{.Size}}", image], ROOT)
    return [int(size) for size in printed.split() if int(size)]
