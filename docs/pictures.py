"""Write the output of a real run into README and docs: what commands print, the plan, pages of jobs and of the run.

    make demo && make pictures

Jobs for Vertex AI are launched on the stand-in that the tests use, and it really runs them. The pictures of pages
need Chromium (``apt-get install chromium``).
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "tests/helpers", "{{ cookiecutter.repo_name }}/src")]

from browser import open_page  # noqa: E402
from fakes.artifact_registry import Image  # noqa: E402
from fakes.control_plane import control_plane  # noqa: E402
from fakes.google_apis import Cloud  # noqa: E402
from fakes.google_identity import Google, google_identity  # noqa: E402
from fakes.iap import identity_aware_proxy  # noqa: E402
from fakes.storage import Storage, cloud_storage  # noqa: E402
from fakes.vertex import Vertex, vertex_ai  # noqa: E402
from mlflow_server import mlflow_server  # noqa: E402
from small_cloud import ACCOUNT, CLIENT_ID, REGISTRY, configure  # noqa: E402

DEMO = ROOT / "build/demo"
SHOWN, MOUNT = Path("/tmp/demo"), Path("/gcs")
BIN = DEMO / ".venv/bin"
COPIED = [
    "conf", "data", "src", ".github", "Makefile", "pyproject.toml", "pipeline.json", "Dockerfile",
    "requirements.lock", ".telemetry", ".dockerignore",
]  # fmt: skip
PICTURES = ROOT / "docs/pictures"
SCHEDULES = """
schedules:
  default_schedule:
    cron_expression: "0 6 * * MON-FRI"
    timezone: Europe/Berlin
""".strip()
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DO_NOT_TRACK": "1", "COLUMNS": "110"}


def main() -> None:
    """Run the demo's spec again, in a folder whose path says nothing about this machine, and write down the output."""
    if not (DEMO / "pipeline.json").exists():
        sys.exit("build/demo is missing. Make it with: make demo")
    SHOWN.mkdir()
    try:
        for name in COPIED:
            copy = shutil.copytree if (DEMO / name).is_dir() else shutil.copy
            copy(DEMO / name, SHOWN / name)
        run = show("README.md", "demo", "run-local --spec pipeline.json --profile")
        plan = f"```mermaid\n{kedro('vertexai', 'plan', '--format', 'mermaid').stdout.rstrip()}\n```"
        replace("README.md", "plan", plan)
        run_id = re.search(r"run (\w{32})", run)[1]
        run_page(run_id)
        job_pages()
        profile()
        bootstrap()
        launch()
    finally:
        shutil.rmtree(SHOWN)


def job_pages() -> None:
    """Take pictures of the page of a job that succeeds, of one that fails, and of one that goes on from there."""
    jobs = SHOWN / ".vertexai"
    for options, exit_code, name, size, look in (
        ("", 0, "job-page", (1000, 1330), {}),
        ("--params forest.n_estimators=-1", 1, "job-page-failed", (1000, 900), {}),
        ("--params forest.n_estimators=100 --resume {last}", 0, "job-page-phone", (390, 1500), {"dark": True}),
    ):
        last = max((job.name for job in jobs.glob("[!.]*")), default="")
        kedro("vertexai", "run-local", *options.format(last=last).split(), exit_code=exit_code)
        file = max(jobs.glob("*/job.html"))
        # The docs should not show where this machine keeps its programs.
        file.write_text(file.read_text().replace(f"{ROOT}/", "…/"))
        with open_page(SHOWN / "chromium") as page:
            page.take_picture(file.as_uri(), PICTURES / f"{name}.png", *size, **look)


def profile() -> None:
    """Run the demo again with a step for each node, and with chains of nodes in one step."""
    page, settings = "docs/how-to/run-on-this-machine.md", SHOWN / "conf/base/vertexai.yml"
    before = settings.read_text()
    show(page, "profile", "run-local --profile")
    settings.write_text(f"{before}  grouping:\n    cls: ChainNodeGrouper\n")
    show(page, "profile-grouped", "run-local --profile")
    settings.write_text(before)


