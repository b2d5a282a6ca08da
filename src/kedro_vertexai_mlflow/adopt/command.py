"""``vertexai-adopt``: show the plan, ask, then write and stage the files."""

from collections import Counter
from pathlib import Path

import click

from .. import TEMPLATE
from ..files import PLATFORM, refuse_links_outside
from ..git import git, run_git
from .locks import resolve_locks
from .plan import Plan, make_plan
from .project import Project, read_project


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before files are changed.")
@click.option("--ci", type=click.Choice(["github", "gitlab", "none"]), help="Which CI files to add.")
@click.option("--lock/--no-lock", default=True, help="Resolve both locks, using the package index.")
def main(folder: Path, dry_run: bool, yes: bool, ci: str | None, lock: bool) -> None:
    """Add to a Kedro project what it needs to run on Vertex AI with MLflow, and merge it with what is there.

    Changes are staged, so `git diff --cached` shows them and `git reset --hard` undoes them.
    """
    project = read_project(folder.resolve())
    plan = make_plan(project, TEMPLATE, ci or _guess_ci(project))
    _show(project, plan)
    refuse_links_outside(project.folder, plan.files)
    if dry_run:
        return
    if not plan.files:
        click.echo("There is nothing to do.")
        return
    if not yes:
        click.confirm("Change these files?", abort=True)
    problem = resolve_locks(project, plan, TEMPLATE) if lock and "pyproject.toml" in plan.files else ""
    _write(project, plan)
    if problem:
        click.echo(f"\n{click.unstyle(problem)}\n")
    click.echo("The changes are staged: `git diff --cached` shows them, and `git reset --hard` undoes them. Next:")
    click.echo("  pip install -e '.[launch,dev]'\n  kedro vertexai doctor --offline\n  kedro vertexai run-local")


def _guess_ci(project: Project) -> str:
    remote = run_git(project.folder, "remote", "get-url", "origin").stdout
    return "gitlab" if "gitlab" in remote or (project.folder / ".gitlab-ci.yml").exists() else "github"


def _show(project: Project, plan: Plan) -> None:
    """Print the plan, a heading for each kind."""
    click.echo(f"{project.name}: Kedro {project.kedro_version}, package {project.package}")
    counts = Counter(_group(path, project.package) for path in plan.new_files)
    sections = {
        "New files": [f"{name} ({count} files)" if count > 1 else name for name, count in counts.items()],
        "Lines added to": [f"{path}: {'; '.join(words)}" for path, words in plan.additions.items()],
        "Your lines that change": plan.replacements,
        "Your files that stay": plan.kept_files,
        "Your files that are removed": plan.removed_files,
        "Left for you to do": plan.todos,
    }
    for title, lines in sections.items():
        if lines:
            click.echo(f"\n{title}")
            for line in lines:
                click.echo(f"  {click.unstyle(line)}")
    click.echo()


def _group(path: str, package: str) -> str:
    """Return the folder that stands for a file in the list of new files, or the file itself."""
    folders = (f"{PLATFORM}/", f"src/{package}/auth/", f"src/{package}/mlflow_auth/")
    return next((folder for folder in folders if path.startswith(folder)), path)


def _write(project: Project, plan: Plan) -> None:
    """Write and stage all files. If one cannot be written, the others are restored."""
    try:
        for path, content in plan.files.items():
            file = project.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        git(project.folder, "add", "--force", "--", *plan.files)
        if plan.removed_files:
            git(project.folder, "rm", "--quiet", "--", *plan.removed_files)
    except OSError as error:
        git(project.folder, "add", "--force", "--", *[path for path in plan.files if (project.folder / path).exists()])
        git(project.folder, "reset", "--quiet", "--hard")
        raise click.ClickException(f"{error.filename}: {error.strerror}. Nothing was changed.") from None
