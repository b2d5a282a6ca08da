"""A project and the template → what becomes of each file, decided before anything is written."""

import ast
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
from .code import merge_cli, merge_settings, public_names
from .configuration import edit_catalog, edit_providers, edit_vertexai, facts
from .dependencies import merge_pyproject
from .findings import findings
from .project import Project

RECORD, SETTINGS = ".cruft.json", "conf/base/vertexai.yml"
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
        left: what only the user can do, each with its place.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    added: dict[str, list[str]] = field(default_factory=dict)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
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

    Raises:
        UserError: when modules of the user's are where the template's must be.
    """
    ours = _rendered(project, template, ci)
    package, plan = f"src/{project.package}", Plan()
    _refuse_other_modules(project, ours, package)
    merges = _merges(project, ours, package)
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
        elif theirs.encode() != content and path not in (RECORD, "requirements.lock"):
            _keep(project, plan, path, content, package)
    _note_what_is_kept(plan)
    if "vertexai.mk" in plan.files:
        _call_the_other_makefile(plan)
    for path in project.configuration("catalog*"):
        own = {module.name for module in (project.folder / "src").iterdir()}
        plan.merge(path, edit_catalog(project.text(path), own), project.text(path))
    for path in project.configuration("vertexai*"):
        if path not in ours:
            plan.merge(path, merges[SETTINGS](project.text(path), ""), project.text(path))
    for path in project.configuration("mlflow*"):
        plan.merge(path, edit_providers(project.text(path), project.package), project.text(path))
    for path in project.python_files():
        if project.text(path).encode() != ours.get(path):
            plan.left += [f"{path}:{line}: {said}" for line, said in findings(project.text(path), project.package)]
    _about_the_rest(project, plan)
    return plan


def _reading(path: str, read: Callable[..., Read], *texts: str) -> Read:
    """Call what parses a module, and name the module when it is no Python."""
    try:
        return read(*texts)
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: this is no Python of today: {error.msg}. Correct it first.") from None


def _keep(project: Project, plan: Plan, path: str, content: bytes, package: str) -> None:
    """Let a file of the user's stay, and put the template's beside it where somebody needs it."""
    plan.apart.append(path)
    if path in BESIDE:
        if not (project.folder / BESIDE[path]).exists():
            plan.new.append(BESIDE[path])
            plan.files[BESIDE[path]] = content
        plan.kept.append(f"{path}: the template's is {BESIDE[path]}; {AFTER_BESIDE[path]}")
    elif path.startswith((f"{package}/vertexai/", f"{package}/auth/", "conf/", "infra/")) and path not in ONLY_WITHOUT:
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


def _merges(project: Project, ours: dict[str, bytes], package: str) -> dict[str, Callable[[str, str], Change]]:
    """Return the files that are merged, and how."""
    requirements = {name: text for name in ("requirements.txt", "src/requirements.txt") if (text := project.text(name))}
    lock = ours["requirements.lock"].decode()
    models = ast.parse(ours[f"{package}/vertexai/settings/models.py"])
    known = {"": _fields(models, "Settings"), "run_config": _fields(models, "RunConfig")}
    return {
        "pyproject.toml": lambda theirs, our: merge_pyproject(theirs, our, lock, requirements),
        f"{package}/settings.py": merge_settings,
        f"{package}/cli.py": merge_cli,
        SETTINGS: lambda theirs, _: edit_vertexai(theirs, known),
        ".gitignore": _missing_lines_after,
        ".dockerignore": _before,
    }


def _fields(tree: ast.Module, model: str) -> set[str]:
    """Return the keys of a settings model."""
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == model)
    return {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _refuse_other_modules(project: Project, ours: dict[str, bytes], package: str) -> None:
    """The template's modules import each other by name, so another module under such a name cannot stay."""
    others = []
    for path, content in ours.items():
        if path.startswith((f"{package}/vertexai/", f"{package}/auth/", f"{package}/errors.py")):
            theirs = project.text(path)
            if theirs and (missing := public_names(content.decode()) - _reading(path, public_names, theirs)):
                others.append(
                    f"{path} is a module of yours, and the template needs one there with {', '.join(sorted(missing))}. "
                    "Give yours another name."
                )
    if others:
        raise UserError("\n".join(others))


def _superfluous(project: Project, path: str) -> bool:
    """Tell whether a file that the project does not have would be of no use to it."""
    if path in ONLY_WITHOUT:
        return any(found for found in project.folder.glob(ONLY_WITHOUT[path]) if ".venv" not in found.parts)
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
    change = Change(theirs)
    if missing:
        change.text = "\n".join([theirs.rstrip(), "", "# Vertex AI, MLflow and CI", *missing, ""])
        change.added.append(f"what runs on this machine and CI jobs leave behind, in {len(missing)} lines")
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


def _about_the_rest(project: Project, plan: Plan) -> None:
    """Say what no file shows."""
    if (project.folder / "conf/base/logging.yml").exists():
        plan.left.append("conf/base/logging.yml: Kedro 1 reads conf/logging.yml. Move it there.")
    for name in ("setup.py", "src/setup.py"):
        if (project.folder / name).exists():
            plan.kept.append(f"{name}: pyproject.toml says now what it said; delete it when nothing of yours needs it.")
    if any(path.startswith(".github/") for path in plan.files) and not (project.folder / ".git").exists():
        plan.left.append(
            ".github: the project is not at the top of its repository, where GitHub looks. Move the files there."
        )
