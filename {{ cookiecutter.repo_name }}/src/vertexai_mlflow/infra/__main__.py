"""Create what the project needs in Google Cloud, grant its roles there, and fill in globals.yml: `make bootstrap`.

It can be run again at any time: it creates what is missing and leaves what exists. --dry-run only prints the plan.
"""

import argparse
import functools
import hashlib
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UserError
from . import compare, facts, gcloud
from .git_host import host_of
from .wanted import APIS, LIFECYCLE_FILE, Cloud, Grant, grants, lifecycle, things


def main(project: Path, argv: Sequence[str] | None = None) -> None:
    """Do what a command line says.

    Args:
        project: the project's folder.
        argv: the arguments; None are those of this process.

    Raises:
        UserError: when that is not possible.
    """
    parser = argparse.ArgumentParser(prog="bootstrap", description=__doc__)
    parser.add_argument("-e", "--env", default="cloud", help="environment: a folder below conf  [default: cloud]")
    parser.add_argument("--server", help="git host, e.g. gitlab.example.com  [default: that of git's remote origin]")
    parser.add_argument("--repository", help="owner/name, as the host spells it  [default: that of the remote origin]")
    parser.add_argument("--repository-id", type=int, help="its number on that host  [default: the host is asked]")
    parser.add_argument("--owner-id", type=int, help="the number of its owner  [default: the host is asked]")
    parser.add_argument("--branch", default="main", help="the only branch whose CI may launch  [default: main]")
    parser.add_argument("--mlflow", default="", help="behind IAP: cloud-run:NAME, backend-services:NAME, app-engine")
    parser.add_argument("--adopt", action="store_true", help="take over what globals.yml names and nobody has marked")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    arguments = parser.parse_args(argv)
    bootstrap(project, arguments)


def bootstrap(project: Path, arguments: argparse.Namespace) -> None:
    """Compare what the project needs with what exists, and create what is missing.

    Args:
        project: the project's folder.
        arguments: what was asked for on the command line.
    """
    path = project / "conf" / arguments.env / "globals.yml"
    if not re.fullmatch(r"[\w-]+", arguments.env) or not path.is_file():
        raise UserError(f"--env {arguments.env}: there is no file {path.relative_to(project)}.")
    cloud = _cloud(project, arguments, path)
    dry = arguments.dry_run
    _write_lifecycle(project, cloud)
    marked = "This is a dry run: what has a + would be created." if dry else "What has a + is created now."
    print(f"Project {cloud.project} ({cloud.number}), region {cloud.region}. {marked}")
    _enable_apis(cloud, dry)
    named = {name for name, value in facts.read(path).items() if value}
    for thing, commands in compare.commands_for(things(cloud), named, arguments.adopt):
        _say(not commands, thing.name, thing.reason)
        for command in commands:
            _change(command, dry)
    wanted = list(grants(cloud))
    for grant in wanted:
        _grant(grant, dry)
    _name_other_grants(cloud, wanted)
    _fill_in(path, cloud, dry)
    if not cloud.mlflow:
        print("To let the pipeline through to an MLflow behind Identity-Aware Proxy, add: --mlflow cloud-run:SERVICE")


def _write_lifecycle(project: Path, cloud: Cloud) -> None:
    """Write the bucket's rule where the command that creates the bucket reads it, also if that is only printed."""
    file = project / LIFECYCLE_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(lifecycle(cloud), indent=2) + "\n", encoding="utf-8")


