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
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..contract.secret_references import secrets_in
from ..errors import UserError
from . import compare, facts, gcloud
from .git_host import find_host
from .wanted import (
    APIS,
    LIFECYCLE_FILE,
    READING_ROLES,
    SECRETS_API,
    Cloud,
    Grant,
    Resource,
    Target,
    list_grants,
    list_resources,
    make_lifecycle,
)


def main(project: Path, argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        project: the project's folder.
        argv: the arguments; None for those of this process.

    Raises:
        UserError: when what the user asks for is not possible.
    """
    parser = argparse.ArgumentParser(prog="bootstrap", description=__doc__)
    parser.add_argument("-e", "--env", default="cloud", help="environment: a folder below conf  [default: cloud]")
    parser.add_argument("--server", help="git host, e.g. gitlab.example.com  [default: that of git's remote origin]")
    parser.add_argument("--repository", help="owner/name, as the host spells it  [default: that of the remote origin]")
    parser.add_argument("--repository-id", type=int, help="its number on that host  [default: the host is asked]")
    parser.add_argument("--owner-id", type=int, help="the number of its owner  [default: the host is asked]")
    parser.add_argument("--branch", default="main", help="the only branch whose CI may launch  [default: main]")
    parser.add_argument("--workflow", help="GitHub's file that launches  [default: vertexai.yml, otherwise ci.yml]")
    parser.add_argument("--mlflow", default="", help="behind IAP: cloud-run:NAME, backend-services:NAME, app-engine")
    parser.add_argument("--adopt", action="store_true", help="take over what globals.yml names and has no owner")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and change nothing")
    arguments = parser.parse_args(argv)
    bootstrap(project, arguments)


def bootstrap(project: Path, arguments: argparse.Namespace) -> None:
    """Compare what the project needs with what exists, and create what is missing.

    Args:
        project: the project's folder.
        arguments: the options of the command line.
    """
    globals_file = project / "conf" / arguments.env / "globals.yml"
    if not re.fullmatch(r"[\w-]+", arguments.env) or not globals_file.is_file():
        raise UserError(f"--env {arguments.env}: there is no file {globals_file.relative_to(project)}.")
    cloud = _read_cloud(project, arguments, globals_file)
    dry_run = arguments.dry_run
    _write_lifecycle(project, cloud)
    meaning = "This is a dry run: what has a + would be created." if dry_run else "What has a + is created now."
    print(f"Project {cloud.project} ({cloud.number}), region {cloud.region}. {meaning}")
    _enable_apis(cloud, dry_run)
    filled_in = {name for name, value in facts.read(globals_file).items() if value}
    planned = compare.plan_commands(list_resources(cloud), filled_in, arguments.adopt)
    existing_resources = [resource for resource, commands in planned if resource.command("create") not in commands]
    for resource, commands in planned:
        _print_item(not commands, resource.name, resource.reason)
        for command in commands:
            _change(command, dry_run)
        is_new = resource.command("create") in commands
        if resource.update_options and commands and not is_new:
            # From 0.3 on, such a bucket takes --adopt, as everything else that names no owner.
            print(
                f"Warning: {resource.name} did not say whose it is. It is marked as this environment's now. If another "
                "environment uses it as well, give that one a bucket of its own: it is refused there from now on."
            )
        is_created_here = is_new or resource.globals_key not in filled_in
        _remove_roles(resource, is_created_here or _has_rule(resource, cloud), dry_run)
    grants = list(list_grants(cloud))
    for grant in grants:
        _grant(grant, dry_run)
    _print_other_grants(cloud, grants)
    _print_keys(existing_resources)
    _fill_in(globals_file, cloud, dry_run)
    if not cloud.mlflow:
        print("To let the pipeline through to an MLflow behind Identity-Aware Proxy, add: --mlflow cloud-run:SERVICE")


def _write_lifecycle(project: Path, cloud: Cloud) -> None:
    """Write the bucket's rule where gcloud reads it. A dry run writes it too, for the command that it prints."""
    file = project / LIFECYCLE_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(make_lifecycle(cloud), indent=2) + "\n", encoding="utf-8")


