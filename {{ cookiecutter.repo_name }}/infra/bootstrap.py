"""Make what the project needs in Google Cloud, grant what it may do there, and fill in the facts: `make bootstrap`.

It can be run again at any time: what is there stays, what is missing is made. --dry-run only prints the plan.
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
# https://host:port/owner/name.git, ssh://git@host:port/owner/name, git@host:owner/name; the port of ssh is not wanted.
_ORIGIN = re.compile(
    r"^(?:https?://(?:[^@/]*@)?(?P<web>[^/]+)|(?:ssh://)?(?:[^@/]*@)?(?P<ssh>[^:/]+)(?::\d+(?=/))?)[:/]"
    r"(?P<repository>[^/].*?)(?:\.git)?/?$"
)
_GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


class Refusal(Exception):
    """A mistake of whoever runs this, in a sentence."""


def main() -> None:
    """Parse the command line, and exit with 1 and a sentence if something is in the way."""
    parser = argparse.ArgumentParser(prog="make bootstrap", description=__doc__)
    parser.add_argument("-e", "--env", default="cloud", help="folder below conf  [cloud]")
    parser.add_argument("--server", help="the git host, e.g. gitlab.example.com  [that of git's remote origin]")
    parser.add_argument("--repository", help="owner/name there, as the host spells it  [that of git's remote origin]")
    parser.add_argument("--branch", default="main", help="the only branch whose CI may launch  [main]")
    parser.add_argument(
        "--mlflow",
        default="",
        metavar="KIND[:SERVICE]",
        help="what Identity-Aware Proxy guards: cloud-run:SERVICE, backend-services:SERVICE or app-engine",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan, change nothing")
    arguments = parser.parse_args()
    try:
        bootstrap(arguments)
    except (Refusal, gcloud.GcloudError) as error:
        sys.exit(f"Error: {error}")


def bootstrap(arguments: argparse.Namespace) -> None:
    """Compare what is wanted with what there is, and make up the difference."""
    path = PROJECT / "conf" / arguments.env / "globals.yml"
    if not re.fullmatch(r"[\w-]+", arguments.env) or not path.is_file():
        raise Refusal(f"--env {arguments.env}: there is no file {path.relative_to(PROJECT)}.")
    cloud = _cloud(arguments, path)
    dry = arguments.dry_run
    print(f"Project {cloud.project} ({cloud.number}), region {cloud.region}{', nothing is changed' if dry else ''}")
    _enable_apis(cloud, dry)
    for thing in things(cloud):
        _make(thing, dry)
    policy = functools.cache(_policy)
    for grant in grants(cloud):
        _grant(grant, policy(grant.group, grant.target), dry)
    _fill_in(path, cloud, dry)
    if not cloud.mlflow:
        print("To let the pipeline through to an MLflow behind Identity-Aware Proxy: --mlflow cloud-run:SERVICE")


def _cloud(arguments: argparse.Namespace, path: Path) -> Cloud:
    """The facts that are filled in, and a name made of the project's for each that is not."""
    known, where = facts.read(path), path.relative_to(PROJECT)
    if missing := [name for name in ("project_id", "region") if not known.get(name)]:
        raise Refusal(f"{where}: fill in {' and '.join(missing)} first; everything else can be made of them.")
    project, region = known["project_id"], known["region"]
    described = gcloud.read("projects", "describe", project)
    if described is None:
        raise Refusal(f"{where}: project_id: there is no project {project}, or you may not see it.")
    number = str(described["projectNumber"])
    host = _host(arguments)
    package = next((PROJECT / "src").glob("*/settings.py")).parent.name
    # An environment of its own has things of its own; they may be in one project.
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
    own = {
        "service_account": cloud.pipeline.endswith(f"@{project}.iam.gserviceaccount.com"),
        "ci_service_account": cloud.launcher.endswith(f"@{project}.iam.gserviceaccount.com"),
        "workload_identity_provider": cloud.provider.startswith(f"{pools}/"),
    }
    if strange := [name for name, is_own in own.items() if not is_own]:
        raise Refusal(
            f"{where}: {', '.join(strange)}: not in project {project} ({number}). Put <a placeholder> there, and "
            "one is made; or set it up by hand where it is."
        )
    return cloud


def _short(slug: str, length: int) -> str:
    """A name's start, which ends as names in Google Cloud must."""
    return slug[:length].rstrip("-")


