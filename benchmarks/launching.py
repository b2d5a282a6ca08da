"""From the command to the accepted request, and what an authorization header costs."""

import json
import sys
import tempfile
from pathlib import Path

from fakes.google_identity import google_identity
from fakes.storage import cloud_storage
from fakes.vertex import vertex_ai
from projects import peer_project, shape
from timing import BIN, ENVIRONMENT, ROOT, Row, command, in_turns, median, ratio, run

HEADERS = """
import json, sys, time, timeit
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
sys.path[:0] = ["tests/helpers", "{{ cookiecutter.repo_name }}/src"]
import in_place, mlflow
from my_project.auth.gcp import MLFlowGoogleIAMRequestHeaderProvider
mlflow.set_tracking_uri("https://mlflow.example.com")
context = SimpleNamespace(config_loader={}, env="cloud")
names = {"client_id": "client", "service_account": "a@b.iam.gserviceaccount.com"}
provider = MLFlowGoogleIAMRequestHeaderProvider(context, **names)
with ThreadPoolExecutor(50) as pool:
    headers = list(pool.map(lambda _: provider.request_headers(), range(1000)))
seconds = min(timeit.repeat(lambda: provider.in_context() and provider.request_headers(), number=2000, repeat=5)) / 2000
print(json.dumps({"headers": len(headers), "microseconds": seconds * 1e6}))
"""


def measure_launch(project: Path, with_peer: bool) -> list[Row]:
    """``run-once`` of a 10-node pipeline, from command to accepted request, with and without an edit; and the menu."""
    shape(project / "src/bench", 10)
    with (
        tempfile.TemporaryDirectory() as folder,
        google_identity(Path(folder)) as google,
        vertex_ai(
            project="p", region="europe-west1", cwd=project, folder=Path(folder), environment=ENVIRONMENT
        ) as vertex,
    ):
        vertex.execute = False
        (project / "conf/bench").mkdir()
        (project / "conf/bench/vertexai.yml").write_text(
            f"project_id: p\nregion: europe-west1\napi_endpoint: {vertex.url}\nrun_config:\n  root: gs://bucket\n"
        )
        quiet = {**google.environment, "CLOUDSDK_CONFIG": folder, "CI": ""}
        launch = ["kedro", "vertexai", "-e", "bench", "run-once", "-p", "shaped"]
        nodes = project / "src/bench/pipeline_registry.py"

        def edit_and_launch() -> None:
            nodes.write_text(f"{nodes.read_text()}\n# edited\n")
            command([*launch, "--upload-code"], project, **quiet, **storage.on_vertex)

        with cloud_storage() as storage:
            launched, edited = in_turns(lambda: command(launch, project, **quiet), edit_and_launch)
            archives = [len(data) for data in storage.objects.values()]
        if (len(vertex.jobs), len(archives)) != (10, 5):
            sys.exit(f"10 jobs were to be accepted, with 5 archives, not {len(vertex.jobs)} with {len(archives)}.")
    menu = median(lambda: command(["kedro", "vertexai", "--help"], project))
    kedro = median(lambda: command(["kedro", "--help"], project))
    what = "run-once of 10 nodes, command to accepted request"
    rows = [
        (what, f"{launched:.2f} s", "at most 6 s", ratio(launched, 6)),
        (f"{what}, with an edit uploaded", f"{edited:.2f} s", f"without: {launched:.2f} s", ratio(edited, launched)),
        ("the archive of its code", f"{max(archives) / 1e3:.0f} kB", "at most 200 kB", ratio(max(archives), 2e5)),
        ("kedro vertexai --help", f"{menu:.2f} s", f"`kedro --help`: {kedro:.2f} s", ratio(menu, kedro)),
    ]
    if with_peer:
        peer, quiet = peer_project()
        shape(peer / "src/peer", 10)
        compiled = median(lambda: command(["kedro", "vertexai", "compile", "-p", "shaped"], peer, **quiet))
        against = f"kedro-vertexai's compile alone: {compiled:.2f} s"
        rows.append((what, f"{launched:.2f} s", against, ratio(launched, compiled)))
    return rows


def measure_header(folder: Path) -> list[Row]:
    """What a fresh token costs a request, and how many tokens 50 threads and 1,000 requests ask Google for."""
    with google_identity(folder) as google:
        printed = run([str(BIN / "python"), "-c", HEADERS], ROOT, **google.environment)
        counted = json.loads(printed.splitlines()[-1])
        asked = google.requests
    cost, what = counted["microseconds"], f"tokens asked for by {counted['headers']:,} headers in 50 threads"
    return [
        ("a header from a fresh token", f"{cost:.1f} µs", "at most 50 µs", ratio(cost, 50)),
        (what, str(asked), "one a process and lifetime", ratio(asked, 1)),
    ]
