"""Decide what becomes of each file: a project and the template go in, a plan comes out, and nothing is written."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import LOCKS, PLATFORM, RECORD, read_text
from ..git import git, list_tracked_files, run_git
from .changes import Change
from .code import merge_cli, merge_settings
from .configuration import check_logging, edit_catalog, edit_mlflow, edit_vertexai
from .dependency_files import find_unread_files, read_requirement_files
from .findings import find_outdated_code
from .ignore_files import merge_dockerignore, merge_gitattributes, merge_gitignore
from .linters import LINTER_FILES, exclude_platform
from .makefile import LINT_LATER, OTHER_MAKEFILE, call_other_makefile, drop_linter, has_linter
from .project import Project
from .pyproject import merge_pyproject
from .python_version import choose_python
from .rendering import choose_provider_package, render_files

VERTEXAI_YML = "conf/base/vertexai.yml"
# A file of the user's that is kept → the name of the template's beside it, and what to do about the two.
BESIDE = {
    ".github/workflows/ci.yml": (".github/workflows/vertexai.yml", "both run after a push; keep what yours lacks."),
    ".gitlab-ci.yml": ("vertexai.gitlab-ci.yml", "include it in yours: `include: vertexai.gitlab-ci.yml`."),
    "Dockerfile": ("Dockerfile.vertexai", "the steps need it; move your own lines there and rename it to Dockerfile."),
    "Makefile": (OTHER_MAKEFILE, f"`make -f {OTHER_MAKEFILE}` lists its commands. CI calls them by that name."),
}
# These are for a project that has nothing of the kind. The pattern says what counts as having it.
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


# The Python that runs this command, and how to run it with another one.
_HERE = ".".join(map(str, sys.version_info[:2]))
_RUN_WITH = "run the command with the project's Python: uvx --from … --python {} vertexai-adopt"


@dataclass
class Plan:
    """What happens, file by file.

    Args:
        files: path → new content.
        new_files: those that the project does not have yet.
        additions: path → what is added to it, in words.
        replacements: the user's lines that change, each with its place.
        kept_files: the user's files that are kept although the template has others, each with what follows.
        skipped_files: all such files, for the list ``skip`` of `make upgrade`.
        removed_files: the user's files that nothing reads any more.
        todos: what only the user can do, each with its place.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    new_files: list[str] = field(default_factory=list)
    additions: dict[str, list[str]] = field(default_factory=dict)
    replacements: list[str] = field(default_factory=list)
    kept_files: list[str] = field(default_factory=list)
    skipped_files: list[str] = field(default_factory=list)
    removed_files: list[str] = field(default_factory=list)
    todos: list[str] = field(default_factory=list)

    def create(self, path: str, content: bytes) -> None:
        """Plan a new file."""
        self.new_files.append(path)
        self.files[path] = content

    def change(self, path: str, change: Change, before: str) -> None:
        """Plan the change of a file."""
        if change.text != before:
            self.files[path] = change.text.encode()
        if change.additions:
            self.additions[path] = change.additions
        self.replacements += [_locate(path, *entry) for entry in sorted(change.replacements)]
        self.todos += [_locate(path, *entry) for entry in sorted(change.todos)]


def _locate(path: str, line: int, words: str) -> str:
    return f"{path}:{line}: {words}" if line else f"{path}: {words}"


def make_plan(project: Project, template: Path, ci: str) -> Plan:
    """Decide about every file.

    Args:
        project: the existing project.
        template: the folder of the template.
        ci: which CI files the project gets: ``github``, ``gitlab`` or ``none``.
    """
    providers = choose_provider_package(project)
    python = choose_python(project, template)
    template_files = render_files(project, template, ci, providers, python)
    requirements = read_requirement_files(project)
    is_linted = has_linter(project, template_files)
    if not is_linted:
        template_files["Makefile"] = drop_linter(template_files["Makefile"])
    plan = Plan()
    _plan_template_files(project, plan, template_files, requirements, python)
    if OTHER_MAKEFILE in plan.files:
        call_other_makefile(plan.files)
    if not is_linted:
        plan.todos += [f"{path}: {LINT_LATER}" for path in ("Makefile", OTHER_MAKEFILE) if path in plan.files]
    for path in LINTER_FILES:
        if (text := project.read(path)) and path not in template_files:
            plan.change(path, exclude_platform(path, text), text)
    _plan_configuration(project, plan, template_files, f"{project.package}.{providers}")
    _check_code(project, plan, template_files, python)
    _remove_requirement_files(project, plan, requirements)
    _add_remarks(project, plan)
    plan.todos += [
        f"{path}: its packages are not read. Add those that the steps import to [project] of pyproject.toml."
        for path in find_unread_files(project, requirements)
    ]
    return plan


def _plan_template_files(
    project: Project, plan: Plan, template_files: dict[str, bytes], requirements: dict[str, str], python: str
) -> None:
    """Add each of the template's files, merge it with the user's, or keep the user's."""
    merges = _list_merges(project, template_files, requirements)
    for path, content in template_files.items():
        theirs = project.read(path)
        if not (project.folder / path).exists():
            if not _is_superfluous(project, path):
                plan.create(path, content)
        elif path in merges:
            try:
                plan.change(path, merges[path](theirs, content.decode()), theirs)
            except SyntaxError as error:
                message = (
                    f"{path}:{error.lineno}: Python {_HERE}, which runs this command, cannot read this: {error.msg}."
                )
                raise UserError(f"{message} Fix it first, or {_RUN_WITH.format(python)}") from None
            if path == VERTEXAI_YML:  # A file of kedro-vertexai has nothing of the template's in it.
                plan.skipped_files.append(path)
        elif theirs.encode() != content and path not in (RECORD, *LOCKS):
            _keep(project, plan, path, content)
    if RECORD in plan.files:
        record = {**json.loads(plan.files[RECORD]), "skip": plan.skipped_files}
        plan.files[RECORD] = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()


