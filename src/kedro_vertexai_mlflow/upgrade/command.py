"""``vertexai-upgrade``: what changed in the template since a project was generated is merged into the project by Git.

Both versions of the template are rendered with the project's answers. They become two commits that nobody sees, and Git
picks the second one: it merges three versions, follows renamed files, and marks what it cannot merge. The folder of the
platform is not merged but replaced.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..errors import UserError
from ..git import git, problems_of_the_work_tree, run_git
from ..render import render
from . import from_0_1, platform
from .platform import PLATFORM

_RECORD = ".cruft.json"
# The user renews both by one command, so one that is the user's makes both the user's.
_LOCKS = ("requirements.lock", "requirements-launch.lock")
_IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "template"), ("EMAIL", "template@localhost"))
}
# What `git status` says of a path that could not be merged, and what to do about it.
_CONFLICTS = {
    "UU": "you and the template have changed the same lines. Both are between <<<<<<< and >>>>>>>: keep what you need",
    "AA": "you and the template have added this file. Both are between <<<<<<< and >>>>>>>: keep what you need",
    "DU": "you have removed or renamed it, and the template has changed it. Keep it or remove it",
    "UD": "the template has removed it, and you have changed it. Keep it or remove it",
}


@click.command()
@click.argument("template", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", default="HEAD", show_default=True, help="The tag, branch or commit of the template to go to.")
@click.option("--restore", is_flag=True, help="Only put src/vertexai_mlflow back as the project's template made it.")
@click.option(
    "--verify", is_flag=True, help="Only tell whether src/vertexai_mlflow is as the project's template made it."
)
def main(template: Path, to: str, restore: bool, verify: bool) -> None:
    """Merge what is new in TEMPLATE, a clone of the template's repository, into the project in this folder."""
    project = Path.cwd()
    record = _read_record(project)
    old = _commit(template, record)
    if restore or verify:
        _compare(project, template, record, restore=restore)
        return
    if problems := problems_of_the_work_tree(project):
        raise UserError("\n".join(problems))
    commits = {"old": old, "new": git(template, "rev-parse", f"{to}^{{commit}}")}
    if not git(template, "diff", "--name-only", *commits.values(), "--", "cookiecutter.json", "hooks", "{{*"):
        click.echo("The project has all that is new in the template.")
        return
    with tempfile.TemporaryDirectory() as folder:
        versions = {name: _render(template, commit, record, Path(folder) / name) for name, commit in commits.items()}
        context = json.loads((versions["new"] / _RECORD).read_text())["context"]
        report = _merge(project, versions, record, f"the template, {_version(template, commits['new'])}")
    context["cookiecutter"] |= {"_template": record["template"], "_commit": commits["new"]}
    record |= {"commit": commits["new"], "context": context, "manifest": platform.manifest_hash(project)}
    platform.write_record(project, record, _RECORD)
    _tell(project, template, commits, report)


@dataclass(frozen=True)
class _Report:
    """What became of the project.

    Args:
        is_merged: whether Git had nothing to leave to the user.
        locks_are_yours: whether the user has renewed the locks.
        edits: file of the platform's folder that the user had changed → ``changed``, ``missing`` or ``new``.
        patch: the file that keeps these changes.
        move: what became of a project of version 0.1.
    """

    is_merged: bool
    locks_are_yours: bool
    edits: Mapping[str, str]
    patch: str
    move: from_0_1.Move | None


def _read_record(project: Path) -> dict[str, Any]:
    if not (project / _RECORD).exists():
        raise UserError(
            f"There is no {_RECORD} here, which says where the project comes from. Call this in the project's folder, "
            "or write the file: cruft link <the template's address> --checkout <the commit it was generated from>."
        )
    record: dict[str, Any] = json.loads((project / _RECORD).read_text())
    return record


def _commit(template: Path, record: dict[str, Any]) -> str:
    """The commit of the template that the project is at."""
    if run_git(template, "cat-file", "-e", f"{record['commit']}^{{commit}}").returncode:
        raise UserError(
            f"{_RECORD}: the template at {record['template']} has no commit {record['commit']}. Write the commit there "
            "from which the project was generated."
        )
    return str(record["commit"])


