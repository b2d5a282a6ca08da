"""A project and the template → what becomes of each file, decided before anything is written."""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..errors import UserError
from ..git import git, run_git
from ..render import files_of, render
from .changes import Change
from .code import merge_cli, merge_settings
from .configuration import edit_catalog, edit_mlflow, edit_vertexai, facts, look_at_logging
from .dependencies import merge_pyproject
from .findings import findings
from .linters import FILES, FOLDER, leave_out_platform
from .project import Project

RECORD, SETTINGS = ".cruft.json", "conf/base/vertexai.yml"
LOCKS = ("requirements.lock", "requirements-launch.lock")
# Where projects keep their dependencies, if not in pyproject.toml.
REQUIREMENTS = ("requirements.txt", "src/requirements.txt")
CHECK_IS_TESTS_ONLY = (
    "`make check`, which CI calls, runs the tests alone, because nothing in this project runs ruff yet. Once "
    "`make lint` passes, write `check: lint`."
)
# A file of the user's with one of these names stays. The template's is put beside it under the other name.
BESIDE = {
    ".github/workflows/ci.yml": ".github/workflows/vertexai.yml",
    ".gitlab-ci.yml": "vertexai.gitlab-ci.yml",
    "Dockerfile": "Dockerfile.vertexai",
    "Makefile": "vertexai.mk",
}
AFTER_BESIDE = {
    ".github/workflows/ci.yml": "both workflows run after a push; keep of the template's what yours lacks.",
    ".gitlab-ci.yml": "include it in yours: `include: vertexai.gitlab-ci.yml`.",
    "Dockerfile": "the steps need what is in it; move your own lines there and rename it to Dockerfile.",
    "Makefile": "`make -f vertexai.mk` lists its commands. CI calls them by that name.",
}
# These are for a project that has nothing yet. The folder or pattern says what counts as having it.
ONLY_WITHOUT = {
    "README.md": "README*",
    "conf/README.md": "conf/README*",
    "conf/base/catalog.yml": "conf/base/catalog*",
    "conf/base/parameters.yml": "conf/base/parameters*",
    "conf/logging.yml": "conf/**/logging.yml",
    "notebooks/.gitkeep": "notebooks",
    "tests/conftest.py": "**/test*/*.py",
    "tests/test_project.py": "**/test*/*.py",
}


Read = TypeVar("Read")