def _list_merges(
    project: Project, template_files: dict[str, bytes], requirements: dict[str, str]
) -> dict[str, Callable[[str, str], Change]]:
    """Return the files that are merged, each with the function that merges the user's text with the template's."""
    lock = template_files["requirements-launch.lock"].decode()
    modules = project.list_top_modules() | {"vertexai_mlflow"}

    def merge_tables(theirs: str, ours: str) -> Change:
        change = merge_pyproject(theirs, ours, lock, requirements)
        linters = exclude_platform("pyproject.toml", change.text)
        return Change(
            linters.text, change.additions + linters.additions, change.replacements, change.todos + linters.todos
        )

    return {
        "pyproject.toml": merge_tables,
        f"src/{project.package}/settings.py": lambda theirs, _: merge_settings(theirs, modules),
        f"src/{project.package}/cli.py": lambda theirs, _: merge_cli(theirs, modules),
        VERTEXAI_YML: lambda theirs, _: edit_vertexai(theirs),
        ".gitignore": merge_gitignore,
        ".gitattributes": merge_gitattributes,
        ".dockerignore": merge_dockerignore,
        ".pre-commit-config.yaml": lambda theirs, _: exclude_platform(".pre-commit-config.yaml", theirs),
    }


def _is_superfluous(project: Project, path: str) -> bool:
    """Whether a file that the project does not have would be of no use to it."""
    if path in ONLY_WITHOUT:
        return any(match for match in project.folder.glob(ONLY_WITHOUT[path]) if ".venv" not in match.parts)
    if path == "conf/local/credentials.yml":  # It must not be staged.
        return True
    if path == "conf/local/.gitignore":  # Kedro needs the folder, so Git must have a file in it.
        return bool(git(project.folder, "ls-files", "conf/local"))
    return path == ".telemetry" and not run_git(project.folder, "check-ignore", "--quiet", path).returncode


def _keep(project: Project, plan: Plan, path: str, content: bytes) -> None:
    """Keep one of the user's files, and put the template's beside it if something needs it."""
    plan.skipped_files.append(path)
    if path in BESIDE:
        other, advice = BESIDE[path]
        if not (project.folder / other).exists():
            plan.create(other, content)
        plan.kept_files.append(f"{path}: the template's is {other}; {advice}")
    elif path.startswith(f"{PLATFORM}/"):
        plan.kept_files.append(f"{path}: it differs from the template's. `make upgrade ARGS=--restore` puts it back.")
    elif path.startswith("conf/") and path not in (*ONLY_WITHOUT, "conf/local/credentials.yml"):
        plan.kept_files.append(f"{path}: it differs from the template's.")


def _plan_configuration(project: Project, plan: Plan, template_files: dict[str, bytes], providers: str) -> None:
    """Edit the YAML files of all environments."""
    modules = project.list_top_modules()
    edits: dict[str, Callable[[str], Change]] = {
        "catalog*": lambda text: edit_catalog(text, modules),
        "vertexai*": edit_vertexai,
        "mlflow*": lambda text: edit_mlflow(text, providers),
        "logging*": check_logging,
    }
    for pattern, edit in edits.items():
        for path in project.list_configuration(pattern):
            if pattern != "vertexai*" or path not in template_files:
                text = project.read(path)
                plan.change(path, edit(text), text)


def _check_code(project: Project, plan: Plan, template_files: dict[str, bytes], python: str) -> None:
    """Find what Kedro 1 does not run any more, or the project's oldest Python not yet."""
    unread_modules = []
    for path in project.list_modules():
        text = project.read(path)
        if text.encode() == template_files.get(path):
            continue
        try:
            plan.todos += [
                f"{path}:{line}: {words}" for line, words in find_outdated_code(text, project.package, python)
            ]
        except SyntaxError:
            unread_modules.append(path)
    if unread_modules:
        plan.todos.append(
            f"{', '.join(unread_modules)}: not checked, because Python {_HERE}, which runs this command, lacks this "
            f"syntax. If Python {python} has it, {_RUN_WITH.format(python)}"
        )


def _remove_requirement_files(project: Project, plan: Plan, requirements: dict[str, str]) -> None:
    """Remove requirement files, whose lines are in pyproject.toml now, unless another file refers to them."""
    for path in requirements:
        users = [
            user
            for user in list_tracked_files(project.folder)
            if user not in (path, "pyproject.toml") and not user.endswith((".md", ".ipynb"))
            if Path(path).name in read_text(project.folder / user)
        ]
        if any(path in sentence for sentence in plan.todos):
            plan.kept_files.append(f"{path}: remove it once you have dealt with its lines, which are listed below.")
        elif users:
            plan.kept_files.append(
                f"{path}: its lines are in pyproject.toml now, but {', '.join(users[:5])} still names it."
            )
        else:
            plan.removed_files.append(path)


def _add_remarks(project: Project, plan: Plan) -> None:
    """Add what no file of the template leads to."""
    if (project.folder / "conf/base/logging.yml").exists():
        plan.todos.append("conf/base/logging.yml: Kedro 1 reads conf/logging.yml. Move it there.")
    for name in ("setup.py", "src/setup.py"):
        if (project.folder / name).exists():
            plan.kept_files.append(f"{name}: pyproject.toml replaces it; delete it when nothing of yours needs it.")
    if any(path.startswith(".github/") for path in plan.files) and not (project.folder / ".git").exists():
        plan.todos.append(
            ".github: the project is not at the top of its repository, where GitHub looks. `make monorepo` writes its "
            "workflows there."
        )