def _artifacts_folder(file: Path, bucket: str) -> str:
    """The folder of the bucket that ``run_config.root`` names, up to what depends on the environment."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    root = re.search(r"^\s+root:\s*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    place, depends, _ = root[1].replace("${globals:bucket}", bucket).partition("${") if root else ("", "", "")
    folder = (place.rpartition("/")[0] if depends else place.rstrip("/")).removeprefix("gs://").partition("/")[2]
    return f"{folder}/" if folder and place.startswith("gs://") else ""


def _cloud(folder: Path, arguments: argparse.Namespace, path: Path) -> Cloud:
    """The facts that are filled in, and for each of the others a name that is made from the project's name."""
    known, where = facts.read(path), path.relative_to(folder)
    if missing := [name for name in ("project_id", "region") if not known.get(name)]:
        raise UserError(f"{where}: fill in {' and '.join(missing)} first. All other names can be made from them.")
    project, region = known["project_id"], known["region"]
    described = gcloud.read("projects", "describe", project)
    if described is None:
        raise UserError(f"{where}: project_id: there is no project {project}, or your gcloud account may not see it.")
    number = str(described["projectNumber"])
    host = host_of(folder, arguments)
    package = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["kedro"]["package_name"]
    # Each environment has names of its own, because several environments may share one Google Cloud project.
    slug = package.replace("_", "-").strip("-") + ("" if arguments.env == "cloud" else f"-{arguments.env}")
    repository = f", repository {host.repository_id} on {urlsplit(host.issuer).hostname}" if host else ""
    bucket = known.get("bucket") or f"gs://{project}-{_short(slug, 30)}"
    pools = f"projects/{number}/locations/global/workloadIdentityPools"
    cloud = Cloud(
        project=project, number=number, region=region, host=host, mlflow=_iap_resource(arguments.mlflow, region),
        bucket="/".join(bucket.split("/")[:3]), artifacts=_artifacts_folder(path.with_name("vertexai.yml"), bucket),
        registry=known.get("artifact_registry") or f"{region}-docker.pkg.dev/{project}/{slug}",
        pipeline=known.get("service_account") or f"{_short(slug, 20)}-pipeline@{project}.iam.gserviceaccount.com",
        launcher=known.get("ci_service_account") or f"{_short(slug, 20)}-launcher@{project}.iam.gserviceaccount.com",
        role=f"{_short(slug, 50)}-launcher".replace("-", "_"),
        provider=known.get("workload_identity_provider")
        or f"{pools}/{_short(slug, 29)}-ci/providers/{host.name if host else 'ci'}",
        owner=f"{package}, environment {arguments.env}{repository}",
    )  # fmt: skip
    facts_of = {"service_account": cloud.pipeline, "ci_service_account": cloud.launcher}
    strange = [name for name, email in facts_of.items() if not email.endswith(f"@{project}.iam.gserviceaccount.com")]
    if not cloud.provider.startswith(f"{pools}/"):
        strange.append("workload_identity_provider")
    if strange:
        raise UserError(
            f"{where}: {', '.join(strange)}: not in project {project} ({number}). To have a new one created, put a "
            "<placeholder> in its place. To keep it, set it up by hand in the project that it belongs to."
        )
    return cloud


def _short(slug: str, length: int) -> str:
    """A name that is at most so long. Where letters are cut off, a hash tells apart what they would have told apart."""
    if len(slug) <= length:
        return slug
    return f"{slug[: length - 7].rstrip('-')}-{hashlib.sha256(slug.encode()).hexdigest()[:6]}"


def _iap_resource(text: str, region: str) -> tuple[str, ...]:
    if not re.fullmatch("|app-engine|(cloud-run|backend-services):.+", text):
        raise UserError(f"--mlflow {text}: this must be cloud-run:SERVICE, backend-services:SERVICE or app-engine.")
    kind, _, service = text.partition(":")
    options = {"resource-type": kind, "service": service, "region": region if kind == "cloud-run" else ""}
    return tuple(f"--{name}={value}" for name, value in options.items() if value)


def _enable_apis(cloud: Cloud, dry: bool) -> None:
    project = f"--project={cloud.project}"
    enabled = {item["config"]["name"] for item in gcloud.read("services", "list", "--enabled", project) or []}
    for api, reason in APIS.items():
        _say(api in enabled, f"API {api}", reason)
    if missing := [api for api in APIS if api not in enabled]:
        _change(("services", "enable", *missing, project), dry)


@functools.cache  # gcloud takes a second to answer, and several grants are on one thing
def _policy(group: tuple[str, ...], target: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Who has which role there without a condition. Nobody has one on something that does not exist yet.

    Args:
        group: gcloud's command group for this kind of resource.
        target: the arguments that name the resource in that group.
    """
    policy = gcloud.read(*group, "get-iam-policy", *target) or {}
    unconditional = [item for item in policy.get("bindings", []) if "condition" not in item]
    return frozenset((member, item["role"]) for item in unconditional for member in item["members"])


def _grant(grant: Grant, dry: bool) -> None:
    there = (grant.member, grant.role) in _policy(grant.group, grant.target)
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


def _name_other_grants(cloud: Cloud, wanted: list[Grant]) -> None:
    """Name roles that others have on the two accounts, and further roles of these. Nobody may have meant them."""
    accounts = {f"serviceAccount:{cloud.pipeline}", f"serviceAccount:{cloud.launcher}"}
    needed = {(grant.member, grant.role, grant.target) for grant in wanted}
    for group, on, target in dict.fromkeys((grant.group, grant.on, grant.target) for grant in wanted):
        for member, role in sorted(_policy(group, target)):
            ours = member in accounts or group == ("iam", "service-accounts")
            if ours and (member, role, target) not in needed:
                binding = (f"--member={member}", f"--role={role}")
                command = shlex.join((*group, "remove-iam-policy-binding", *target, *binding))
                print(f"Not granted by this command: {role} on {on} for {member}. To remove it: gcloud {command}")


def _fill_in(path: Path, cloud: Cloud, dry: bool) -> None:
    """Fill in the facts that are still missing, and name those that only the user knows."""
    made = {"bucket": cloud.bucket, "artifact_registry": cloud.registry, "service_account": cloud.pipeline}
    if cloud.host:
        made |= {"ci_service_account": cloud.launcher, "workload_identity_provider": cloud.provider}
    where, known = path.relative_to(path.parents[2]), facts.read(path)
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
    try:
        main(Path.cwd())
    except UserError as error:
        sys.exit(f"Error: {error}")
