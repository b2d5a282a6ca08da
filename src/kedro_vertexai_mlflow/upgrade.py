"""``vertexai-upgrade``: what changed in the template since a project was generated is merged into the project by Git.

Both versions of the template are rendered with the project's answers. They become two commits that nobody sees, and Git
picks the second one: it merges three versions, follows renamed files, and marks what it cannot merge.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from .errors import UserError
from .git import git, problems_of_the_work_tree, run_git
from .render import render

_RECORD, _LOCK = ".cruft.json", "requirements.lock"
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
def main(template: Path, to: str) -> None:
    """Merge what is new in TEMPLATE, a clone of the template's repository, into the project in this folder."""
    project = Path.cwd()
    record = _read_record(project)
    commits = {"old": record["commit"], "new": git(template, "rev-parse", f"{to}^{{commit}}")}
    if run_git(template, "cat-file", "-e", f"{commits['old']}^{{commit}}").returncode:
        raise UserError(
            f"{_RECORD}: the template at {record['template']} has no commit {commits['old']}. Write the commit there "
            "from which the project was generated."
        )
    if not git(template, "diff", "--name-only", *commits.values(), "--", "cookiecutter.json", "hooks", "{{*"):
        click.echo("The project has all that is new in the template.")
        return
    with tempfile.TemporaryDirectory() as folder:
        made = {name: _render(template, commit, record, Path(folder) / name) for name, commit in commits.items()}
        context = json.loads((made["new"] / _RECORD).read_text())["context"]
        lock_is_yours = _leave_out(project, made, record.get("skip", []))
        picked = _pick(project, made, Path(folder), f"the template, {_version(template, commits['new'])}")
    context["cookiecutter"] |= {"_template": record["template"], "_commit": commits["new"]}
    record |= {"commit": commits["new"], "context": context}
    (project / _RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    git(project, "add", _RECORD)
    _tell(project, template, commits, picked, lock_is_yours=lock_is_yours)


def _read_record(project: Path) -> dict[str, Any]:
    if not (project / _RECORD).exists():
        raise UserError(
            f"There is no {_RECORD} here, which says where the project comes from. Call this in the project's folder, "
            "or write the file: cruft link <the template's address> --checkout <the commit it was generated from>."
        )
    if problems := problems_of_the_work_tree(project):
        raise UserError("\n".join(problems))
    record: dict[str, Any] = json.loads((project / _RECORD).read_text())
    return record


def _render(template: Path, commit: str, record: dict[str, Any], folder: Path) -> Path:
    """Render the template as it was at a commit."""
    git(template.parent, "clone", "--quiet", "--shared", "--no-checkout", str(template.resolve()), str(folder))
    git(folder, "checkout", "--quiet", commit)
    answers = {name: text for name, text in record["context"]["cookiecutter"].items() if not name.startswith("_")}
    made = render(folder, answers, folder.with_name(f"{folder.name}-project"))
    if not (made / _RECORD).exists():  # Before the first version, only cruft wrote it.
        (made / _RECORD).write_text(json.dumps({"context": record["context"]}))
    return made


def _leave_out(project: Path, made: dict[str, Path], skip: list[str]) -> bool:
    """Take out of both versions what is the user's alone.

    That is what the user has removed or Git leaves out, the paths in the record's list ``skip``, the record itself, and
    the lock, once the user has renewed it. Returns whether that is so.
    """
    old, lock = made["old"], project / _LOCK
    lock_is_yours = lock.exists() and lock.read_bytes() != (old / _LOCK).read_bytes()
    kept = {Path(path) for path in git(project, "ls-files", "-z").split("\0")}
    gone = {path.relative_to(old) for path in old.rglob("*") if path.is_file()} - kept
    for path in [*gone, *map(Path, skip), Path(_RECORD), *([Path(_LOCK)] if lock_is_yours else [])]:
        for version in made.values():
            if (version / path).is_dir():
                shutil.rmtree(version / path)
            else:
                (version / path).unlink(missing_ok=True)
    return lock_is_yours


def _pick(project: Path, made: dict[str, Path], folder: Path, message: str) -> bool:
    """Merge the difference of two versions into the project. Returns whether there was nothing to decide."""
    prefix = git(project, "rev-parse", "--show-prefix")
    top = Path(git(project, "rev-parse", "--show-toplevel"))
    commit: list[str] = []
    for name, version in made.items():
        root = folder / f"{name}-tree"
        shutil.copytree(version, root / prefix)
        index = {"GIT_INDEX_FILE": str(folder / f"{name}-index")}
        git(top, f"--work-tree={root}", "add", "--all", "--force", ".", **index)
        tree = git(top, "write-tree", **index)
        parents = ["-p", *commit] if commit else []
        commit = [git(top, "commit-tree", tree, *parents, "-m", message, **_IDENTITY)]
    return not run_git(top, "cherry-pick", "--no-commit", *commit, **_IDENTITY).returncode


def _version(template: Path, commit: str) -> str:
    return run_git(template, "show", f"{commit}:VERSION").stdout.strip() or commit[:8]


def _tell(project: Path, template: Path, commits: dict[str, str], merged: bool, *, lock_is_yours: bool) -> None:
    """Say what was merged, what is left to decide, and what else must be done."""
    old, new = (_version(template, commit) for commit in commits.values())
    lines = git(project, "status", "--porcelain").splitlines()
    conflicts = [(line[3:], _CONFLICTS[line[:2]]) for line in lines if line[:2] in _CONFLICTS]
    if not merged and not conflicts:
        raise UserError("Git could not merge the template's changes. Nothing was changed: git reset --hard.")
    click.echo(f"Template {old} → {new}: {len(lines)} files are changed and staged.")
    if lock_is_yours:
        click.echo(f"{_LOCK}: it is yours, so it was left. Renew it: make lock")
    for part in _upgrading(run_git(template, "show", f"{commits['new']}:CHANGELOG.md").stdout, old):
        click.echo(f"\n{part}")
    if conflicts:
        click.echo("\nLeft for you to decide:")
        for path, words in conflicts:
            click.echo(f"  {path}: {words}, then `git add {path}`.")
    click.echo("\n`git diff --cached` shows the changes, and `git reset --hard` undoes them.")
    if conflicts:
        raise SystemExit(1)


def _upgrading(changelog: str, since: str) -> list[str]:
    """Return what users must do, version by version, newest first."""
    sections = re.split(r"^## ", changelog.partition(f"## [{since}]")[0], flags=re.MULTILINE)[1:]
    parts = []
    for section in sections:
        if found := re.search(r"^### Upgrading\n+(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL):
            parts.append(f"What {section.splitlines()[0]} asks of a project:\n{found[1].rstrip()}")
    return parts