def bootstrap() -> None:
    """Run ``make bootstrap --dry-run`` with the real gcloud, against a stand-in for Google's control plane."""
    for command in (["init", "-q"], ["remote", "add", "origin", "git@github.com:acme/demo.git"]):
        subprocess.run(["git", *command], cwd=SHOWN, check=True)
    globals_ = SHOWN / "conf/cloud/globals.yml"
    known = globals_.read_text().replace("<gcp-project-id>", "project-42").replace("<gcp-region>", "europe-west1")
    globals_.write_text(known)
    with control_plane("project-42") as plane:
        variables = {**ENVIRONMENT, **plane.environment, "CLOUDSDK_CONFIG": str(SHOWN / "gcloud")}
        options = "--dry-run --repository-id 1296269 --owner-id 583231"
        argv = ["make", "--silent", "bootstrap", f"ARGS={options}"]
        done = subprocess.run(argv, cwd=SHOWN, env=variables, capture_output=True, text=True, check=True)
    shown = f'```console\n$ make bootstrap ARGS="{options}"\n{done.stdout}```'
    replace("docs/how-to/set-up-google-cloud.md", "dry-run", shown)
    shutil.copy(DEMO / "conf/cloud/globals.yml", globals_)


def launch() -> None:
    """Run the commands that need a cloud, against the stand-ins of the tests."""
    commands, scheduling = "docs/reference/commands.md", "docs/how-to/schedule.md"
    show(commands, "doctor-fresh", "-e cloud doctor", exit_code=1)
    with ExitStack() as stack:
        google = stack.enter_context(google_identity(SHOWN))
        ENVIRONMENT.update(google.environment, CLOUDSDK_CONFIG=str(SHOWN / "gcloud"))
        (SHOWN / "server").mkdir()
        url = stack.enter_context(mlflow_server(BIN / "mlflow", SHOWN / "server", ENVIRONMENT))
        iap = stack.enter_context(identity_aware_proxy(url, google, CLIENT_ID, {ACCOUNT}))
        where = {"project": "project-42", "region": "europe-west1", "cwd": SHOWN, "folder": SHOWN / "jobs"}
        vertex = stack.enter_context(vertex_ai(**where, environment=ENVIRONMENT))
        cloud = Cloud({ACCOUNT}, {"bucket"}, {"project-42/images/demo:latest": Image()}, logs=vertex.logs)
        cloud.serve(google, REGISTRY)
        facts = {
            "project_id": "project-42", "region": "europe-west1", "bucket": "gs://bucket", "client_id": CLIENT_ID,
            "artifact_registry": f"{REGISTRY}/project-42/images", "service_account": ACCOUNT,
            "mlflow_tracking_uri": iap.url,
        }  # fmt: skip
        (SHOWN / "conf/cloud/globals.yml").write_text("".join(f"{key}: {fact}\n" for key, fact in facts.items()))
        configure(SHOWN, SCHEDULES, api_endpoint=vertex.url)
        show(commands, "doctor", "-e cloud doctor")
        storage = stack.enter_context(cloud_storage())
        look_around(storage, google, vertex)
        vertex.own_disks, vertex.environment = True, {**vertex.environment, **storage.on_vertex}
        ENVIRONMENT.update(storage.on_vertex)
        show("README.md", "launch", "-e cloud run-once --job-id demo-1 --wait-for-completion")
        show(commands, "list-pipelines", "-e cloud list-pipelines")
        show(commands, "status", "-e cloud status demo-1")
        show("docs/how-to/push-and-it-runs.md", "summary", "-e cloud status demo-1 --format markdown")
        show(commands, "logs", "-e cloud logs demo-1 --step mlflow-finish-run")
        show(commands, "ui", "-e cloud ui demo-1")
        show(scheduling, "created", "-e cloud schedule")
        show(scheduling, "unchanged", "-e cloud schedule")
        settings = SHOWN / "conf/cloud/vertexai.yml"
        settings.write_text(settings.read_text().replace("0 6 * * MON-FRI", "30 6 * * *"))
        show(scheduling, "changed", "-e cloud schedule --dry-run")
        bad = "-e cloud run-once --job-id demo-2 --wait-for-completion --params forest.n_estimators=-1"
        show("docs/how-to/find-a-failure.md", "failed", bad, exit_code=1)
        good = "-e cloud resume demo-2 --job-id demo-4 --wait-for-completion --params forest.n_estimators=100"
        show("docs/how-to/resume.md", "resumed", good)
        show("docs/how-to/resume.md", "refused", "-e cloud resume demo-2 --params split.test_size=0.5", exit_code=1)
        try_an_edit(vertex)


