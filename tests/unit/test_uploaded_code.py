"""``--upload-code``: what is packed, and what the container does with it before there is a step."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.pipeline import Node, Pipeline
from running import PLATFORM, commit, run

from vertexai_mlflow.cloud.request import labels_of_code
from vertexai_mlflow.cloud.upload import upload_code
from vertexai_mlflow.commands.working_tree import packed
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.arguments import JobArguments
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.spec import tasks
from vertexai_mlflow.contract.uploaded import Code, pack, unpack
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig

IGNORE = "*\n!src\n!conf\n!sql\n!data/01_raw\n!pyproject.toml\n!requirements.lock\nsrc/*/notes\n**/*.pem\n"
# A step that tells what it was started with.
STEP = """
import json, os, sys
from pathlib import Path
from demo import __file__ as code
print(json.dumps({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "code": code, "path": os.environ["PYTHONPATH"],
    "there": sorted(path.name for path in Path().iterdir()), "raw": Path("data/raw.txt").read_text(),
    "conf": sorted(str(path) for path in Path("conf").rglob("*")),
}))
Path("data/made.txt").write_text("by the step")
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose package has nothing of the platform but what starts uploaded code."""
    project = tmp_path / "tree"
    write(
        project,
        **{
            ".dockerignore": IGNORE, "pyproject.toml": "", "requirements.lock": "kedro==1\n", "data/raw.txt": "raw",
            "src/demo/__init__.py": "", "src/demo/notes/todo.md": "x", "src/demo/ca.pem": "x", "src/demo/run.sh": "#!/bin/sh",
            "src/demo/auth/credentials.py": "", "src/vertexai_mlflow/__init__.py": "", "src/vertexai_mlflow/step/__main__.py": STEP,
            "conf/base/parameters.yml": "a: 1", "conf/local/credentials.yml": "secret", "conf/prod/my_credentials.yml": "secret",
            "README.md": "x", ".venv/lib/x.py": "x", "sql/query.sql": "select 1", "data/01_raw/people.csv": "x",
        },
    )  # fmt: skip
    (project / "src/demo/run.sh").chmod(0o755)
    (project / "src/vertexai_mlflow/contract").mkdir()
    for name in ("errors.py", *(f"contract/{name}.py" for name in ("__init__", "uploaded", "names", "limits"))):
        shutil.copy(PLATFORM / name, project / "src/vertexai_mlflow" / name)
    return project


@pytest.fixture
def image(project: Path, tmp_path: Path) -> Path:
    """The folder of an image that was built from the project as it is now."""
    return shutil.copytree(project, tmp_path / "image")


def code_of(project: Path, root: str = "gs://bucket/root") -> Code:
    return packed(about(project, "conf"), root)


def about(project: Path, conf: str) -> SimpleNamespace:
    """What is asked about a project here."""
    return SimpleNamespace(path=project, conf=project / conf, refuse_configuration_elsewhere=lambda: None)


def names_in(archive: bytes) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member.mode for member in tar}


def start(image: Path, uri: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start it as a container does."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(image / "src"),
        "TMPDIR": str(image.parent),
        **variables,
    }
    argv = [sys.executable, "-m", "vertexai_mlflow.contract.uploaded", uri, *arguments]
    return subprocess.run(argv, cwd=image, env=environment, capture_output=True, text=True, timeout=60)


def test_what_dockerignore_lets_in_of_the_code_is_packed_and_never_a_secret(project):
    names = names_in(code_of(project).archive)
    assert set(names) == {
        "pyproject.toml", "requirements.lock.sha256", "conf/base/parameters.yml", "sql/query.sql",
        "src/demo/__init__.py", "src/demo/run.sh", "src/demo/auth/credentials.py",
        "src/vertexai_mlflow/errors.py", "src/vertexai_mlflow/__init__.py", "src/vertexai_mlflow/contract/__init__.py",
        "src/vertexai_mlflow/contract/limits.py", "src/vertexai_mlflow/contract/names.py",
        "src/vertexai_mlflow/contract/uploaded.py", "src/vertexai_mlflow/step/__main__.py",
    }  # fmt: skip
    assert {name for name, mode in names.items() if mode == 0o755} == {"src/demo/run.sh"}
    # A project whose .dockerignore forgets them.
    (project / ".dockerignore").write_text("*.md\n")
    write(project, **{"src/demo/tokens/credentials.yml": "secret", "src/.DS_Store": "x", ".env": "secret"})
    assert set(names_in(code_of(project).archive)) - set(names) == {"src/demo/ca.pem", "src/demo/notes/todo.md"}


def test_the_folder_of_the_configuration_may_have_another_name(project):
    (project / "conf").rename(project / "config")
    (project / ".dockerignore").write_text("*\n!src\n!config\n")
    code = packed(about(project, "config"), "gs://b")
    assert {name for name in names_in(code.archive) if name.startswith("config/")} == {"config/base/parameters.yml"}


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (None, "there is no .dockerignore, which says what of this folder may be in an image"),
        ("*\n!conf\n", ".dockerignore lets no file of src into an image, so there is no code to upload"),
        (
            "*\n!src\n!packages/*/src\n!**/*.sql\n",
            ".dockerignore: !packages/*/src, !**/*.sql: name these folders without",
        ),
    ],
)
def test_without_knowing_what_an_image_would_have_nothing_is_uploaded(project, ignore, message):
    (project / ".dockerignore").unlink()
    if ignore:
        (project / ".dockerignore").write_text(ignore)
    with pytest.raises(UserError) as told:
        code_of(project)
    assert message in str(told.value)


def test_the_same_files_make_the_same_archive_whatever_the_clock_and_the_order(project, tmp_path):
    other = tmp_path / "elsewhere/other"
    files = sorted((path for path in project.rglob("*") if path.is_file()), reverse=True)
    for number, path in enumerate(files):
        copy = other / path.relative_to(project)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        copy.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
        os.utime(copy, (number, number))
    one, same = code_of(project), code_of(other)
    assert one.archive == same.archive
    assert one.uri == f"gs://bucket/root/code/{hashlib.sha256(one.archive).hexdigest()}.tar.gz"
    (other / "requirements.lock").write_bytes(b"kedro==1\r\n")  # as Git may write it on Windows
    assert code_of(other).uri == one.uri
    (other / "requirements.lock").write_text("kedro==2\n")
    assert code_of(other).uri != one.uri


def test_commit_and_dirty_state_are_known(project):
    assert labels_of_code(code_of(project)).keys() == {"kedro_code"}
    (project / ".gitignore").write_text("generated.py\n.venv\n")
    head = commit(project)
    assert (code_of(project).commit, code_of(project).is_dirty) == (head, False)
    (project / "src/demo/generated.py").touch()  # Git ignores it, and it runs all the same
    assert code_of(project).is_dirty
    (project / "src/demo/generated.py").unlink()
    (project / "README.md").write_text("edited, and tracked")
    assert code_of(project).is_dirty
    commit(project)
    (project / "src/demo/new.py").touch()
    code, head = code_of(project), run("git", "rev-parse", "HEAD", cwd=project).stdout.strip()
    assert (code.commit, code.is_dirty) == (head, True)
    assert labels_of_code(code) == {"kedro_code": code.sha256[:32], "kedro_commit": head, "kedro_dirty": "true"}


@pytest.mark.parametrize("hidden_by", ["assume-unchanged", "skip-worktree", "fsmonitor", "replace"])
def test_an_edit_that_git_is_told_to_overlook_makes_the_code_dirty(project, hidden_by):
    (project / ".gitignore").write_text(".venv\n")
    code = project / "src/demo/nodes.py"
    code.write_text("x = 1\n")
    head = commit(project)
    if hidden_by == "fsmonitor":
        monitor = project.parent / "monitor"
        monitor.write_text("#!/bin/sh\nprintf 'token\\0'\n")
        monitor.chmod(0o755)
        assert run("git", "config", "core.fsmonitor", str(monitor), cwd=project).returncode == 0
        assert run("git", "update-index", "--fsmonitor", cwd=project).returncode == 0
        run("git", "status", cwd=project)
    elif hidden_by != "replace":
        assert run("git", "update-index", f"--{hidden_by}", "src/demo/nodes.py", cwd=project).returncode == 0
    assert not code_of(project).is_dirty
    code.write_text("x = 2\n")
    if hidden_by == "replace":
        edited = commit(project)
        assert run("git", "replace", head, edited, cwd=project).returncode == 0
        assert run("git", "update-ref", "HEAD", head, cwd=project).returncode == 0
    assert run("git", "status", "--porcelain", "--untracked-files=no", cwd=project).stdout == ""
    assert (code_of(project).commit, code_of(project).is_dirty) == (head, True)


def test_too_much_code_is_refused_and_the_largest_files_are_named(project):
    with (project / "src/demo/model.bin").open("wb") as file:
        file.truncate(49 * 2**20)
    write(project, **{"src/demo/table.csv": "x" * 2**21})
    with pytest.raises(
        UserError, match=r"takes 50 MiB of code, and this is 51 MiB\. The largest files: src/demo/model"
    ) as told:
        code_of(project)
    assert "src/demo/table.csv (2.0 MiB)" in str(told.value)


def test_a_symbolic_link_is_refused(project):
    (project / "src/demo/linked").symlink_to("/etc")
    (project / "conf/base/linked.yml").symlink_to("parameters.yml")
    with pytest.raises(UserError, match=r"no symbolic links: conf/base/linked\.yml, src/demo/linked"):
        code_of(project)


def test_code_is_sent_once(project, tmp_path):
    code = code_of(project, str(tmp_path / "root"))
    assert [upload_code(code), upload_code(code)] == [True, False]
    Path(code.uri).write_bytes(b"half")
    assert upload_code(code)
    assert Path(code.uri).read_bytes() == code.archive
    Path(code.uri).write_bytes(b"x" * len(code.archive))  # somebody has spoiled it
    assert [upload_code(code), upload_code(code)] == [True, False]
    assert Path(code.uri).read_bytes() == code.archive
    os.utime(code.uri, (time.time() - 100_000,) * 2)  # the bucket may delete what is old
    assert [upload_code(code), upload_code(code)] == [True, False]
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The code cannot be copied to .*roles/storage\.objectUser on the bucket"):
        upload_code(code_of(project, str(tmp_path / "file")))


def test_every_task_names_the_code_and_only_the_first_one_the_commit():
    nodes = Pipeline([Node(lambda rate: rate, "params:rate", "x", name="one")])
    run_config = RunConfig(image="x@sha256:0", root="gs://b", caching=True)
    plan = make_plan("p", nodes, run_config, lambda name: None)
    compiled = {}
    for commit_ in ("1" * 40, "2" * 40):
        code = Code(b"", "gs://b/code/abc.tar.gz", commit_, True)
        compiled[commit_] = {
            task.name: task for task in tasks(compile_plan(plan, Launch("demo", code=code), run_config))
        }
    one, other = compiled.values()
    entry = ["python", "-m", "vertexai_mlflow.contract.uploaded", "gs://b/code/abc.tar.gz"]
    assert [task.container["command"] for task in one.values()] == [entry] * 3
    told = {name: JobArguments.of(task.container["args"]).code for name, task in one.items() if name != "one"}
    about = {"uri": "gs://b/code/abc.tar.gz", "commit": "1" * 40, "dirty": True}
    assert told == {"mlflow-start-run": about, "mlflow-finish-run": {}}
    # The step is the same whatever the commit, so its result can be taken from the cache.
    assert one["one"] == other["one"]


def test_the_step_runs_in_a_folder_of_its_own_with_the_rest_of_the_image(project, image, tmp_path):
    write(project, **{"src/demo/__init__.py": "# edited", "conf/base/new.yml": "b: 2"})
    (project / "conf/base/parameters.yml").unlink()
    code = code_of(project, str(tmp_path / "root"))
    upload_code(code)
    before = sorted(image.rglob("*"))
    done = start(image, code.uri, "--task=a b", "$(echo x) '\"", PYTHONPATH=f"{image}/src{os.pathsep}/opt/more")
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout)
    assert message["argv"] == ["--task=a b", "$(echo x) '\""]
    assert Path(message["code"]).read_text() == "# edited"
    assert message["path"] == f"{message['cwd']}/src{os.pathsep}/opt/more"
    assert message["conf"] == ["conf/base", "conf/base/new.yml", "conf/local"]
    assert {"data", "requirements.lock", "pyproject.toml"} <= set(message["there"])
    # What a step writes below data/ is where the image would have it, and all else of the image is as it was.
    assert (message["raw"], (image / "data/made.txt").read_text()) == ("raw", "by the step")
    changed = {path for path in set(image.rglob("*")) ^ set(before) if "__pycache__" not in path.parts}
    assert changed == {image / "data/made.txt"}


def test_another_lock_needs_another_image(project, image, tmp_path):
    write(project, **{"requirements.lock": "kedro==2\n"})
    code = code_of(project, str(tmp_path / "root"))
    upload_code(code)
    done = start(image, code.uri)
    assert done.returncode == 1
    assert done.stderr.startswith("This image was not built from the requirements.lock that belongs to the uploaded")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "cannot be read (FileNotFoundError"),
        (lambda file: file.write_bytes(b"else"), "is not what was uploaded: its SHA-256 is"),
        # It takes no room on the disk. Read whole, it would fill the step's memory.
        (lambda file: os.truncate(file, 300 * 2**20), "is not what was uploaded: it has more than 100 MiB"),
    ],
)
def test_code_that_is_gone_or_was_replaced_never_runs(project, image, tmp_path, spoil: Callable, message: str):
    code = code_of(project, str(tmp_path / "root"))
    upload_code(code)
    spoil(Path(code.uri))
    done = start(image, code.uri)
    assert (done.returncode, message in done.stderr, done.stdout) == (1, True, "")
    assert "Traceback" not in done.stderr


def member(name: str, type_: bytes = tarfile.REGTYPE, link: str = "", **pax: str) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.type, about.linkname, about.pax_headers = type_, link, pax
    return about


def hostile(*members: tarfile.TarInfo) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for about in members:
            tar.addfile(about)
    return content.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        hostile(member("/etc/passwd")),
        hostile(member("../escaped")),
        hostile(member("src/../../escaped")),
        hostile(member("link", tarfile.SYMTYPE, "..")),
        hostile(member("link", tarfile.SYMTYPE, ".."), member("link/escaped")),
        hostile(member("src/a"), member("hard", tarfile.LNKTYPE, "../outside")),
        hostile(member("pipe", tarfile.FIFOTYPE)),
        hostile(member("device", tarfile.CHRTYPE)),
        hostile(member("twice"), member("twice")),
        hostile(member("nul\0/../../escaped"), member("a", path="../escaped")),
        # A file of a terabyte that takes no room in the archive.
        hostile(member("sparse", **{"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40)})),
        hostile(member("src/a"))[:40],
        gzip.compress(b"no archive" * 100),
        b"no gzip",
    ],
    ids=range(14),
)  # fmt: skip
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(archive, tmp_path):
    folder = tmp_path / "in/folder"
    folder.mkdir(parents=True)
    (tmp_path / "in/outside").write_text("as it was")
    with pytest.raises(SystemExit, match=r"^gs://b/x is not an archive of code that can be unpacked: "):
        unpack(archive, folder, "gs://b/x")
    assert (tmp_path / "in/outside").read_text() == "as it was"
    assert {path.name for path in tmp_path.rglob("*") if not path.is_relative_to(folder)} == {"in", "outside"}
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 2**20


def test_a_bomb_is_refused_before_it_fills_memory_or_disk(tmp_path):
    bomb = gzip.compress(bytes(2**20) * 110)
    with pytest.raises(SystemExit, match="it has more than 100 MiB"):
        unpack(bomb, tmp_path, "gs://b/x")
    assert list(tmp_path.iterdir()) == []


def test_what_is_packed_is_unpacked_as_it_was(project, tmp_path):
    folder = tmp_path / "unpacked"
    code = pack(project, ["src/demo/run.sh", "conf/base/parameters.yml"], "gs://b", "", False)
    unpack(code.archive, folder, code.uri)
    assert (folder / "conf/base/parameters.yml").read_text() == "a: 1"
    assert (folder / "src/demo/run.sh").stat().st_mode & 0o777 == 0o755