def _find_artifacts_folder(settings_file: Path, bucket: str) -> str:
    """The folder of the bucket that ``run_config.root`` names, up to the first part that depends on the environment."""
    text = settings_file.read_text(encoding="utf-8") if settings_file.is_file() else ""
    root = re.search(r"^\s+root:\s*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    uri, interpolation, _ = root[1].replace("${globals:bucket}", bucket).partition("${") if root else ("", "", "")
    folder_uri = uri.rpartition("/")[0] if interpolation else uri.rstrip("/")
    folder = folder_uri.removeprefix("gs://").partition("/")[2]
    return f"{folder}/" if folder and uri.startswith("gs://") else ""


def _read_cloud(folder: Path, arguments: argparse.Namespace, globals_file: Path) -> Cloud:
    """The facts that are filled in, and for each of the others a name made from the project's name."""
    values, where = facts.read(globals_file), globals_file.relative_to(folder)
    if missing := [name for name in ("project_id", "region") if not values.get(name)]:
        raise UserError(f"{where}: fill in {' and '.join(missing)} first. All other names can be made from them.")
    project, region = values["project_id"], values["region"]
    description = gcloud.read("projects", "describe", project)
    if description is None:
        raise UserError(f"{where}: project_id: there is no project {project}, or your gcloud account may not see it.")
    number = str(description["projectNumber"])
    host = find_host(folder, arguments)
    package = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["tool"]["kedro"]["package_name"]
    # Each environment has names of its own, because several environments may share one Google Cloud project.
    slug = package.replace("_", "-").strip("-") + ("" if arguments.env == "cloud" else f"-{arguments.env}")
    repository = f", repository {host.repository_id} on {urlsplit(host.issuer).hostname}" if host else ""
    bucket = values.get("bucket") or f"gs://{project}-{_shorten(slug, 30)}"
    pools, accounts = f"projects/{number}/locations/global/workloadIdentityPools", f"{project}.iam.gserviceaccount.com"
    cloud = Cloud(
        project=project,
        number=number,
        region=region,
        bucket="/".join(bucket.split("/")[:3]),
        artifacts=_find_artifacts_folder(globals_file.with_name("vertexai.yml"), bucket),
        registry=values.get("artifact_registry") or f"{region}-docker.pkg.dev/{project}/{slug}",
        pipeline=values.get("service_account") or f"{_shorten(slug, 20)}-pipeline@{accounts}",
        launcher=values.get("ci_service_account") or f"{_shorten(slug, 20)}-launcher@{accounts}",
        role=f"{_shorten(slug, 50)}-launcher".replace("-", "_"),
        signer=f"{_shorten(slug, 50)}-signer".replace("-", "_") if _sends_jwts(globals_file.parent) else "",
        provider=values.get("workload_identity_provider")
        or f"{pools}/{_shorten(slug, 29)}-ci/providers/{host.name if host else 'ci'}",
        host=host,
        mlflow=_parse_iap_resource(arguments.mlflow, region),
        owner=f"{package}, environment {arguments.env}{repository}",
        secrets=_find_secrets([folder / "conf/base", globals_file.parent], (project, number)),
    )
    emails = {"service_account": cloud.pipeline, "ci_service_account": cloud.launcher}
    foreign = [name for name, email in emails.items() if not email.endswith(f"@{accounts}")]
    if not cloud.provider.startswith(f"{pools}/"):
        foreign.append("workload_identity_provider")
    if foreign:
        raise UserError(
            f"{where}: {', '.join(foreign)}: not in project {project} ({number}). To have a new one created, put a "
            "<placeholder> in its place. To keep it, set it up by hand in the project that it belongs to."
        )
    return cloud


def _find_secrets(folders: list[Path], projects: tuple[str, str]) -> tuple[str, ...]:
    """The secrets of this Google Cloud project that the configuration names. Others are somebody else's to grant."""
    names = {name for name, _version in secrets_in(folders)}
    prefixes = tuple(f"projects/{project}/secrets/" for project in projects)
    ids = {name.rpartition("/")[2] for name in names if "/" not in name or name.startswith(prefixes)}
    for name in sorted(name for name in names if "/" in name and not name.startswith(prefixes)):
        print(f"Not granted by this command: {name} is in another project. The steps' account needs to read it there.")
    return tuple(sorted(ids))


def _sends_jwts(folder: Path) -> bool:
    """Whether ``mlflow.yml`` names the provider whose header is a signed JWT."""
    file = folder / "mlflow.yml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return bool(re.search(r"^\s*type:\s*\S+\.MLFlowGoogleIapJwtRequestHeaderProvider\b", text, re.MULTILINE))


def _shorten(slug: str, length: int) -> str:
    """Cut a name that is too long. A hash keeps two names apart that differ only in what was cut off."""
    if len(slug) <= length:
        return slug
    return f"{slug[: length - 7].rstrip('-')}-{hashlib.sha256(slug.encode()).hexdigest()[:6]}"


def _parse_iap_resource(text: str, region: str) -> tuple[str, ...]:
    if not re.fullmatch("|app-engine|(cloud-run|backend-services):.+", text):
        raise UserError(f"--mlflow {text}: this must be cloud-run:SERVICE, backend-services:SERVICE or app-engine.")
    kind, _, service = text.partition(":")
    options = {"resource-type": kind, "service": service, "region": region if kind == "cloud-run" else ""}
    return tuple(f"--{name}={value}" for name, value in options.items() if value)


def _enable_apis(cloud: Cloud, dry_run: bool) -> None:
    project = f"--project={cloud.project}"
    enabled = {item["config"]["name"] for item in gcloud.read("services", "list", "--enabled", project) or []}
    wanted = {**APIS, **({SECRETS_API: "keeps the secrets that the configuration names"} if cloud.secrets else {})}
    for api, reason in wanted.items():
        _print_item(api in enabled, f"API {api}", reason)
    if missing := [api for api in wanted if api not in enabled]:
        _change(("services", "enable", *missing, project), dry_run)


@functools.cache  # gcloud takes a second to answer, and several grants are on the same resource
def _read_bindings(resource: Target) -> frozenset[tuple[str, str, str]]:
    """Members with their roles on a resource, and on which condition; none if the resource does not exist yet."""
    policy = gcloud.read(*resource.command_group, "get-iam-policy", *resource.identifier) or {}
    return frozenset(
        (member, item["role"], (item.get("condition") or {}).get("expression", ""))
        for item in policy.get("bindings", [])
        for member in item["members"]
    )


def _read_roles(resource: Target) -> frozenset[tuple[str, str]]:
    """Members with their roles on a resource, without those that have a condition."""
    return frozenset((member, role) for member, role, condition in _read_bindings(resource) if not condition)


def _grant(grant: Grant, dry_run: bool) -> None:
    resource = grant.resource
    exists = (grant.member, grant.role) in _read_roles(resource)
    name = f"{grant.role} on {resource.name} for {grant.member}"
    no_condition = ("--condition=None",) if resource.command_group == ("projects",) else ()
    binding = (f"--member={grant.member}", f"--role={grant.role}", *no_condition)
    command = (*resource.command_group, "add-iam-policy-binding", *resource.identifier, *binding)
    if grant.member_origin and not exists and (dry_run or not gcloud.change_if_account_exists(*command)):
        print(f"later {name}\n      {grant.reason}; {grant.member_origin} creates this account. Then run:")
        return _change(command, dry_run=True)
    _print_item(exists, name, grant.reason)
    if not exists and not grant.member_origin:
        if grant.create_member:
            _change(grant.create_member, dry_run)
        _change(command, dry_run)


def _has_rule(bucket: Resource, cloud: Cloud) -> bool:
    """Whether a bucket was created by this command: it has the rule that only this command makes."""
    rules = make_lifecycle(cloud)["rule"]
    if not (bucket.unwanted_roles and rules):
        return False
    existing = gcloud.read(*bucket.command("describe")) or {}
    return bool((existing.get("lifecycle") or {}).get("rule") == rules)


def _remove_roles(resource: Resource, is_created_here: bool, dry_run: bool) -> None:
    """Remove what Google grants on a new resource, also if an earlier run was interrupted before it had done so.

    On a resource that somebody else has created, these roles are only printed.
    """
    exists = resource.unwanted_roles and (not dry_run or gcloud.read(*resource.command("describe")) is not None)
    for member, role in resource.unwanted_roles:
        if exists and (member, role) not in _read_roles(resource):
            continue
        options = (*resource.identifier, f"--member={member}", f"--role={role}")
        command = (*resource.command_group, "remove-iam-policy-binding", *options)
        if is_created_here:
            _change(command, dry_run)
        else:
            _print_unneeded(member, role, resource, command)


def _print_unneeded(member: str, role: str, resource: Target, command: tuple[str, ...], condition: str = "") -> None:
    removal, only_if = shlex.join(("gcloud", *command)), f", if {condition}" if condition else ""
    print(f"Not granted by this command: {role} on {resource.name} for {member}{only_if}. To remove it: {removal}")


def _print_other_grants(cloud: Cloud, grants: list[Grant]) -> None:
    """Print roles that others have on the two accounts, further roles of these two, and other writers of the bucket.

    They may be a mistake. Whoever may write to the bucket changes what the steps read from it.
    """
    accounts = {f"serviceAccount:{cloud.pipeline}", f"serviceAccount:{cloud.launcher}"}
    needed = {(grant.member, grant.role, grant.resource) for grant in grants}
    for resource in dict.fromkeys(grant.resource for grant in grants):
        for member, role, condition in sorted(_read_bindings(resource)):
            is_ours = member in accounts or resource.command_group == ("iam", "service-accounts")
            is_needed = (member, role, resource) in needed and not condition
            if (is_ours or _may_write(member, role, resource)) and not is_needed:
                options = (*resource.identifier, f"--member={member}", f"--role={role}")
                # gcloud would need the condition word for word.
                options += ("--all",) if condition else ()
                command = (*resource.command_group, "remove-iam-policy-binding", *options)
                _print_unneeded(member, role, resource, command, condition)


def _may_write(member: str, role: str, resource: Target) -> bool:
    """Whether this role may let a member write to the bucket, other than what `_remove_roles` looks at."""
    is_of_storage = resource.command_group == ("storage", "buckets") or role.startswith("roles/storage.")
    is_known = isinstance(resource, Resource) and (member, role) in resource.unwanted_roles
    return is_of_storage and role not in READING_ROLES and not is_known and not member.startswith("projectOwner:")


def _print_keys(resources: Iterable[Resource]) -> None:
    """Print the keys of the accounts: whoever has one acts as the account, from anywhere."""
    for resource in resources:
        if resource.command_group != ("iam", "service-accounts"):
            continue
        email, *project = resource.identifier
        account = (f"--iam-account={email}", *project)
        keys = gcloud.read("iam", "service-accounts", "keys", "list", "--managed-by=user", *account) or []
        for key in (item["name"].rpartition("/")[2] for item in keys):
            command = ("gcloud", "iam", "service-accounts", "keys", "delete", key, *account)
            print(
                f"Not made by this command: key {key} of {resource.name}. Whoever has it acts as this account, and "
                f"nothing here needs it. To remove it: {shlex.join(command)}"
            )


def _fill_in(globals_file: Path, cloud: Cloud, dry_run: bool) -> None:
    """Fill in the facts that are still missing, and name those that only the user knows."""
    values = {"bucket": cloud.bucket, "artifact_registry": cloud.registry, "service_account": cloud.pipeline}
    if cloud.host:
        values |= {"ci_service_account": cloud.launcher, "workload_identity_provider": cloud.provider}
    where, existing = globals_file.relative_to(globals_file.parents[2]), facts.read(globals_file)
    for name in facts.find_missing(globals_file, values) if dry_run else facts.fill_in(globals_file, values):
        print(f"{'would fill in' if dry_run else 'filled in'} {where}: {name}: {values[name]}")
    if unknown := [name for name, value in existing.items() if not value and name not in values]:
        print(f"Not filled in yet: {where}: {', '.join(unknown)}")


def _print_item(exists: bool, name: str, reason: str) -> None:
    print(f"{'there' if exists else '+':<6}{name}\n      {reason}", flush=True)


def _change(command: tuple[str, ...], dry_run: bool) -> None:
    if dry_run:
        print(f"      gcloud {shlex.join(command)}")
    else:
        gcloud.change(*command)


if __name__ == "__main__":
    try:
        main(Path.cwd())
    except UserError as error:
        sys.exit(f"Error: {error}")