def _compare(project: Path, template: Path, record: dict[str, Any], *, restore: bool) -> None:
    """Tell how the platform's folder differs from the one that the template made; put it back if that is asked for."""
    owned = platform.owned_files(record)
    with tempfile.TemporaryDirectory() as folder:
        made = _render(template, record["commit"], record, Path(folder) / "old")
        paths = (platform.platform_files(project) | platform.platform_files(made)) - owned
        edits = platform.edited_files(project, made, paths)
        for path, state in edits.items():
            click.echo(f"{path} is {state}.")
        if edits and restore:
            patch = platform.write_patch(project, made, edits, f"platform-{_version(template, record['commit'])}")
            platform.replace(project, made, owned)
            click.echo(f"{PLATFORM} was put back, and that is staged. Your changes are kept in {patch}.")
    if not edits:
        click.echo(f"{PLATFORM} is as the template made it at {record['commit'][:12]}.")
    elif not restore:
        raise SystemExit(1)


def _render(template: Path, commit: str, record: dict[str, Any], folder: Path) -> Path:
    """Render the template as it was at a commit."""
    git(template.parent, "clone", "--quiet", "--shared", "--no-checkout", str(template.resolve()), str(folder))
    git(folder, "checkout", "--quiet", commit)
    # What is generated records this address, and not the folder of the clone.
    git(folder, "remote", "set-url", "origin", record["template"])
    answers = {name: text for name, text in record["context"]["cookiecutter"].items() if not name.startswith("_")}
    project = render(folder, answers, folder.with_name(f"{folder.name}-project"))
    if not (project / _RECORD).exists():  # the address is none that means something elsewhere
        (project / _RECORD).write_text(json.dumps({"context": record["context"]}))
    return project


def _merge(project: Path, versions: dict[str, Path], record: dict[str, Any], message: str) -> _Report:
    """Take over what is new, and stage it.

    Args:
        project: the project's folder.
        versions: ``old`` and ``new``: the project as the template made it, and as it makes it now. What is not to be
            merged is removed from both.
        record: where the project comes from.
        message: what Git writes beside lines that it cannot merge.
    """
    old, new = versions["old"], versions["new"]
    package, owned = record["context"]["cookiecutter"]["python_package"], platform.owned_files(record)
    move, edits, patch = None, {}, ""
    if from_0_1.is_needed(old, package):
        move = from_0_1.move(project, old, new, package)
    else:
        paths = (platform.platform_files(project) | platform.platform_files(old)) - owned
        edits = platform.edited_files(project, old, paths)
        if edits:
            manifest = json.loads((old / PLATFORM / "MANIFEST.json").read_text())
            patch = platform.write_patch(project, old, edits, f"platform-{manifest['version']}")
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        shutil.copytree(new / PLATFORM, template / PLATFORM)
        locks_are_yours = _leave_out(project, versions, record, owned)
        is_merged = _pick(project, versions, Path(folder), message)
        platform.replace(project, template, owned)
    return _Report(is_merged, locks_are_yours, edits, patch, move)


def _leave_out(project: Path, versions: dict[str, Path], record: dict[str, Any], owned: set[str]) -> bool:
    """Take out of both versions what is not to be merged.

    That is the platform's folder except for what the project owns of it, what the user has removed or Git leaves out,
    the paths in the record's list ``skip``, the record itself, and the locks, once the user has renewed them. Returns
    whether that is so.
    """
    old = versions["old"]
    locks_are_yours = "changed" in platform.edited_files(project, old, _LOCKS).values()
    kept = {Path(path) for path in git(project, "ls-files", "-z").split("\0")}
    gone = {path.relative_to(old) for path in old.rglob("*") if path.is_file()} - kept
    sealed = (platform.platform_files(old) | platform.platform_files(versions["new"])) - owned
    locks = _LOCKS if locks_are_yours else ()
    for path in [*gone, *map(Path, [*sealed, *record.get("skip", []), _RECORD, *locks])]:
        for version in versions.values():
            if (version / path).is_dir():
                shutil.rmtree(version / path)
            else:
                (version / path).unlink(missing_ok=True)
    return locks_are_yours


