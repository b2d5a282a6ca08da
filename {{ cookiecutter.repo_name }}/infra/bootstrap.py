"""Create what the project needs in Google Cloud, grant its roles there, and fill in globals.yml: `make bootstrap`.

It can be run again at any time: it creates what is missing and leaves what exists. --dry-run only prints the plan.
"""

import argparse
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import facts
import gcloud
from wanted import APIS, Cloud, Grant, Host, Thing, grants, things

PROJECT = Path(__file__).resolve().parents[1]
# https://host:port/owner/name.git, ssh://git@host:port/owner/name, git@host:owner/name; the port of ssh is left out.
_ORIGIN = re.compile(
    r"^(?:https?://(?:[^@/]*@)?(?P<web>[^/]+)|(?:ssh://)?(?:[^@/]*@)?(?P<ssh>[^:/]+)(?::\d+(?=/))?)[:/]"
    r"(?P<repository>[^/].*?)(?:\.git)?/?$"
)
_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


class Refusal(Exception):
    """A mistake that whoever runs this can correct. The message says what is wrong and what to do."""


def main() -> None:
    """Parse the command line and do the work. If that is not possible, exit with 1 and a message that says why."""
    parser = argparse.ArgumentParser(prog="make bootstrap", description=__doc__)
    parser.add_argument(
        "-e", "--env", default="cloud", help="configuration environment: a folder below conf  [default: cloud]"
    )
    parser.add_argument("--server", help="git host, e.g. gitlab.example.com  [default: that of git's remote origin]")
    parser.add_argument(
        "--repository", help="owner/name on that host, as the host spells it  [default: that of git's remote origin]"
    )
    parser.add_argument("--branch", default="main", help="the only branch whose CI may launch  [default: main]")
    parser.add_argument(
        "--mlflow",
        default="",
        metavar="KIND[:SERVICE]",
        help="resource that Identity-Aware Proxy guards: cloud-run:SERVICE, backend-services:SERVICE or app-engine",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    arguments = parser.parse_args()
    try:
        bootstrap(arguments)
    except (Refusal, gcloud.GcloudError) as error:
        sys.exit(f"Error: {error}")


def bootstrap(arguments: argparse.Namespace) -> None:
    """Compare what the project needs with what exists, and create what is missing."""
    path = PROJECT / "conf" / arguments.env / "globals.yml"
    if not re.fullmatch(r"[\w-]+", arguments.env) or not path.is_file():
        raise Refusal(f"--env {arguments.env}: there is no file {path.relative_to(PROJECT)}.")
    cloud = _cloud(arguments, path)
    dry = arguments.dry_run
    marked = "This is a dry run: what has a + would be created." if dry else "What has a + is created now."
    print(f"Project {cloud.project} ({cloud.number}), region {cloud.region}. {marked}")
    _enable_apis(cloud, dry)
    for thing in things(cloud):
        _make(thing, dry)
    policy = functools.cache(_policy)
    for grant in grants(cloud):
        _grant(grant, policy(grant.group, grant.target), dry)
    _fill_in(path, cloud, dry)
    if not cloud.mlflow:
        print("To let the pipeline through to an MLflow behind Identity-Aware Proxy, add: --mlflow cloud-run:SERVICE")


def _cloud(arguments: argparse.Namespace, path: Path) -> Cloud:
    """The facts that are filled in, and for each of the others a name that is made from the project's name."""
    known, where = facts.read(path), path.relative_to(PROJECT)
    if missing := [name for name in ("project_id", "region") if not known.get(name)]:
        raise Refusal(f"{where}: fill in {' and '.join(missing)} first. All other names can be made from them.")
    project, region = known["project_id"], known["region"]
    described = gcloud.read("projects", "describe", project)
    if described is None:
        raise Refusal(f"{where}: project_id: there is no project {project}, or your gcloud account may not see it.")
    number = str(described["projectNumber"])
    host = _host(arguments)
    package = next((PROJECT / "src").glob("*/settings.py")).parent.name
    # Each environment has names of its own, because several environments may share one Google Cloud project.
    slug = package.replace("_", "-").strip("-") + ("" if arguments.env == "cloud" else f"-{arguments.env}")
    bucket = known.get("bucket") or f"gs://{project}-{_short(slug, 30)}"
    pools = f"projects/{number}/locations/global/workloadIdentityPools"
    cloud = Cloud(
        project=project,
        number=number,
        region=region,
        bucket="/".join(bucket.split("/")[:3]),
        registry=known.get("artifact_registry") or f"{region}-docker.pkg.dev/{project}/{slug}",
        pipeline=known.get("service_account") or f"{_short(slug, 20)}-pipeline@{project}.iam.gserviceaccount.com",
        launcher=known.get("ci_service_account") or f"{_short(slug, 20)}-launcher@{project}.iam.gserviceaccount.com",
        provider=known.get("workload_identity_provider")
        or f"{pools}/{_short(slug, 29)}-ci/providers/{host.name if host else 'ci'}",
        host=host,
        mlflow=_iap_resource(arguments.mlflow, region),
    )
    accounts = f"@{project}.iam.gserviceaccount.com"
    own = {
        "service_account": cloud.pipeline.endswith(accounts),
        "ci_service_account": cloud.launcher.endswith(accounts),
        "workload_identity_provider": cloud.provider.startswith(f"{pools}/"),
    }
    if strange := [name for name, is_own in own.items() if not is_own]:
        raise Refusal(
            f"{where}: {', '.join(strange)}: not in project {project} ({number}). To have a new one created, put a "
            "<placeholder> in its place. To keep it, set it up by hand in the project that it belongs to."
        )
    return cloud


def _short(slug: str, length: int) -> str:
    """The first letters of a name. A name in Google Cloud must not end with a hyphen."""
    return slug[:length].rstrip("-")


def _host(arguments: argparse.Namespace) -> Host | None:
    """The git host whose CI launches, as git's remote names it; None if the project has no file of a CI system."""
    name = "github" if (PROJECT / ".github").is_dir() else "gitlab" if (PROJECT / ".gitlab-ci.yml").is_file() else ""
    if not name:
        return None
    origin = subprocess.run(["git", "remote", "get-url", "origin"], cwd=PROJECT, capture_output=True, text=True)
    remote = _ORIGIN.match(origin.stdout.strip())
    repository = arguments.repository or (remote["repository"] if remote else "")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", repository):
        raise Refusal(
            f"--repository: '{repository}' does not have the form owner/name. Name the repository whose CI may launch, "
            "e.g. acme/penguins."
        )
    if not re.fullmatch(r"[\w./-]+", arguments.branch):
        raise Refusal(
            f"--branch: '{arguments.branch}' cannot be put into the federation's condition. A branch's name may have "
            "letters, digits, '.', '_', '-' and '/'."
        )
    server = arguments.server or (remote["web"] or remote["ssh"] if remote else f"{name}.com")
    # The hosts that ssh uses when it goes through port 443.
    server = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}.get(server, server)
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", server):
        raise Refusal(
            f"--server: '{server}' is not a host name. Name the git host whose CI may launch, e.g. {name}.com."
        )
    if name == "gitlab":
        url = f"https://{server}"
        return Host(name, url, repository, arguments.branch, arguments.env, audience=url)
    workflow = PROJECT / ".github/workflows/ci.yml"
    if f"branches: [{arguments.branch}]" not in workflow.read_text(encoding="utf-8"):
        raise Refusal(
            f"--branch {arguments.branch}: {workflow.name} runs on pushes to another branch. Change it there first."
        )
    issuer = _GITHUB_ISSUER if server == "github.com" else f"https://{server}/_services/token"
    return Host(name, issuer, repository, arguments.branch, arguments.env)


