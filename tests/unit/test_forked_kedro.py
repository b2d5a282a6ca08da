"""A command that is a fork finds what a command finds that is started for itself."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked_kedro import ForkedKedro
from running import environment

pytestmark = pytest.mark.slow

SCRIPT = """
import json, os, random, signal, subprocess, sys, threading
import numpy, pandas
def around():
    return {
        "argv": sys.argv, "cwd": os.getcwd(), "environment": dict(os.environ), "path": sys.path, "name": __name__,
        "file": __file__, "main": sys.modules["__main__"].__file__, "executable": sys.executable, "prefix": sys.prefix,
        "arguments": sys.flags, "umask": os.umask(0), "stdin": [sys.stdin.read(), os.readlink("/proc/self/fd/0")],
        "isatty": [os.isatty(number) for number in range(3)], "threads": threading.active_count(),
        "encoding": [sys.stdout.encoding, sys.stderr.encoding, sys.getfilesystemencoding()],
        "signals": {str(number): str(signal.getsignal(number)) for number in signal.valid_signals()},
        "child": subprocess.check_output([sys.executable, "-c", "import os, sys; print(sys.path, dict(os.environ))"], text=True),
    }
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bin") / "kedro"


@pytest.fixture(scope="module")
def forked(script):
    forked = ForkedKedro(environment())
    yield forked
    forked.close()


@pytest.fixture
def both(script, forked, tmp_path):
    """Run this code as the console script, as a fork and started for itself."""

    def both(code: str, *arguments: str, timeout: float = 60, **extra: str):
        script.write_text(f"#!{sys.executable}\n{SCRIPT}\n{code}\n")
        script.chmod(0o755)
        argv, variables = [str(script), *arguments], environment(**extra)
        assert forked.can_run(variables)
        cold = subprocess.run(
            argv, cwd=tmp_path, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )
        return forked.run(argv, tmp_path, variables, timeout), cold

    return both


def test_it_finds_the_same_around_it(both):
    fork, cold = both(
        "print(json.dumps(around()))", "a b", "ü", "", SOME_VARIABLE="x\ny ü", HTTPS_PROXY="http://localhost:9"
    )
    assert cold.returncode == 0, cold.stderr
    assert json.loads(fork.stdout) == json.loads(cold.stdout)


@pytest.mark.parametrize(
    "code",
    [
        "print('to stdout'); print('to stderr', file=sys.stderr); sys.exit('a sentence')",
        "os.write(1, b'line\\r\\nline\\r'); os.kill(os.getpid(), signal.SIGKILL)",
        "import atexit; atexit.register(print, 'at exit'); print('x' * 1_000_000)",
    ],
)
def test_it_ends_the_same(both, code):
    fork, cold = both(code)
    assert (fork.returncode, fork.stdout, fork.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_an_error_that_is_not_caught_is_printed(both):
    fork, cold = both("1 / 0")
    assert (fork.returncode, fork.stderr.splitlines()[-1]) == (cold.returncode, "ZeroDivisionError: division by zero")


def test_each_draws_its_own_random_numbers(both):
    drawn = {both("print(random.random(), numpy.random.rand())")[0].stdout for _ in range(2)}
    assert len({number for line in drawn for number in line.split()}) == 4


def test_who_takes_too_long_is_killed_with_what_it_has_started(script, forked, tmp_path):
    script.write_text(
        "import subprocess\nfrom pathlib import Path\nchild = subprocess.Popen(['sleep', '54321'])\nPath('child').write_text(str(child.pid))\nchild.wait()\n"
    )
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([str(script)], tmp_path, environment(), 2)
    status = Path("/proc", (tmp_path / "child").read_text(), "stat")
    deadline = time.monotonic() + 10
    while status.exists() and status.read_text().split()[2] != "Z":  # nobody may be there to fetch how it has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    script.write_text("print('the next one')")
    assert forked.run([str(script)], tmp_path, environment(), 30).stdout == "the next one\n"


@pytest.mark.parametrize(
    "variables", [{"PYTHONPATH": "/x"}, {"MPLBACKEND": "svg"}, {"HOME": "/x"}, {"LC_ALL": "C"}, {"FSSPEC_FILE": "{}"}]
)
def test_what_an_import_would_look_at_needs_a_cold_start(forked, variables):
    assert not forked.can_run(environment(**variables))


def test_a_command_that_talks_to_the_small_google_can_be_a_fork(forked, google):
    assert {"GCE_METADATA_HOST", "REQUESTS_CA_BUNDLE"} <= google.environment.keys()
    assert forked.can_run(environment(CI="", **google.environment, STORAGE_EMULATOR_HOST="http://127.0.0.1:9"))
