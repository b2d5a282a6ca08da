"""Attacks by files that nobody reads as code: looking at somebody's project, or following a template, runs nothing of it."""

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import existing_projects as projects
import pytest
from running import PLATFORM, ROOT, commit, run

pytestmark = pytest.mark.slow

ADOPT = (
    "import sys; from pathlib import Path; import kedro_vertexai_mlflow as k; k.TEMPLATE = Path(sys.argv.pop(1)); "
    "from kedro_vertexai_mlflow.adopt.command import main; main(prog_name='vertexai-adopt')"
)
UPGRADE = "from kedro_vertexai_mlflow.upgrade.command import main; main(prog_name='vertexai-upgrade')"


@pytest.fixture
def planted(tmp_path) -> Path:
    """The file that an attack makes."""
    return tmp_path / "planted"


def payload(planted: Path) -> str:
    """Text that, rendered by Jinja, runs a command; without a slash, so that it can name a folder."""
    return f"{{{{ cycler.__init__.__globals__.os.popen('touch {planted.name}').read() }}}}"


def adopt(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", ADOPT, ROOT, project, *options, cwd=project.parent, PYTHONPATH=str(ROOT / "src"))


KEDRO = 'project_name = "Spaceflights"\n'
ATTACKS = {
    "the name": lambda text, jinja: text.replace(KEDRO, f'project_name = "{jinja}"\n'),
    "a list in the place of the name": lambda text, jinja: text.replace(KEDRO, f'project_name = ["{jinja}"]\n'),
    "a table in the place of the name": lambda text, jinja: text.replace(KEDRO, f'project_name = {{a = "{jinja}"}}\n'),
    "a statement": lambda text, jinja: text.replace(KEDRO, f'project_name = "{{% set x = {jinja[3:-3]} %}}"\n'),
    "the package": lambda text, jinja: text.replace('package_name = "spaceflights"', f'package_name = "{jinja}"'),
}


@pytest.mark.parametrize("options", [["--dry-run"], ["--yes", "--no-lock"]], ids=["dry-run", "yes"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_adopting_renders_no_jinja_of_the_project(attack, options, planted, tmp_path):
    jinja = payload(planted)
    files = dict(projects.SPACEFLIGHTS)
    files["pyproject.toml"] = ATTACKS[attack](files["pyproject.toml"], jinja)
    assert files["pyproject.toml"] != projects.SPACEFLIGHTS["pyproject.toml"]
    if attack == "the package":
        files |= {f"src/{jinja}/__init__.py": "", f"src/{jinja}/settings.py": ""}
    project = projects.write(files, tmp_path / "spaceflights")
    done = adopt(project, *options)
    assert not planted.exists()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "tool.kedro." in done.stderr
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


def test_adopting_takes_no_fact_with_jinja_in_it(planted, tmp_path):
    """They are what kedro-vertexai's file says about the cloud."""
    jinja = payload(planted)
    files = projects.PLUGIN | {
        "conf/base/vertexai.yml": f"project_id: \"{jinja}\"\nrun_config:\n  image: 'x/{jinja}'\n  root: 'b/{jinja}'\n",
        "conf/base/mlflow.yml": f"server:\n  mlflow_tracking_uri: 'https://{jinja}'\n",
    }
    done = adopt(projects.write(files, tmp_path / "demand"), "--dry-run")
    assert not planted.exists()
    assert done.returncode == 0, done.stderr


def test_adopting_runs_no_program_that_the_projects_git_folder_names(planted, tmp_path):
    """A project may come as an archive, with its .git folder."""
    project = projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights")
    with (project / ".git/config").open("a") as file:
        file.write(f'[core]\n\tfsmonitor = "touch {planted}; false"\n')
    done = adopt(project, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not planted.exists()


@pytest.mark.parametrize("path", [".gitignore", "pyproject.toml", "src/spaceflights/settings.py", "conf/cloud"])
def test_adopting_writes_to_nothing_that_a_link_of_the_project_leads_to(path, tmp_path):
    """A link in a project may lead to a file of whoever adopts it."""
    project, outside = projects.write(projects.SPACEFLIGHTS, tmp_path / "spaceflights"), tmp_path / "outside"
    if path == "conf/cloud":
        outside.mkdir()
    else:
        outside.write_text((project / path).read_text() if (project / path).exists() else "mine\n")
        (project / path).unlink(missing_ok=True)
    before = outside.is_file() and outside.read_text()
    (project / path).symlink_to(outside)
    commit(project)
    done = adopt(project, "--yes", "--no-lock")
    assert done.returncode == 1
    assert f"{path} " in done.stderr or f"{path}/" in done.stderr
    assert "outside of the project" in done.stderr
    assert (outside.read_text() == before) if before else not any(outside.iterdir())
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


MARKER = "from pathlib import Path\n\nPath({!r}).touch()\n"


@pytest.fixture
def template(planted, tmp_path) -> Path:
    """A template of a few files with a hook, which is code: it makes the file."""
    files = {
        "cookiecutter.json": json.dumps({"project_name": "Shop", "repo_name": "shop", "python_package": "shop"}),
        "hooks/post_gen_project.py": MARKER.format(str(planted)),
        "CHANGELOG.md": "# Changelog\n",
        "{{ cookiecutter.repo_name }}/README.md": "# {{ cookiecutter.project_name }}\n",
        "{{ cookiecutter.repo_name }}/Makefile": "all:\n",
        "{{ cookiecutter.repo_name }}/src/vertexai_mlflow/__init__.py": '__version__ = "1.0.0"\n',
        "{{ cookiecutter.repo_name }}/src/vertexai_mlflow/MANIFEST.json": '{"version": "1.0.0", "files": {}}\n',
    }
    template = projects.write(files, tmp_path / "template")
    assert run("git", "remote", "add", "origin", f"file://{template}", cwd=template).returncode == 0
    return template


@pytest.fixture
def generated(template, tmp_path) -> Callable[..., Path]:
    """Make a project of the template's first commit, whose record somebody else has written; then release the next one."""

    def generated(**changes: object) -> Path:
        first = run("git", "rev-parse", "HEAD", cwd=template).stdout.strip()
        names = {"project_name": "Shop", "repo_name": "shop", "python_package": "shop"}
        record = {"template": f"file://{template}", "commit": first, "context": {"cookiecutter": names}, **changes}
        project = projects.write(
            {
                "README.md": "# Shop\n",
                "Makefile": "all:\n",
                "src/vertexai_mlflow/__init__.py": '__version__ = "1.0.0"\n',
                "src/vertexai_mlflow/MANIFEST.json": '{"version": "1.0.0", "files": {}}\n',
                ".gitignore": ".vertexai/\n",
                ".cruft.json": json.dumps(record),
            },
            tmp_path / "shop",
        )
        makefile = template / "{{ cookiecutter.repo_name }}/Makefile"
        makefile.write_text("all: # release 2\n")
        commit(template)
        return project

    return generated


def upgrade(project: Path, template: Path, *options: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """Call the command; with an answer, at a terminal, on which it is typed."""
    argv = [sys.executable, "-c", UPGRADE, str(template), *options]
    variables = {"PYTHONPATH": str(ROOT / "src"), "XDG_CONFIG_HOME": str(project.parent / "config")}
    if not answer:
        return run(*argv, cwd=project, **variables)
    return at_a_terminal(argv, project, answer, variables)


def at_a_terminal(
    argv: list[str], cwd: Path, answer: str, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    ours, theirs = pty.openpty()
    os.write(ours, f"{answer}\n".encode())
    try:
        return subprocess.run(
            argv, cwd=cwd, env={**os.environ, **variables}, stdin=theirs, capture_output=True, text=True, timeout=120
        )
    finally:
        os.close(ours)
        os.close(theirs)


OUTSIDE = {
    "an absolute path": lambda victim: str(victim),
    "a path upwards": lambda victim: "/".join([*[".."] * 30, *victim.parts[1:]]),
    "a path down and up": lambda victim: "/".join(["src", *[".."] * 30, *victim.parts[1:]]),
}


@pytest.mark.parametrize("options", [["--yes"], ["--yes", "--restore"]])
@pytest.mark.parametrize("path", ["src/vertexai_mlflow", "src/vertexai_mlflow/show", ".vertexai", ".cruft.json"])
def test_upgrading_writes_to_nothing_that_a_link_of_the_project_leads_to(path, options, generated, template, tmp_path):
    show = template / "{{ cookiecutter.repo_name }}/src/vertexai_mlflow/show"
    show.mkdir()
    (show / "tables.py").write_text("TABLES = 1\n")
    project, outside = generated(), tmp_path / "outside"
    if path == ".cruft.json":
        (project / path).rename(outside)
    else:
        outside.mkdir()
        (outside / "work.txt").write_text("not committed")
        shutil.rmtree(project / path, ignore_errors=True)
        (project / ".gitignore").write_text("")
    (project / path).symlink_to(outside)
    commit(project)
    before = {file: file.read_bytes() for file in [outside, *outside.rglob("*")] if file.is_file()}
    done = upgrade(project, template, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{path} leads to {outside}, outside of the project" in done.stderr
    assert {file: file.read_bytes() for file in [outside, *outside.rglob("*")] if file.is_file()} == before


@pytest.mark.parametrize("path", OUTSIDE)
def test_skip_removes_nothing_outside_of_the_project(path, generated, template, tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "work.txt").write_text("not committed")
    project = generated(skip=[OUTSIDE[path](victim)])
    done = upgrade(project, template, "--yes")
    assert (victim / "work.txt").exists()
    assert done.returncode == 1
    assert f".cruft.json: skip: {OUTSIDE[path](victim)} is not a path inside the project. Remove it." in done.stderr
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


@pytest.mark.parametrize("path", [".", "", "C:/Users", "\\\\server\\share", "..\\..\\x", 3, None])
def test_skip_names_paths_inside_the_project_only(path, generated, template):
    done = upgrade(generated(skip=[path]), template, "--yes")
    assert (done.returncode, f".cruft.json: skip: {path} is not a path inside the project" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("skip", [["Makefile"], None])
def test_skip_still_keeps_what_it_names(skip, generated, template):
    project = generated(skip=skip, owned=None)
    done = upgrade(project, template, "--yes")
    assert done.returncode == 0, done.stderr
    assert (project / "Makefile").read_text() == ("all:\n" if skip else "all: # release 2\n")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("project_name", lambda text: text),
        ("project_name", lambda text: [text]),
        ("project_name", lambda text: {"a": {"b": text}}),
        ("repo_name", lambda text: text),
        ("python_package", lambda text: text),
        ("unknown", lambda text: text),
    ],
)
def test_upgrading_renders_no_jinja_of_the_record(name, shape, generated, template, tmp_path):
    command = f"touch {tmp_path / 'by-jinja'}"
    jinja = f"{{{{ cycler.__init__.__globals__.os.popen('{command}').read() }}}}"
    names = {"project_name": "Shop", "repo_name": "shop", "python_package": "shop", name: shape(jinja)}
    done = upgrade(generated(context={"cookiecutter": names}), template, "--yes")
    assert not (tmp_path / "by-jinja").exists()
    assert done.returncode == 1
    assert f"The answer {name} is " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"template": None}, {"template": "https://example.com/\nTrusted: yes"}, {"commit": "--output=/tmp/x"}, {"commit": None},
        {"context": None}, {"context": {"cookiecutter": []}}, {"context": {"cookiecutter": {}}}, {"skip": "Makefile"}, {"owned": {"a": 1}},
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_refused_with_a_sentence(changes, generated, template, planted):
    done = upgrade(generated(**changes), template, "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: .cruft.json: {next(iter(changes))} ")
    assert not planted.exists()


def test_a_record_that_is_no_json_is_refused_with_a_sentence(generated, template, planted):
    project = generated()
    (project / ".cruft.json").write_text("{")
    done = upgrade(project, template, "--yes")
    assert (done.returncode, done.stderr.startswith("Error: .cruft.json cannot be read: ")) == (1, True)
    assert not planted.exists()


@pytest.mark.parametrize("options", [[], ["--verify"], ["--restore"]])
@pytest.mark.parametrize("answer", ["", "n"])
def test_nothing_of_the_template_runs_before_somebody_has_said_yes(answer, options, generated, template, planted):
    project = generated()
    done = upgrade(project, template, *options, answer=answer)
    assert not planted.exists()
    assert done.returncode == 1
    assert f"file://{template}" in done.stderr
    old, new = reversed(run("git", "rev-list", "HEAD", cwd=template).stdout.split())
    assert f"\nCommits:  {old if options else f'{old}, {new}'}\n" in done.stderr
    assert "--yes" in done.stderr
    assert run("git", "status", "--porcelain", cwd=project).stdout == ""


def test_a_yes_is_remembered_for_the_address_and_never_in_the_project(generated, template, planted, tmp_path):
    project = generated()
    done = upgrade(project, template, answer="y")
    assert done.returncode == 0, done.stderr
    assert planted.exists()
    assert (project / "Makefile").read_text() == "all: # release 2\n"
    (remembered,) = (path for path in (tmp_path / "config").rglob("*") if path.is_file())
    assert f"file://{template}\n" in remembered.read_text()
    assert run("git", "diff", "--cached", "--name-only", cwd=project).stdout.split() == [".cruft.json", "Makefile"]
    record = json.loads((project / ".cruft.json").read_text())
    assert set(record) == {"template", "commit", "context", "manifest"}
    commit(project)
    (template / "{{ cookiecutter.repo_name }}/Makefile").write_text("all: # release 3\n")
    commit(template)
    again = upgrade(project, template)
    assert again.returncode == 0, again.stderr
    assert f"file://{template}" in again.stderr
    # Another address is another question.
    assert run("git", "remote", "set-url", "origin", "https://me:token@example.com/other", cwd=template).returncode == 0
    commit(project)
    other = upgrade(project, template, "--verify")
    assert (other.returncode, "Template: https://example.com/other\n" in other.stderr) == (1, True)


def test_yes_on_the_command_line_is_for_this_time(generated, template, tmp_path):
    assert upgrade(generated(), template, "--yes").returncode == 0
    assert not (tmp_path / "config").exists()


# A stand-in for uv: what it is called with, and at last the commit whose code it would run.
UV = """\
#!/bin/sh
echo "$@" >> {report}
case "$*" in *vertexai-upgrade*|*kedro_vertexai_mlflow*) git -C .vertexai/.template rev-parse HEAD >> {report};; esac
"""


@pytest.fixture
def make_upgrade(tmp_path) -> Callable[..., tuple[subprocess.CompletedProcess[str], list[str]]]:
    """Call `make upgrade` in a project with the real Makefile and platform; returns what uv was told to run, if anything."""
    report, programs = tmp_path / "report", tmp_path / "bin"
    programs.mkdir()
    (programs / "uv").write_text(UV.format(report=report))
    (programs / "uv").chmod(0o755)

    def make_upgrade(
        project: Path, *options: str, answer: str = ""
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        for name in ("Makefile", "Dockerfile"):
            shutil.copy(PLATFORM.parents[1] / name, project)
        platform = project / "src/vertexai_mlflow"
        shutil.copytree(PLATFORM, platform, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        report.unlink(missing_ok=True)
        argv = ["make", "--silent", "upgrade", f"ARGS={' '.join(options)}"]
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        variables = {"PATH": path, "XDG_CONFIG_HOME": str(tmp_path / "config")}
        done = at_a_terminal(argv, project, answer, variables) if answer else run(*argv, cwd=project, **variables)
        return done, report.read_text().splitlines() if report.exists() else []

    return make_upgrade


def run_by_uv(commit: str, *options: str) -> list[str]:
    """What uv is called with, and the commit that is checked out then."""
    clone = ".vertexai/.template"
    called = f"tool run --quiet --from ./{clone} vertexai-upgrade {clone} --to {commit} --yes"
    return [" ".join([called, *options]), commit]


def test_make_upgrade_installs_what_the_commit_has_locked_by_hash_and_builds_nothing(generated, template, make_upgrade):
    (template / "requirements.lock").write_text("click==8.1\n")
    project = generated()
    newest = run("git", "rev-parse", "HEAD", cwd=template).stdout.strip()
    done, called = make_upgrade(project, "--to", newest, "--verify", "--yes")
    assert done.returncode == 0, done.stderr
    clone, environment = ".vertexai/.template", ".vertexai/.upgrade"
    *before, command, commit = called
    assert before == [
        f"venv --quiet --clear --python {sys.executable} {environment}",
        f"pip install --quiet --python {environment} --no-deps --require-hashes --no-build -r {clone}/requirements.lock",
    ]
    assert command == (
        f"run --quiet --no-project --python {environment} python -P -m kedro_vertexai_mlflow.upgrade.command "
        f"{clone} --to {newest} --yes --verify"
    )
    assert commit == newest


@pytest.mark.parametrize("answer", ["", "n"])
def test_make_upgrade_runs_nothing_of_an_address_before_somebody_has_said_yes(
    answer, generated, template, make_upgrade
):
    done, called = make_upgrade(generated(), answer=answer)
    assert called == []
    assert done.returncode == 2  # make's
    assert f"Template: file://{template}\nCommit:   " in done.stderr
    assert "Error: Nothing was run. " in done.stderr
    assert "Traceback" not in done.stderr


def test_make_upgrade_runs_the_code_of_the_commit_that_it_goes_to_and_not_the_newest(generated, template, make_upgrade):
    project = generated()
    newest, first = run("git", "rev-list", "HEAD", cwd=template).stdout.split()
    for command in (["tag", "v1.0.0", first], ["branch", "calm", first]):
        assert run("git", *command, cwd=template).returncode == 0
    for to in ("v1.0.0", "calm", first, first[:10]):
        done, called = make_upgrade(project, "--to", to, "--yes")
        assert done.returncode == 0, done.stderr
        assert called == run_by_uv(first), to
        assert f"Commit:   {first}\n" in done.stderr
    _, called = make_upgrade(project, "--verify", "--yes")
    assert called == run_by_uv(newest, "--verify")
    done, called = make_upgrade(project, "--to", "v9.9.9", "--yes")
    assert (called, "--to v9.9.9: the template at file:///" in done.stderr) == ([], True)


def test_make_upgrade_and_the_command_remember_the_same_yes(generated, template, make_upgrade, planted):
    project = generated()
    done, called = make_upgrade(project, answer="y")
    assert (done.returncode, called) == (0, run_by_uv(run("git", "rev-parse", "HEAD", cwd=template).stdout.strip()))
    # This time nobody answers.
    assert make_upgrade(project)[0].returncode == 0
    assert not planted.exists()
    assert upgrade(project, template, "--verify").returncode == 1  # the platform is another one than this template's
    assert planted.exists()


ADDRESSES = [
    "--upload-pack=touch planted",
    "ext::touch planted",
    "https://example.com/\nTemplate: https://mine",
    None,
    3,
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_make_upgrade_takes_no_option_and_no_second_line_for_an_address(address, generated, make_upgrade, tmp_path):
    done, called = make_upgrade(generated(template=address), "--yes")
    assert called == []
    assert done.returncode == 2
    assert not list(tmp_path.rglob("planted"))
    assert "Traceback" not in done.stderr