def try_an_edit(vertex: Vertex) -> None:
    """Change a line, and launch that in the image that was there before."""
    vertex.cwd = Path(shutil.copytree(SHOWN, SHOWN / "image/demo", ignore=shutil.ignore_patterns("jobs", "image")))
    nodes = next(SHOWN.glob("src/*/pipelines/penguins/nodes.py"))
    nodes.write_text(nodes.read_text() + "\n# An edit.\n")
    edit = "-e cloud run-once --upload-code --job-id demo-3 --wait-for-completion"
    show("docs/how-to/try-an-edit.md", "uploaded", edit)


def look_around(storage: Storage, google: Google, vertex: Vertex) -> None:
    """Run doctor's task on the stand-in in six states, with a bucket and with disks that tasks do not share."""
    who = ["-c", "user.name=Demo", "-c", "user.email=demo@example.com"]
    for command in (["add", "-A"], [*who, "commit", "-q", "-m", "All"]):
        subprocess.run(["git", *command], cwd=SHOWN, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=SHOWN, capture_output=True, text=True, check=True).stdout
    before, vertex.own_disks = vertex.environment, True
    vertex.environment = well = {**before, **storage.on_vertex, "IMAGE_REVISION": head.strip()}
    page, command = "docs/how-to/first-launch.md", "-e cloud doctor --on-vertex"
    # The platform's mount of the buckets, which takes any file.
    MOUNT.mkdir()
    try:
        show(page, "inside-well", command)
    finally:
        shutil.rmtree(MOUNT)
    google.granted = False
    show(page, "inside-token", command, exit_code=1, only="✗")
    google.granted, google.audience = True, "another-client"
    show(page, "inside-mlflow", command, exit_code=1, only="✗")
    google.audience, storage.denied = None, {"storage.objects.delete"}
    show(page, "inside-delete", command, exit_code=1, only="✗")
    storage.denied, vertex.environment = set(), {**well, "IMAGE_REVISION": "0123456789abcdef"}
    show(page, "inside-commit", command, exit_code=1, only="✗")
    agent = "service-1234567@gcp-sa-aiplatform-cc.iam.gserviceaccount.com"
    vertex.setback = f"Vertex AI Service Agent {agent} does not have permission to access Artifact Registry repository"
    show(page, "inside-pull", command, exit_code=1)
    vertex.setback, vertex.environment, vertex.own_disks = "", before, False


def show(file: str, name: str, command: str, exit_code: int = 0, only: str = "") -> str:
    """Run ``kedro vertexai …`` and put its output between the markers of that name in a file.

    Args:
        file: below the root.
        name: the markers' name.
        command: what follows ``kedro vertexai``.
        exit_code: the expected one.
        only: how the lines begin that are shown; by default all are.
    """
    done = kedro("vertexai", *command.split(), exit_code=exit_code)
    # The docs should not show where this machine keeps its programs, and the stand-in the disks of its containers.
    output = re.sub(r"/tmp/own-disks/[^/]+/disk/demo/", "…/", done.stdout or done.stderr).replace(f"{ROOT}/", "…/")
    lines = output.splitlines()
    text = "\n".join(line.rstrip() for line in lines if line.startswith(only))
    replace(file, name, f"```console\n$ kedro vertexai {command}\n{text}\n```")
    return done.stdout


def kedro(*arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in the demo project."""
    argv = [BIN / "kedro", *arguments]
    done = subprocess.run(argv, cwd=SHOWN, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode != exit_code:
        sys.exit(f"{argv}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def replace(file: str, name: str, text: str) -> None:
    """Put text between the markers of that name in a file."""
    path = ROOT / file
    pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    changed, count = pattern.subn(lambda match: f"{match[1]}{text}\n{match[2]}", path.read_text())
    if count != 1:
        sys.exit(f"{file} must have the markers for {name} once, and has them {count} times.")
    path.write_text(changed)


def run_page(run_id: str) -> None:
    """Take a picture of the run's page on a real MLflow server."""
    with mlflow_server(BIN / "mlflow", SHOWN, ENVIRONMENT, store="sqlite:///mlflow.db") as url:
        address = f"{url}/#/experiments/1/runs/{run_id}?workflowType=machine_learning"
        with open_page(SHOWN / "chromium") as page:
            # Otherwise MLflow opens its assistant beside the first page that somebody looks at.
            keys = ("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "mlflow.assistant.panelOpen_v1")
            page.remember(**dict(zip(keys, ("true", "false"), strict=True)))
            page.take_picture(address, PICTURES / "mlflow-run.png", 1240, 1180, seconds=20)


if __name__ == "__main__":
    main()
