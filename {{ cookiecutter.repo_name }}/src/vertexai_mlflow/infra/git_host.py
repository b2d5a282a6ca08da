"""The git host whose CI launches the pipeline, and which of its jobs may launch."""

import argparse
import json
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import UserError

# https://host:port/owner/name.git, ssh://git@host:port/owner/name, git@host:owner/name; the port of ssh is left out.
_ORIGIN = re.compile(
    r"^(?:https?://(?:[^@/]*@)?(?P<web>[^/]+)|(?:ssh://)?(?:[^@/]*@)?(?P<ssh>[^:/]+)(?::\d+(?=/))?)[:/]"
    r"(?P<repository>[^/].*?)(?:\.git)?/?$"
)
_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
_SECONDS = 20


@dataclass(frozen=True)
class Host:
    """A git host whose CI launches the pipeline.

    Args:
        name: ``github`` or ``gitlab``.
        issuer: URL of the issuer that signs the tokens of its jobs.
        repository: ``owner/name`` on that host.
        repository_id: the host's number for the repository, which no other repository ever gets.
        owner_id: the host's number for the owner, or on GitLab for the namespace.
        branch: the only branch whose jobs may launch.
        environment: the git host's environment, with its approvals, of the job that launches.
        workflow: on GitHub, the file of the only workflow whose jobs may launch.
    """

    name: str
    issuer: str
    repository: str
    repository_id: int
    owner_id: int
    branch: str
    environment: str
    workflow: str = "ci.yml"

    @property
    def audience(self) -> str:
        """The audience of its tokens; empty for the one that Google expects by default, which names the provider."""
        if self.name == "github":
            return ""
        return f"{self.issuer}/projects/{self.repository_id}/environments/{self.environment}"

    @property
    def subject(self) -> str:
        """The only identity in the pool that may act as the launcher. It has at most 127 bytes."""
        return f"repository:{self.repository_id}:environment:{self.environment}"

    @property
    def mapping(self) -> dict[str, str]:
        """Google's attributes, each with the expression that makes it from a job's token.

        The token's own subject is not used, because a repository's owner can change what it consists of.
        """
        number = "repository_id" if self.name == "github" else "project_id"
        return {"google.subject": f"'repository:' + assertion.{number} + ':environment:' + assertion.environment"}

    @property
    def condition(self) -> str:
        """Which jobs are let in: those that launch from the repository's branch, in the environment.

        The repository and its owner are identified by number. A name can be given up and registered by somebody else.
        Jobs of a fork and of a pull or merge request are not let in. On GitHub, jobs of other workflows are not let in
        either, because strangers may be able to start those (``pull_request_target``).
        """
        ref = f"refs/heads/{self.branch}"
        workflow = f"{self.repository}/.github/workflows/{self.workflow}@{ref}"
        if self.name == "github":
            claims = {"repository_id": self.repository_id, "repository_owner_id": self.owner_id, "ref": ref}
            claims |= {"workflow_ref": workflow}
            trigger = "event_name in ['push', 'workflow_dispatch']"
        else:
            claims = {"project_id": self.repository_id, "namespace_id": self.owner_id, "ref": self.branch}
            claims |= {"ref_type": "branch", "ref_protected": "true"}
            trigger = "pipeline_source in ['push', 'web']"
        claims["environment"] = self.environment
        tests = [*(f"{claim} == '{value}'" for claim, value in claims.items()), trigger]
        return " && ".join(f"assertion.{test}" for test in tests)


def find_host(project: Path, arguments: argparse.Namespace) -> Host | None:
    """The git host that git's remote names; None if the project has no configuration of a CI system.

    Args:
        project: the project's folder.
        arguments: the options ``server``, ``repository``, ``repository_id``, ``owner_id``, ``branch``, ``workflow`` and
            ``env``.

    Raises:
        UserError: when it is not clear which repository, branch or host is meant.
    """
    name = "github" if (project / ".github").is_dir() else "gitlab" if (project / ".gitlab-ci.yml").is_file() else ""
    if not name:
        return None
    origin = subprocess.run(["git", "remote", "get-url", "origin"], cwd=project, capture_output=True, text=True)
    remote = _ORIGIN.match(origin.stdout.strip())
    repository = arguments.repository or (remote["repository"] if remote else "")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", repository):
        raise UserError(
            f"--repository: '{repository}' does not have the form owner/name. Name the repository whose CI may launch, "
            "e.g. acme/penguins."
        )
    if not re.fullmatch(r"[\w./-]+", arguments.branch):
        raise UserError(
            f"--branch: '{arguments.branch}' cannot be put into the federation's condition. A branch's name may have "
            "letters, digits, '.', '_', '-' and '/'."
        )
    server = arguments.server or (remote["web"] or remote["ssh"] if remote else f"{name}.com")
    # The hosts for ssh through port 443.
    server = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}.get(server, server)
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", server):
        raise UserError(f"--server: '{server}' is not a host name. Name the host whose CI may launch, e.g. {name}.com.")
    workflow = _find_workflow(project, arguments.workflow) if name == "github" else Path("ci.yml")
    if name == "github" and f"branches: [{arguments.branch}]" not in workflow.read_text(encoding="utf-8"):
        raise UserError(
            f"--branch {arguments.branch}: {workflow.name} runs on pushes to another branch. Change it there first."
        )
    issuer = f"https://{server}"
    if name == "github":
        issuer = _GITHUB_ISSUER if server == "github.com" else f"{issuer}/_services/token"
    repository_id, owner_id = arguments.repository_id, arguments.owner_id
    if not (repository_id and owner_id):
        repository_id, owner_id = _fetch_ids(name, server, repository)
    return Host(name, issuer, repository, repository_id, owner_id, arguments.branch, arguments.env, workflow.name)


def _find_workflow(project: Path, name: str | None) -> Path:
    """The workflow that launches. In a project that had a ``ci.yml``, the template's is beside it."""
    folder = project / ".github/workflows"
    names = [name] if name else ["vertexai.yml", "ci.yml"]
    for candidate in names:
        if re.fullmatch(r"[\w.-]+", candidate) and (folder / candidate).is_file():
            return folder / candidate
    raise UserError(
        f"--workflow {names[-1]}: there is no file .github/workflows/{names[-1]}. Name the workflow that launches."
    )


def _fetch_ids(name: str, server: str, repository: str) -> tuple[int, int]:
    """The host's numbers for a repository and its owner, which anybody may read if the repository is public."""
    if name == "github":
        api = "https://api.github.com" if server == "github.com" else f"https://{server}/api/v3"
        url, owner, tool = f"{api}/repos/{repository}", "owner", f"gh api repos/{repository}"
    else:
        path = f"projects/{quote(repository, safe='')}"
        url, owner, tool = f"https://{server}/api/v4/{path}", "namespace", f"glab api {path}"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            repository_facts = json.load(response)
        return int(repository_facts["id"]), int(repository_facts[owner]["id"])
    except (OSError, ValueError, LookupError) as error:
        raise UserError(
            f"{url} does not return the numbers of {repository} and its owner ({error}), as is usual for a private "
            f"repository. Take id and {owner}.id from the output of '{tool}', and add: --repository-id N --owner-id N"
        ) from None
