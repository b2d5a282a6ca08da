"""run-local forks its steps from a preloaded interpreter: what a user must not notice, and what happens on bad days."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from multiprocessing.connection import Pipe
from pathlib import Path

import pytest
from pipeline_runs import only_run, source, vertexai
from running import BIN, PLATFORM, environment, run

pytestmark = pytest.mark.slow

FORK_SERVER = PLATFORM / "local/fork_server.py"


def processes(project: Path) -> list[int]:
    """The processes that work in a project's folder."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == project:
                pids.append(int(entry.name))
        except OSError:  # it has ended, or is not ours to look at
            continue
    return pids


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_when_the_preloaded_interpreter_is_killed_its_step_fails_and_the_job_still_ends_well_told(with_pipeline):
    code = """
import time

def sleep():
    Path("started").touch()
    time.sleep(120)
"""
    project = with_pipeline(source('Node(sleep, None, "x", name="sleep")', code))
    process = subprocess.Popen(
        [BIN / "kedro", "vertexai", "run-local"], cwd=project, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for(lambda: (project / "started").exists() or process.poll() is not None)
    (server,) = [
        pid for pid in processes(project)
        if "fork_server" in command_of(pid) and os.getsid(pid) == pid and os.getpgid(pid) == pid
        and Path(f"/proc/{pid}/stat").read_text().split()[3] == str(process.pid)
    ]  # fmt: skip
    os.kill(server, signal.SIGKILL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1, output
    assert "FAILED        sleep" in output
    assert "SUCCEEDED     mlflow-finish-run" in output
    mlflow_run = only_run(project)
    assert (mlflow_run.info.status, mlflow_run.data.tags["failed_node"]) == ("FAILED", "sleep")
    assert processes(project) == []


def test_what_a_step_leaves_running_ends_with_it(with_pipeline):
    code = """
import subprocess

def leave():
    subprocess.Popen(["sleep", "321"])
    return 1
"""
    project = with_pipeline(source('Node(leave, None, "x", name="leave")', code))
    assert vertexai(project, "run-local").returncode == 0
    assert processes(project) == []


def test_a_step_sees_the_code_as_it_is_on_disk_when_it_starts(with_pipeline):
    code = """
from . import helper

def change():
    Path(helper.__file__).write_text("VALUE = 'new'")
    return helper.VALUE

def look(before):
    Path("seen").write_text(f"{before} {helper.VALUE}")
"""
    nodes = "Node(change, None, 'x', name='change'), Node(look, 'x', None, name='look')"
    project = with_pipeline(source(nodes, code))
    helper = project / "src/test_project/pipelines/under_test/helper.py"
    helper.write_text("VALUE = 'old'")
    assert vertexai(project, "run-local").returncode == 0
    assert (project / "seen").read_text() == "old new"
    helper.write_text("VALUE = 'newer'")
    assert vertexai(project, "run-local").returncode == 0
    assert (project / "seen").read_text() == "newer new"


def test_a_package_that_cannot_be_imported_gives_the_steps_own_message(with_pipeline):
    project = with_pipeline(
        source("Node(plot, None, 'x', name='plot')", "import matplotlib\n\ndef plot():\n    return 1")
    )
    spec = project / "pipeline.json"
    assert vertexai(project, "compile").returncode == 0
    # The project itself can still be read: its own CLI sees another backend than the steps.
    text = spec.read_text().replace('"image": "test-project:latest"', '"image": "test-project:latest", "env": []')
    spec.write_text(text)
    cold = run(BIN / "kedro", "vertexai", "run-local", "--cold", cwd=project, MPLBACKEND="nonsense")
    warm = run(BIN / "kedro", "vertexai", "run-local", cwd=project, MPLBACKEND="nonsense")
    assert (cold.returncode, warm.returncode) == (1, 1)
    assert "Key backend: 'nonsense' is not a valid value" in cold.stderr + cold.stdout
    assert "Key backend: 'nonsense' is not a valid value" in warm.stderr + warm.stdout


def test_tasks_with_variables_of_their_own_and_cold_ones_start_anew_and_give_the_same(with_pipeline):
    code = """
import os, sys

def look():
    Path("started").write_text(f"{os.environ.get('COLOUR')} {'fork_server' in ' '.join(sys.orig_argv)}")
    return 1
"""
    project = with_pipeline(source("Node(look, None, 'x', name='look')", code))
    assert vertexai(project, "run-local").returncode == 0
    assert (project / "started").read_text() == "None True"
    assert vertexai(project, "run-local", "--cold").returncode == 0
    assert (project / "started").read_text() == "None False"
    assert vertexai(project, "compile").returncode == 0
    spec = json.loads((project / "pipeline.json").read_text())
    spec["deploymentSpec"]["executors"]["exec-look"]["container"]["env"] = [{"name": "COLOUR", "value": "red"}]
    (project / "pipeline.json").write_text(json.dumps(spec))
    assert vertexai(project, "run-local", "--spec", "pipeline.json").returncode == 0
    assert (project / "started").read_text() == "red False"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "the imports have started 1 threads"),
        ("raise RuntimeError('no licence')", "thirdparty cannot be imported (RuntimeError: no licence)"),
        ("import nowhere", "thirdparty cannot be imported (No module named 'nowhere')"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_interpreter_that_must_not_be_forked_says_why(tmp_path, module, reason):
    assert run(BIN / "python", "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path).returncode == 0
    (installed,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (installed / "thirdparty.py").write_text(module)
    ours, theirs = Pipe()
    with ours, theirs:
        server = subprocess.Popen(
            [tmp_path / "venv/bin/python", FORK_SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=tmp_path
        )
        theirs.close()
        ours.send({"modules": ["not_installed", "thirdparty"], "own": []})
        assert ours.recv()["reason"].startswith(reason) or not reason
        ours.close()
        assert server.wait(10) == 0


def test_forks_do_not_draw_the_same_random_numbers(with_pipeline):
    code = """
import random

import numpy

def draw(name):
    return [random.random(), float(numpy.random.random())]

def compare(*drawn):
    Path("drawn").write_text(str(len({number for pair in drawn for number in pair})))
"""
    nodes = ", ".join(f"Node(draw, 'params:a', 'd{number}', name='draw{number}')" for number in range(3))
    project = with_pipeline(source(f"{nodes}, Node(compare, ['d0', 'd1', 'd2'], None, name='compare')", code))
    (project / "conf/base/parameters.yml").write_text("a: 1\n")
    assert vertexai(project, "run-local").returncode == 0
    assert (project / "drawn").read_text() == "6"


def test_the_profile_says_where_the_time_of_each_step_went(with_pipeline):
    code = "import time\n\ndef nap():\n    time.sleep(1.5)\n    return 1"
    project = with_pipeline(source("Node(nap, None, 'x', name='nap')", code))
    done = vertexai(project, "run-local", "--profile")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("│ nap ")]
    _start, _session, _data, nodes, _mlflow, total = map(float, row.strip("│").split("│")[1:])
    assert 1.5 <= nodes < 2.5
    assert total > nodes