def _pick(project: Path, versions: dict[str, Path], folder: Path, message: str) -> bool:
    """Merge the difference of two versions into the project. Returns whether there was nothing to decide."""
    prefix = git(project, "rev-parse", "--show-prefix")
    top = Path(git(project, "rev-parse", "--show-toplevel"))
    commit: list[str] = []
    for name, version in versions.items():
        root = folder / f"{name}-tree"
        shutil.copytree(version, root / prefix)
        index = {"GIT_INDEX_FILE": str(folder / f"{name}-index")}
        git(top, f"--work-tree={root}", "add", "--all", "--force", ".", **index)
        tree = git(top, "write-tree", **index)
        parents = ["-p", *commit] if commit else []
        commit = [git(top, "commit-tree", tree, *parents, "-m", message, **_IDENTITY)]
    return not run_git(top, "cherry-pick", "--no-commit", *commit, **_IDENTITY).returncode


def _version(template: Path, commit: str) -> str:
    """The template's version at a commit."""
    text = run_git(template, "show", f"{commit}:{{{{ cookiecutter.repo_name }}}}/{PLATFORM}/__init__.py").stdout
    version = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return version[1] if version else run_git(template, "show", f"{commit}:VERSION").stdout.strip() or commit[:8]


def _tell(project: Path, template: Path, commits: dict[str, str], report: _Report) -> None:
    """Say what was merged, what is left to decide, and what else must be done."""
    old, new = (_version(template, commit) for commit in commits.values())
    lines = git(project, "status", "--porcelain").splitlines()
    conflicts = [(line[3:], _CONFLICTS[line[:2]]) for line in lines if line[:2] in _CONFLICTS]
    if not report.is_merged and not conflicts:
        raise UserError("Git could not merge the template's changes. To undo what was done: git reset --hard")
    names = [f"{version} ({commit[:8]})" for version, commit in zip((old, new), commits.values(), strict=True)]
    yours = [line for line in lines if not line[3:].startswith(PLATFORM)]
    click.echo(
        f"Template {' → '.join(names)}: {PLATFORM} is replaced, and {len(yours)} other files have changed. "
        "All is staged."
    )
    if report.edits:
        click.echo(f"\nYou had changed these files of {PLATFORM}. Your changes are kept in {report.patch}:")
        for path, state in report.edits.items():
            click.echo(f"  {path}: {state}")
    if report.move:
        _tell_move(project, report.move)
    if report.locks_are_yours:
        click.echo(f"{' and '.join(_LOCKS)} are yours, so they were left. Renew them: make lock")
    for part in _upgrading(run_git(template, "show", f"{commits['new']}:CHANGELOG.md").stdout, old):
        click.echo(f"\n{part}")
    if conflicts:
        click.echo("\nLeft for you to decide:")
        for path, words in conflicts:
            click.echo(f"  {path}: {words}, then `git add {path}`.")
    click.echo("\n`git diff --cached` shows the changes, and `git reset --hard` undoes them.")
    if conflicts:
        raise SystemExit(1)


def _tell_move(project: Path, move: from_0_1.Move) -> None:
    """Say what became of a project of version 0.1."""
    package = json.loads((project / _RECORD).read_text())["context"]["cookiecutter"]["python_package"]
    click.echo(
        f"\nWhat was src/{package}/vertexai, src/{package}/errors.py, infra, and the tokens in src/{package}/auth is "
        f"{PLATFORM} now, which is the template's: its README says what you may rely on."
    )
    sections = {
        f"You had changed these files of it. Your changes are kept in {move.patch}:": [
            f"{path}: {state}" for path, state in move.edits.items()
        ],
        "Names of modules were replaced in:": move.rewritten,
        "Yours, and still working, so they were left. `git diff` in a new project shows the shorter form:": move.own,
        "These lines still name something that has moved. Correct them:": from_0_1.mentions(project, package),
    }
    for title, lines in sections.items():
        if lines:
            click.echo(f"\n{title}")
            for line in lines:
                click.echo(f"  {line}")


def _upgrading(changelog: str, since: str) -> list[str]:
    """Return what users must do, version by version, newest first."""
    sections = re.split(r"^## ", changelog.partition(f"## [{since}]")[0], flags=re.MULTILINE)[1:]
    parts = []
    for section in sections:
        if upgrading := re.search(r"^### Upgrading\n+(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL):
            parts.append(f"What {section.splitlines()[0]} asks of a project:\n{upgrading[1].rstrip()}")
    return parts