def _iap_resource(text: str, region: str) -> tuple[str, ...]:
    kind, _, service = text.partition(":")
    if not text:
        return ()
    if kind == "app-engine" and not service:
        return ("--resource-type=app-engine",)
    if kind not in ("cloud-run", "backend-services") or not service:
        raise Refusal(f"--mlflow {text}: this must be cloud-run:SERVICE, backend-services:SERVICE or app-engine.")
    return (f"--resource-type={kind}", f"--service={service}", *([f"--region={region}"] if kind == "cloud-run" else []))


def _enable_apis(cloud: Cloud, dry: bool) -> None:
    project = f"--project={cloud.project}"
    enabled = {item["config"]["name"] for item in gcloud.read("services", "list", "--enabled", project) or []}
    for api, reason in APIS.items():
        _say(api in enabled, f"API {api}", reason)
    if missing := [api for api in APIS if api not in enabled]:
        _change(("services", "enable", *missing, project), dry)


def _make(thing: Thing, dry: bool) -> None:
    found = gcloud.read(*thing.describe)
    if found is None:
        _say(False, thing.name, thing.reason)
        _change(thing.create, dry)
    elif found.get("state") == "DELETED":
        raise Refusal(
            f"{thing.name} was deleted, and its name cannot be used again for 30 days. Bring it back with: "
            f"gcloud {shlex.join(thing.describe).replace(' describe ', ' undelete ')}"
        )
    elif all(_has(found.get(name), value) for name, value in thing.settings.items()):
        _say(True, thing.name, thing.reason)
    else:
        raise Refusal(
            f"{thing.name} exists, but it is not one that {thing.reason}. It may belong to somebody else, so it was "
            "not changed. If it belongs to this project, correct it with: "
            f"gcloud {shlex.join(thing.create).replace(' create-oidc ', ' update-oidc ')}"
        )


