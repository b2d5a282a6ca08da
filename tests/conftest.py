"""What tests of generated projects share: baking one, and the small cloud that it is launched in."""

import compileall
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import in_place  # noqa: F401
import pytest
from cookiecutter.main import cookiecutter
from fakes.artifact_registry import Image
from fakes.google_apis import Cloud
from fakes.google_identity import Google, google_identity
from fakes.iap import Iap, identity_aware_proxy
from fakes.vertex import Vertex, vertex_ai
from google.auth.compute_engine import _metadata
from mlflow_server import mlflow_server
from running import BIN, ROOT, commit, copy_working_tree, environment, run
from small_cloud import ACCOUNT, CLIENT_ID, REGISTRY, configure, name_experiment

pytest_plugins = ["docker_engine"]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter as a Git repository whose newest commit is the working tree, as it would be pushed."""
    clone = tmp_path_factory.mktemp("starter")
    copy_working_tree(clone)
    # The template has a file that generated projects leave out of Git.
    for command in (["init", "-q"], ["add", "--all", "--force"], ["remote", "add", "origin", f"file://{clone}"]):
        assert run("git", *command, cwd=clone).returncode == 0
    commit(clone)
    return clone


@pytest.fixture(autouse=True)
def no_provider_is_left() -> Iterator[None]:
    """A header provider that a test makes in this process would speak for, and guard, the requests of the next tests."""
    yield
    if module := sys.modules.get("vertexai_mlflow.auth.header_provider"):
        module.RequestHeaderProviderWithKedroContext._newest = None
        os.environ.pop("MLFLOW_TRACKING_AUTH", None)


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Generate a project with plain cookiecutter, once for the same answers; it is there to be copied."""

    @cache
    def baked(**answers: str) -> Path:
        folder = str(tmp_path_factory.mktemp("baked"))
        return Path(cookiecutter(str(ROOT), no_input=True, output_dir=folder, extra_context=answers))

    return baked


@pytest.fixture(scope="session")
def bytecode(baked: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder ``src`` of a project whose platform is compiled, which is the same in every project."""
    source = shutil.copytree(baked(project_name="Test Project") / "src", tmp_path_factory.mktemp("bytecode") / "src")
    assert compileall.compile_dir(source / "vertexai_mlflow", quiet=2)
    return source


@pytest.fixture
def bake(baked: Callable[..., Path], bytecode: Path, tmp_path: Path) -> Callable[..., Path]:
    """Generate a project of the test's own with these answers. Its platform is compiled, as after the first command."""

    def bake(**answers: str) -> Path:
        template = baked(**{"project_name": "Test Project", **answers})
        project = shutil.copytree(template, tmp_path / template.name)
        for file in bytecode.rglob("*.pyc"):
            source = file.parents[1] / f"{file.name.partition('.')[0]}.py"
            copy = project / "src" / source.relative_to(bytecode)
            # Python compares the time of the source with the one that it has noted.
            shutil.copystat(source, copy)
            (copy.parent / "__pycache__").mkdir(exist_ok=True)
            shutil.copy(file, copy.parent / "__pycache__")
        return project

    return bake


@pytest.fixture
def with_pipeline(bake: Callable[..., Path]) -> Callable[..., Path]:
    """Generate a project without the example and give it one pipeline, the text of whose module this is."""

    def with_pipeline(source: str, **answers: str) -> Path:
        project = bake(example="no", **answers)
        package = project / "src/test_project/pipelines/under_test"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(source)
        return project

    return with_pipeline


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server."""
    with mlflow_server(BIN / "mlflow", tmp_path_factory.mktemp("mlflow"), environment()) as url:
        yield url


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    with google_identity(tmp_path) as google:
        google.environment["CLOUDSDK_CONFIG"] = str(tmp_path / "gcloud")
        yield google


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    """Google's endpoints, which google-auth in this process talks to."""
    folder = tmp_path_factory.mktemp("google")
    with google_identity(folder) as google, pytest.MonkeyPatch.context() as patch:
        for name, value in {**google.environment, "CLOUDSDK_CONFIG": str(folder / "gcloud")}.items():
            patch.setenv(name, value)
        patch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        # google-auth reads the address of the metadata server when it is imported.
        importlib.reload(_metadata)
        yield google
    importlib.reload(_metadata)


@pytest.fixture
def iap(mlflow_url: str, google: Google) -> Iterator[Iap]:
    with identity_aware_proxy(mlflow_url, google, CLIENT_ID, {ACCOUNT}) as iap:
        yield iap


@pytest.fixture
def vertex(google: Google, tmp_path: Path) -> Iterator[Vertex]:
    """The Vertex AI API; its jobs run in the project that is baked below ``tmp_path``."""
    with vertex_ai(
        project="project-42", region="europe-west1", cwd=tmp_path / "test-project", folder=tmp_path / "jobs",
        environment=environment(**google.environment),
    ) as vertex:  # fmt: skip
        yield vertex


@pytest.fixture
def cloud(google: Google, vertex: Vertex) -> Cloud:
    cloud = Cloud({ACCOUNT}, {"bucket"}, {"project-42/images/test-project:latest": Image()}, logs=vertex.logs)
    cloud.serve(google, REGISTRY)
    return cloud


@pytest.fixture
def launchable(vertex: Vertex, iap: Iap, request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Make a baked project launch there, with an MLflow experiment named after the test."""

    def launchable(project: Path, run_config: str = "") -> Path:
        name_experiment(project, request.node.originalname)
        configure(project, run_config, api_endpoint=vertex.url)
        return project

    return launchable