def _host(arguments: argparse.Namespace) -> Host | None:
    """The git host that git's remote names and whose CI file the project has; None without such a file."""
    name = "github" if (PROJECT / ".github").is_dir() else "gitlab" if (PROJECT / ".gitlab-ci.yml").is_file() else ""
    if not name:
        return None
    origin = subprocess.run(["git", "remote", "get-url", "origin"], cwd=PROJECT, capture_output=True, text=True)
    remote = _ORIGIN.match(origin.stdout.strip())
    repository = arguments.repository or (remote["repository"] if remote else "")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)+", repository):
        raise Refusal(f"--repository: whose CI may launch? '{repository}' is not like owner/name, e.g. acme/penguins.")
    if not re.fullmatch(r"[\w./-]+", arguments.branch):
        raise Refusal(f"--branch: '{arguments.branch}' is no branch's name that this can put into a condition.")
    server = arguments.server or (remote["web"] or remote["ssh"] if remote else f"{name}.com")
    # Where ssh goes through port 443.
    server = {"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com"}.get(server, server)
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", server):
        raise Refusal(f"--server: whose CI may launch? '{server}' is no host's name, e.g. {name}.com.")
    if name == "gitlab":
        url = f"https://{server}"
        return Host(name, url, repository, arguments.branch, arguments.env, audience=url)
    workflow = PROJECT / ".github/workflows/ci.yml"
    if f"branches: [{arguments.branch}]" not in workflow.read_text(encoding="utf-8"):
        raise Refusal(f"--branch {arguments.branch}: {workflow.name} runs on pushes to another; change it there.")
    issuer = _GITHUB_ISSUER if server == "github.com" else f"https://{server}/_services/token"
    return Host(name, issuer, repository, arguments.branch, arguments.env)


def _iap_resource(text: str, region: str) -> tuple[str, ...]:
    kind, _, service = text.partition(":")
    if not text:
        return ()
    if kind == "app-engine" and not service:
        return ("--resource-type=app-engine",)
    if kind not in ("cloud-run", "backend-services") or not service:
        raise Refusal(f"--mlflow {text}: it takes cloud-run:SERVICE, backend-services:SERVICE or app-engine.")
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
        raise Refusal(f"{thing.name} was deleted, and its name is taken for 30 days: gcloud … undelete brings it back.")
    elif all(_has(found.get(name), value) for name, value in thing.settings.items()):
        _say(True, thing.name, thing.reason)
    else:
        raise Refusal(
            f"{thing.name} is there, and is not what {thing.reason}. It may be somebody else's. If it is this "
            f"project's, put it right with: gcloud {shlex.join(thing.update)}"
        )


def _has(found: object, wanted: object) -> bool:
    """Whether a setting is as it should be; what Google adds to it does not matter."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return wanted.items() <= found.items()
    return found == wanted


def _policy(group: tuple[str, ...], target: tuple[str, ...]) -> set[tuple[str, str]]:
    """Who has which role there without a condition; nobody on a thing that is still to be made."""
    policy = gcloud.read(*group, "get-iam-policy", *target) or {}
    unconditional = [item for item in policy.get("bindings", []) if "condition" not in item]
    return {(member, item["role"]) for item in unconditional for member in item["members"]}


def _grant(grant: Grant, policy: set[tuple[str, str]], dry: bool) -> None:
    there = (grant.member, grant.role) in policy
    _say(there, f"{grant.role} on {grant.on} for {grant.member}", grant.reason)
    if not there:
        unconditional = ("--condition=None",) if grant.group == ("projects",) else ()
        binding = (f"--member={grant.member}", f"--role={grant.role}", *unconditional)
        _change((*grant.group, "add-iam-policy-binding", *grant.target, *binding), dry)


def _fill_in(path: Path, cloud: Cloud, dry: bool) -> None:
    """Facts that were left open; with the number of the project, which nobody knows by heart."""
    made = {
        "bucket": cloud.bucket,
        "artifact_registry": cloud.registry,
        "service_account": cloud.pipeline,
    }
    if cloud.host:
        made |= {"ci_service_account": cloud.launcher, "workload_identity_provider": cloud.provider}
    where, known = path.relative_to(PROJECT), facts.read(path)
    for name in facts.missing(path, made) if dry else facts.fill_in(path, made):
        print(f"{'would fill in' if dry else 'filled in'} {where}: {name}: {made[name]}")
    if left := [name for name, value in known.items() if not value and name not in made]:
        print(f"Still to fill in, {where}: {', '.join(left)}")


def _say(there: bool, name: str, reason: str) -> None:
    print(f"{'there' if there else '+':<6}{name}\n      {reason}", flush=True)


def _change(command: tuple[str, ...], dry: bool) -> None:
    if dry:
        print(f"      gcloud {shlex.join(command)}")
    else:
        gcloud.change(*command)


if __name__ == "__main__":
    main()
