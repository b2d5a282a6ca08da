"""``vertexai-upgrade``: Git merges into the project what changed in the template since the project was generated.

Both versions of the template are rendered with the project's answers. They become two commits that nobody sees, and Git
cherry-picks the second one: it merges three versions, follows renamed files, and marks what it cannot merge. The folder
of the platform is not merged but replaced.
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
from ..files import LOCKS, PLATFORM, RECORD, refuse_links_outside
from ..git import check_work_tree, git, list_tracked_files, run_git
from ..render import render
from . import from_0_1, platform
from .record import read_record
from .trust import ask_to_run

_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "template"), ("EMAIL", "template@localhost"))
}
# The state that `git status` prints for a path that could not be merged, and what to do about it.
_CONFLICTS = {
    "UU": "you and the template have changed the same lines. Both are between <<<<<<< and >>>>>>>: keep what you need",
    "AA": "you and the template have added this file. Both are between <<<<<<< and >>>>>>>: keep what you need",
    "DU": "you have removed or renamed it, and the template has changed it. Keep it or remove it",
    "UD": "the template has removed it, and you have changed it. Keep it or remove it",
}


@click.command()
@click.argument("template", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to", default="HEAD", show_default=True, help="The tag, branch or commit of the template to upgrade to."
)
@click.option("--restore", is_flag=True, help=f"Only restore {PLATFORM} as the template made it.")
@click.option("--verify", is_flag=True, help=f"Only check whether {PLATFORM} is as the template made it.")
@click.option("--yes", is_flag=True, help="Do not ask before code of the template runs, in CI for instance.")
def main(template: Path, to: str, restore: bool, verify: bool, yes: bool) -> None:
    """Merge what is new in TEMPLATE, a clone of the template's repository, into the project in this folder."""
    project = Path.cwd()
    record = read_record(project)
    refuse_links_outside(project, [RECORD, platform.PATCHES, *platform.list_folders(project)])
    _check_commit(template, record)
    address = run_git(template, "remote", "get-url", "origin").stdout.strip() or str(template.resolve())
    address = re.sub(r"^(https?://)[^/]*@", r"\1", address)  # a token for cloning must stay secret
    if restore or verify:
        ask_to_run(address, [record["commit"]], yes=yes)
        _compare(project, template, record, restore=restore)
        return
    if problems := check_work_tree(project):
        raise UserError("\n".join(problems))
    commits = {"old": str(record["commit"]), "new": git(template, "rev-parse", "--verify", f"{to}^{{commit}}")}
    if not git(template, "diff", "--name-only", *commits.values(), "--", "cookiecutter.json", "hooks", "{{*"):
        click.echo("The project is up to date with the template.")
        return
    ask_to_run(address, commits.values(), yes=yes)
    with tempfile.TemporaryDirectory() as folder:
        versions = {name: _render(template, commit, record, Path(folder) / name) for name, commit in commits.items()}
        context = json.loads((versions["new"] / RECORD).read_text())["context"]
        report = _merge(project, versions, record, f"the template, {_read_version(template, commits['new'])}")
    context["cookiecutter"] |= {"_template": record["template"], "_commit": commits["new"]}
    record |= {"commit": commits["new"], "context": context, "manifest": platform.hash_manifest(project)}
    (project / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    git(project, "add", RECORD)
    _print_report(project, template, commits, report)


@dataclass(frozen=True)
class _Report:
    """What happened to the project.

    Args:
        is_merged: whether Git had nothing to leave to the user.
        has_own_locks: whether the user has resolved the locks since.
        edits: file of the platform's folder that the user had changed → ``changed``, ``missing`` or ``new``.
        patch: the file that keeps these changes.
        move: what happened to a project of version 0.1.
    """

    is_merged: bool
    has_own_locks: bool
    edits: Mapping[str, str]
    patch: str
    move: from_0_1.Move | None


def _check_commit(template: Path, record: dict[str, Any]) -> None:
    """Refuse a record whose commit is not in the template."""
    if run_git(template, "cat-file", "-e", f"{record['commit']}^{{commit}}").returncode:
        raise UserError(
            f"{RECORD}: the template at {record['template']} has no commit {record['commit']}. Write the commit from "
            "which the project was generated."
        )


def _compare(project: Path, template: Path, record: dict[str, Any], *, restore: bool) -> None:
    """Print how the platform's folder differs from the one that the template made, and restore it on request."""
    owned_files = platform.list_owned_files(record)
    with tempfile.TemporaryDirectory() as folder:
        original = _render(template, record["commit"], record, Path(folder) / "old")
        edits = platform.find_platform_edits(project, original, owned_files)
        for path, state in edits.items():
            click.echo(f"{path} is {state}.")
        if edits and restore:
            version = _read_version(template, record["commit"])
            patch = platform.write_patch(project, original, edits, f"platform-{version}")
            platform.replace_platform(project, original, owned_files)
            click.echo(f"{PLATFORM} was restored, and the change is staged. Your changes are kept in {patch}.")
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
    if not (project / RECORD).exists():  # the template's address is a path of one machine
        (project / RECORD).write_text(json.dumps({"context": record["context"]}))
    return project


def _merge(project: Path, versions: dict[str, Path], record: dict[str, Any], message: str) -> _Report:
    """Merge what is new, and stage it.

    Args:
        project: the project's folder.
        versions: ``old`` and ``new``: the project as the template made it then, and as it makes it now. What is not to
            be merged is removed from both.
        record: where the project comes from.
        message: what Git writes beside lines that it cannot merge.
    """
    old, new = versions["old"], versions["new"]
    package, owned_files = record["context"]["cookiecutter"]["python_package"], platform.list_owned_files(record)
    move, edits, patch = None, {}, ""
    if from_0_1.is_needed(old, package):
        move = from_0_1.move(project, old, new, package)
    elif edits := platform.find_platform_edits(project, old, owned_files):
        manifest = json.loads((old / PLATFORM / "MANIFEST.json").read_text())
        patch = platform.write_patch(project, old, edits, f"platform-{manifest['version']}")
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        shutil.copytree(new / PLATFORM, template / PLATFORM)
        has_own_locks = _remove_unmerged(project, versions, record, owned_files)
        is_merged = _cherry_pick(project, versions, Path(folder), message)
        platform.replace_platform(project, template, owned_files)
    return _Report(is_merged, has_own_locks, edits, patch, move)


def _remove_unmerged(project: Path, versions: dict[str, Path], record: dict[str, Any], owned_files: set[str]) -> bool:
    """Remove from both versions what is not to be merged.

    That is the platform's folder except for the files in it that the project owns, files that the user has removed or
    Git ignores, the paths in the record's list ``skip``, the record itself, and the locks, once the user has resolved
    one of them. Returns whether that is so.
    """
    old, new = versions["old"], versions["new"]
    has_own_locks = "changed" in platform.compare_files(project, old, LOCKS).values()
    tracked_files = set(map(Path, list_tracked_files(project)))
    removed_files = {path.relative_to(old) for path in old.rglob("*") if path.is_file()} - tracked_files
    sealed_files = (platform.list_platform_files(old) | platform.list_platform_files(new)) - owned_files
    locks = LOCKS if has_own_locks else ()
    for path in [*removed_files, *map(Path, [*sealed_files, *(record.get("skip") or []), RECORD, *locks])]:
        for version in versions.values():
            if (version / path).is_dir():
                shutil.rmtree(version / path)
            else:
                (version / path).unlink(missing_ok=True)
    return has_own_locks


def _cherry_pick(project: Path, versions: dict[str, Path], folder: Path, message: str) -> bool:
    """Merge the difference of two versions into the project. Returns whether there was no conflict."""
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


def _read_version(template: Path, commit: str) -> str:
    """Return the template's version at a commit."""
    text = run_git(template, "show", f"{commit}:{{{{ cookiecutter.repo_name }}}}/{PLATFORM}/__init__.py").stdout
    version = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    return version[1] if version else run_git(template, "show", f"{commit}:VERSION").stdout.strip() or commit[:8]


def _print_report(project: Path, template: Path, commits: dict[str, str], report: _Report) -> None:
    """Print what was merged, what is left to decide, and what else must be done."""
    old, new = (_read_version(template, commit) for commit in commits.values())
    lines = git(project, "status", "--porcelain").splitlines()
    conflicts = [(line[3:], _CONFLICTS[line[:2]]) for line in lines if line[:2] in _CONFLICTS]
    if not report.is_merged and not conflicts:
        raise UserError("Git could not merge the template's changes. To undo what was done: git reset --hard")
    names = [f"{version} ({commit[:8]})" for version, commit in zip((old, new), commits.values(), strict=True)]
    others = [line for line in lines if not line[3:].startswith(PLATFORM)]
    click.echo(
        f"Template {' → '.join(names)}: {PLATFORM} was replaced, and {len(others)} other files have changed. "
        "Everything is staged."
    )
    if report.edits:
        click.echo(f"\nYou had changed these files of {PLATFORM}. Your changes are kept in {report.patch}:")
        for path, state in report.edits.items():
            click.echo(f"  {path}: {state}")
    if report.move:
        _print_move(project, report.move)
    if report.has_own_locks:
        click.echo(
            f"You have resolved {' and '.join(LOCKS)} yourself, so they were not changed. Update them: make lock"
        )
    for section in find_upgrade_notes(run_git(template, "show", f"{commits['new']}:CHANGELOG.md").stdout, old):
        click.echo(f"\n{section}")
    if conflicts:
        click.echo("\nLeft for you to decide:")
        for path, words in conflicts:
            click.echo(f"  {path}: {words}, then `git add {path}`.")
    click.echo("\n`git diff --cached` shows the changes, and `git reset --hard` undoes them.")
    if conflicts:
        raise SystemExit(1)


def _print_move(project: Path, move: from_0_1.Move) -> None:
    """Print what happened to a project of version 0.1."""
    package = move.package
    click.echo(
        f"\nsrc/{package}/vertexai, src/{package}/errors.py, infra, and the tokens in src/{package}/auth have moved to "
        f"{PLATFORM}. That folder is the template's: its README says what you may rely on."
    )
    sections = {
        f"You had changed these files. Your changes are kept in {move.patch}:": [
            f"{path}: {state}" for path, state in move.edits.items()
        ],
        "Names of modules were replaced in:": move.rewritten_files,
        "These are yours and still work, so they were not replaced. A new project has a shorter form:": move.kept_files,
        "These lines still name something that has moved. Fix them:": from_0_1.find_mentions(project, package),
    }
    for title, lines in sections.items():
        if lines:
            click.echo(f"\n{title}")
            for line in lines:
                click.echo(f"  {line}")


def find_upgrade_notes(changelog: str, since: str) -> list[str]:
    """Return what users must do to upgrade from a version, newest first."""
    sections = re.split(r"^## ", changelog.partition(f"## [{since}]")[0], flags=re.MULTILINE)[1:]
    notes = []
    for section in sections:
        if match := re.search(r"^### Upgrading\n+(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL):
            notes.append(f"How to upgrade to {section.splitlines()[0]}:\n{match[1].rstrip()}")
    return notes


if __name__ == "__main__":
    main(prog_name="vertexai-upgrade")
