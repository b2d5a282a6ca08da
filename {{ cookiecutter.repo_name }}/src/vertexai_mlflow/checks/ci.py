"""Whether CI can launch: it needs two facts that launching from a laptop does not need."""

from ..contract.check import Doubt
from ..errors import PLACEHOLDER, not_filled_in
from ..project import Project

# What CI logs in as, and how. `make bootstrap` fills them in.
CI_FACTS = ("ci_service_account", "workload_identity_provider")
_LAUNCHES = "make launch"


def check_ci(project: Project) -> str:
    """Check that the facts are filled in, if this project has files for CI and this environment is for it.

    Raises:
        Doubt: naming those that are not. Launching from a laptop works without.
    """
    if not (files := _files(project)):
        return "no file of this project lets CI launch"
    facts = project.config("globals")
    if not any(name in facts for name in CI_FACTS):
        return f"{', '.join(files)}: not for this environment, whose globals.yml does not name {' and '.join(CI_FACTS)}"
    places = [
        f"conf/{project.env or 'base'}/globals.yml: {name}: {facts.get(name)}"
        for name in CI_FACTS
        if not facts.get(name) or PLACEHOLDER.search(str(facts[name]))
    ]
    if places:
        raise Doubt(f"A push will not launch. {not_filled_in(places)}. This fills it in: make bootstrap")
    return f"{', '.join(files)}: launches as {facts[CI_FACTS[0]]}"


def _files(project: Project) -> list[str]:
    """The files by which GitHub or GitLab launch this project."""
    files = [project.path / ".gitlab-ci.yml", *sorted((project.path / ".github/workflows").glob("*.y*ml"))]
    launching = [file for file in files if file.is_file() and _LAUNCHES in file.read_text(encoding="utf-8")]
    return [project.name_of(file) for file in launching]