@dataclass
class Plan:
    """What happens, file by file.

    Args:
        files: path → new content.
        new: the files that are not there yet.
        added: path → what is added to it, in words.
        replaced: the user's lines that change, each with its place.
        kept: the user's files that stay although the template has others, each with what follows.
        apart: all such files, also those that need no words.
        removed: the user's files that nothing reads any more.
        left: what only the user can do, each with its place.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    added: dict[str, list[str]] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def merge(self, path: str, change: Change, before: str) -> None:
        """Take a change of a file into the plan."""
        if change.text != before:
            self.files[path] = change.text.encode()
        if change.added:
            self.added[path] = change.added
        self.replaced += [_placed(path, *entry) for entry in sorted(change.replaced)]
        self.left += [_placed(path, *entry) for entry in sorted(change.left)]


def _placed(path: str, line: int, words: str) -> str:
    return f"{path}:{line}: {words}" if line else f"{path}: {words}"


def make_plan(project: Project, template: Path, ci: str) -> Plan:
    """Decide about every file.

    Args:
        project: the project that joins.
        template: the folder of the template.
        ci: whose CI files it gets: ``github``, ``gitlab`` or ``none``.
    """
    providers = _providers(project)
    ours = _with_providers_in(providers, project, _rendered(project, template, ci))
    package, plan = f"src/{project.package}", Plan()
    requirements = {name: text for name in REQUIREMENTS if (text := project.text(name))}
    is_linted = _is_linted(project, ours)
    if not is_linted:
        ours["Makefile"] = _without_linter(ours["Makefile"])
    merges = _merges(project, ours, package, requirements)
    for path, content in ours.items():
        theirs = project.text(path)
        if not (project.folder / path).exists():
            if not _superfluous(project, path):
                plan.new.append(path)
                plan.files[path] = content
        elif path in merges:
            plan.merge(path, _reading(path, merges[path], theirs, content.decode()), theirs)
            if path == SETTINGS:  # A file of kedro-vertexai has nothing of the template's in it.
                plan.apart.append(path)
        elif theirs.encode() != content and path not in (RECORD, *LOCKS):
            _keep(project, plan, path, content)
    _note_what_is_kept(plan)
    if "vertexai.mk" in plan.files:
        _call_the_other_makefile(plan)
    if not is_linted:
        plan.left += [f"{path}: {CHECK_IS_TESTS_ONLY}" for path in ("Makefile", "vertexai.mk") if path in plan.files]
    for path in FILES:
        if (text := project.text(path)) and path not in ours:
            plan.merge(path, leave_out_platform(path, text), text)
    for path in project.configuration("catalog*"):
        own = {module.name for module in (project.folder / "src").iterdir()}
        plan.merge(path, edit_catalog(project.text(path), own), project.text(path))
    for path in project.configuration("vertexai*"):
        if path not in ours:
            plan.merge(path, edit_vertexai(project.text(path)), project.text(path))
    for path in project.configuration("mlflow*"):
        plan.merge(path, edit_mlflow(project.text(path), f"{project.package}.{providers}"), project.text(path))
    for path in project.configuration("logging*"):
        plan.merge(path, look_at_logging(project.text(path)), project.text(path))
    for path in project.python_files():
        if project.text(path).encode() != ours.get(path):
            plan.left += [f"{path}:{line}: {words}" for line, words in findings(project.text(path), project.package)]
    _remove_requirements(project, plan, requirements)
    _about_the_rest(project, plan)
    return plan


def _reading(path: str, read: Callable[..., Read], *texts: str) -> Read:
    """Call what parses a module, and name the module when it is no Python."""
    try:
        return read(*texts)
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: this is no Python of today: {error.msg}. Correct it first.") from None


def _keep(project: Project, plan: Plan, path: str, content: bytes) -> None:
    """Let a file of the user's stay, and put the template's beside it where somebody needs it."""
    plan.apart.append(path)
    if path in BESIDE:
        if not (project.folder / BESIDE[path]).exists():
            plan.new.append(BESIDE[path])
            plan.files[BESIDE[path]] = content
        plan.kept.append(f"{path}: the template's is {BESIDE[path]}; {AFTER_BESIDE[path]}")
    elif path.startswith(f"{FOLDER}/"):
        plan.kept.append(f"{path}: it differs from the template's. `make upgrade ARGS=--restore` puts it back.")
    elif path.startswith("conf/") and path not in (*ONLY_WITHOUT, "conf/local/credentials.yml"):
        plan.kept.append(f"{path}: it differs from the template's.")


def _note_what_is_kept(plan: Plan) -> None:
    """Tell `make upgrade` which files are the user's alone."""
    if RECORD in plan.files:
        record = {**json.loads(plan.files[RECORD]), "skip": plan.apart}
        plan.files[RECORD] = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def _rendered(project: Project, template: Path, ci: str) -> dict[str, bytes]:
    answers = {"project_name": project.name, "python_package": project.package, "example": "no", "ci": ci}
    answers["repo_name"] = re.sub(r"[^a-z0-9]+", "-", project.folder.name.lower()).strip("-")
    for path in [*project.configuration("mlflow*"), *project.configuration("vertexai*")]:
        answers |= facts(project.text(path))
    with tempfile.TemporaryDirectory() as folder:
        return files_of(render(template, answers, Path(folder)))


def _providers(project: Project) -> str:
    """The package for header providers inside the user's: ``auth``, unless that is something else of the user's."""
    folder = project.folder / "src" / project.package
    is_theirs = (folder / "auth.py").exists() or ((folder / "auth").exists() and not (folder / "auth/gcp.py").exists())
    return "mlflow_auth" if is_theirs else "auth"


def _with_providers_in(providers: str, project: Project, ours: dict[str, bytes]) -> dict[str, bytes]:
    """The template's files, with the header providers in a package of this name."""
    if providers == "auth":
        return ours
    old, new = f"src/{project.package}/auth/", f"src/{project.package}/{providers}/"
    module = (f"{project.package}.auth.", f"{project.package}.{providers}.")
    return {
        path.replace(old, new): content.replace(module[0].encode(), module[1].encode())
        if path.startswith("conf/")
        else content
        for path, content in ours.items()
    }


def _merges(
    project: Project, ours: dict[str, bytes], package: str, requirements: dict[str, str]
) -> dict[str, Callable[[str, str], Change]]:
    """Return the files that are merged, and how."""
    lock = ours["requirements-launch.lock"].decode()
    own = {path.stem for path in (project.folder / "src").iterdir()} | {"vertexai_mlflow"}

    def pyproject(theirs: str, our: str) -> Change:
        change = merge_pyproject(theirs, our, lock, requirements)
        linters = leave_out_platform("pyproject.toml", change.text)
        change.text = linters.text
        change.added += linters.added
        change.left += linters.left
        return change

    return {
        "pyproject.toml": pyproject,
        f"{package}/settings.py": lambda theirs, _: merge_settings(theirs, own),
        f"{package}/cli.py": lambda theirs, _: merge_cli(theirs, own),
        SETTINGS: lambda theirs, _: edit_vertexai(theirs),
        ".gitignore": _missing_lines_after,
        ".gitattributes": _platforms_line_after,
        ".dockerignore": _before,
        ".pre-commit-config.yaml": lambda theirs, _: leave_out_platform(".pre-commit-config.yaml", theirs),
    }