def _has(found: object, wanted: object) -> bool:
    """Whether a setting has the wanted value. Fields that Google adds to it do not matter."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return wanted.items() <= found.items()
    return found == wanted


def _policy(group: tuple[str, ...], target: tuple[str, ...]) -> set[tuple[str, str]]:
    """Who has which role there without a condition. Nobody has one on something that does not exist yet."""
    policy = gcloud.read(*group, "get-iam-policy", *target) or {}
    unconditional = [item for item in policy.get("bindings", []) if "condition" not in item]
    return {(member, item["role"]) for item in unconditional for member in item["members"]}


def _grant(grant: Grant, policy: set[tuple[str, str]], dry: bool) -> None:
    there = (grant.member, grant.role) in policy
    name = f"{grant.role} on {grant.on} for {grant.member}"
    unconditional = ("--condition=None",) if grant.group == ("projects",) else ()
    binding = (f"--member={grant.member}", f"--role={grant.role}", *unconditional)
    command = (*grant.group, "add-iam-policy-binding", *grant.target, *binding)
    if grant.appears and not there and (dry or not gcloud.change_if_known(*command)):
        print(f"later {name}\n      {grant.reason}; {grant.appears} makes this account. Then run:")
        return _change(command, dry=True)
    _say(there, name, grant.reason)
    if not there and not grant.appears:
        if grant.made_by:
            _change(grant.made_by, dry)
        _change(command, dry)


def _fill_in(path: Path, cloud: Cloud, dry: bool) -> None:
    """Fill in the facts that are still missing, and name those that only the user knows."""
    made = {"bucket": cloud.bucket, "artifact_registry": cloud.registry, "service_account": cloud.pipeline}
    if cloud.host:
        made |= {"ci_service_account": cloud.launcher, "workload_identity_provider": cloud.provider}
    where, known = path.relative_to(PROJECT), facts.read(path)
    for name in facts.missing(path, made) if dry else facts.fill_in(path, made):
        print(f"{'would fill in' if dry else 'filled in'} {where}: {name}: {made[name]}")
    if left := [name for name, value in known.items() if not value and name not in made]:
        print(f"Not filled in yet: {where}: {', '.join(left)}")


def _say(there: bool, name: str, reason: str) -> None:
    print(f"{'there' if there else '+':<6}{name}\n      {reason}", flush=True)


def _change(command: tuple[str, ...], dry: bool) -> None:
    if dry:
        print(f"      gcloud {shlex.join(command)}")
    else:
        gcloud.change(*command)


if __name__ == "__main__":
    main()