def _remove_requirements(project: Project, plan: Plan, requirements: dict[str, str]) -> None:
    """Remove requirement files, whose lines are in pyproject.toml now, unless something still names them."""
    for path in requirements:
        users = [
            user
            for user in git(project.folder, "ls-files", "-z").split("\0")
            if user not in ("", path, "pyproject.toml") and not user.endswith((".md", ".ipynb"))
            if Path(path).name in _text_of(project.folder / user)
        ]
        if any(path in sentence for sentence in plan.left):
            plan.kept.append(f"{path}: remove it when the lines that are left to you are done.")
        elif users:
            plan.kept.append(f"{path}: pyproject.toml has its lines now, but {', '.join(users[:5])} names it.")
        else:
            plan.removed.append(path)


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode() if file.is_file() else ""
    except UnicodeDecodeError:
        return ""


def _superfluous(project: Project, path: str) -> bool:
    """Tell whether a file that the project does not have would be of no use to it."""
    if path in ONLY_WITHOUT:
        return any(match for match in project.folder.glob(ONLY_WITHOUT[path]) if ".venv" not in match.parts)
    if path == "conf/local/credentials.yml":  # It must not be staged.
        return True
    if path == "conf/local/.gitignore":  # Kedro needs the folder, so Git must have a file in it.
        return bool(git(project.folder, "ls-files", "conf/local"))
    return path == ".telemetry" and not run_git(project.folder, "check-ignore", "--quiet", path).returncode


def _missing_lines_after(theirs: str, ours: str) -> Change:
    """Add the template's lines that are not there yet. A later line counts more, so none of theirs is undone."""
    missing = [
        line for line in ours.splitlines() if line and not line.startswith("#") and line not in theirs.splitlines()
    ]
    # Kedro's own file has other words for these, and an exception of ours would undo theirs.
    missing = [line for line in missing if not line.startswith(("!", "data/"))]
    if "credentials" in theirs:
        missing = [line for line in missing if not line.startswith("conf/")]
    exception = f"!/{FOLDER}/**"
    if exception not in theirs.splitlines():
        # Patterns such as `local/`, `lib/` and `*.json` would leave parts of the platform out.
        missing += ["", "# The template's package is whole, whatever the lines above say.", exception, "__pycache__/"]
    change = Change(theirs)
    if missing:
        change.text = "\n".join([theirs.rstrip(), "", "# Vertex AI, MLflow and CI", *missing, ""])
        change.added.append(f"what runs on this machine and CI jobs leave behind, in {len(missing)} lines")
    return change


def _platforms_line_after(theirs: str, ours: str) -> Change:
    """Add the template's line about its package."""
    change = Change(theirs)
    if FOLDER not in theirs:
        change.text = f"{theirs.rstrip()}\n\n{ours}".lstrip()
        change.added.append(f"{FOLDER} is marked as vendored")
    return change


def _before(theirs: str, ours: str) -> Change:
    """Put the template's lines first. What the user leaves out of the image comes later and stays out."""
    if ours in theirs:
        return Change(theirs)
    return Change(
        f"{ours.rstrip()}\n\n{theirs}", added=["at its top, what the image needs; your lines count after that"]
    )


def _call_the_other_makefile(plan: Plan) -> None:
    """Let CI call the template's commands where another Makefile has the usual name."""
    for path in plan.files:
        if path.startswith(".github/workflows/") or path.endswith("gitlab-ci.yml"):
            text = plan.files[path].decode()
            plan.files[path] = re.sub(r"\bmake (?=--silent|[a-z])", "make -f vertexai.mk ", text).encode()


def _is_linted(project: Project, ours: dict[str, bytes]) -> bool:
    """Whether something of the user's already runs ruff before code is merged, so that their code passes."""
    places = (".github/**/*.y*ml", ".gitlab-ci.yml", ".pre-commit-config.yaml", "Makefile", "tox.ini", "noxfile.py")
    makefile = ours["Makefile"]
    the_templates = {*ours.values(), _without_linter(makefile)}
    files = [file for place in places for file in project.folder.glob(place)]
    return any("ruff" in _text_of(file) for file in files if file.read_bytes() not in the_templates)


def _without_linter(makefile: bytes) -> bytes:
    """Let `make check`, which CI calls, run the tests only: code that was never linted would fail its first push."""
    return makefile.replace(b"\ncheck: lint ##", b"\ncheck: ##", 1)


def _about_the_rest(project: Project, plan: Plan) -> None:
    """Say what no file shows."""
    if (project.folder / "conf/base/logging.yml").exists():
        plan.left.append("conf/base/logging.yml: Kedro 1 reads conf/logging.yml. Move it there.")
    for name in ("setup.py", "src/setup.py"):
        if (project.folder / name).exists():
            plan.kept.append(f"{name}: pyproject.toml says now what it said; delete it when nothing of yours needs it.")
    if (project.folder / "environment.yml").exists():
        plan.left.append("environment.yml: what it installs is not read. Add what the steps import to pyproject.toml.")
    if any(path.startswith(".github/") for path in plan.files) and not (project.folder / ".git").exists():
        plan.left.append(
            ".github: the project is not at the top of its repository, where GitHub looks. Move the files there."
        )
