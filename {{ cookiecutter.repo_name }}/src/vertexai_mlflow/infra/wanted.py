"""What the project needs in Google Cloud, and why: the file to review before `make bootstrap` runs.

This file changes nothing itself: ``__main__`` compares it with what exists and creates what is missing.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .git_host import Host

APIS = {
    "aiplatform.googleapis.com": "runs the pipeline",
    "artifactregistry.googleapis.com": "keeps the image of the steps",
    "cloudresourcemanager.googleapis.com": "grants roles on the project",
    "iam.googleapis.com": "manages the service accounts and the federation",
    "iamcredentials.googleapis.com": "mints the tokens for Identity-Aware Proxy",
    "iap.googleapis.com": "lets the pipeline through to MLflow",
    "logging.googleapis.com": "keeps what the steps print",
    "storage.googleapis.com": "keeps the artifacts between steps",
    "sts.googleapis.com": "exchanges the CI job's identity for a Google identity",
}

SECRETS_API = "secretmanager.googleapis.com"

# Where `make bootstrap` writes the rule for gcloud, in the project's folder. Git ignores the folder.
LIFECYCLE_FILE = ".vertexai/lifecycle.json"
# For how many days a bucket that is created here keeps the artifacts of a run.
ARTIFACT_DAYS = 90
# How a description that names the owner begins.
OWNER_PREFIX = "Owner: "
# A bucket has no description, so a label says whose it is.
OWNER_LABEL = "kedro_owner"
# What launching needs of Vertex AI. With roles/aiplatform.user, CI could also start custom jobs, and such a job runs as
# Vertex AI's own account if it names none. https://cloud.google.com/vertex-ai/docs/general/iam-permissions
LAUNCHER_PERMISSIONS = (
    *(f"aiplatform.contexts.{verb}" for verb in ("addContextChildren", "create", "get")),
    *(f"aiplatform.pipelineJobs.{verb}" for verb in ("cancel", "create", "get", "list")),
    *(f"aiplatform.schedules.{verb}" for verb in ("create", "delete", "get", "list", "update")),
)
# What signing JWTs takes. roles/iam.serviceAccountTokenCreator could impersonate the account and sign files as well.
SIGNER_PERMISSION = "iam.serviceAccounts.signJwt"
# Google grants these on each new bucket to everybody who may edit or view anything in the Google Cloud project.
_LEGACY_ROLES = (
    ("projectEditor", "roles/storage.legacyBucketOwner"),
    ("projectEditor", "roles/storage.legacyObjectOwner"),
    ("projectViewer", "roles/storage.legacyBucketReader"),
    ("projectViewer", "roles/storage.legacyObjectReader"),
)
# Roles on a bucket that let nobody write to it or change its roles.
READING_ROLES = frozenset(
    f"roles/storage.{name}" for name in ("bucketViewer", "legacyBucketReader", "legacyObjectReader", "objectViewer")
)


@dataclass(frozen=True)
class Cloud:
    """The facts of ``globals.yml`` about what is created in Google Cloud.

    Args:
        project: id of the project.
        number: its number.
        region: where the bucket and the registry are.
        bucket: ``gs://…``, without a path.
        artifacts: the folder of the bucket below which all environments keep their artifacts; empty if unknown.
        registry: ``region-docker.pkg.dev/project/repository``
        pipeline: e-mail of the account that the steps run as.
        launcher: e-mail of the account that CI launches as.
        role: id of the role that lets it launch.
        signer: id of the role that lets accounts sign JWTs as the pipeline's account; empty if ``mlflow.yml`` names no
            provider that sends them.
        provider: resource name of the federation's provider.
        host: the git host whose CI launches; None without CI.
        mlflow: the arguments that name the IAP resource in front of MLflow in ``gcloud iap web``; empty if unknown.
        owner: who owns all this: package, environment and repository.
        secrets: the secrets of this project that the configuration names.
    """

    project: str
    number: str
    region: str
    bucket: str
    artifacts: str
    registry: str
    pipeline: str
    launcher: str
    role: str
    signer: str
    provider: str
    host: Host | None
    mlflow: tuple[str, ...]
    owner: str
    secrets: tuple[str, ...] = ()

    @property
    def pool(self) -> str:
        """Resource name of the federation's pool."""
        return self.provider.partition("/providers/")[0]

    @property
    def owner_label(self) -> str:
        """The owner as the value of a label: package and environment as they fit into it, and a hash of the whole."""
        package_and_env = re.sub(r"[^a-z0-9_]+", "-", self.owner.partition(", repository")[0].lower())
        name = package_and_env.replace("-environment-", "-", 1)[:46]
        return f"{name}-{hashlib.sha256(self.owner.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a gcloud command is about.

    Args:
        name: its name, as it is printed.
        command_group: gcloud's command group for this kind of resource.
        identifier: the arguments that name it in that group.
    """

    name: str
    command_group: tuple[str, ...]
    identifier: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Resource(Target):
    """Something in Google Cloud that the project needs.

    Args:
        reason: why the project needs it.
        globals_key: the key of ``globals.yml`` that names it; empty if there is none.
        expected_fields: dotted fields that gcloud must show, with their values; None for a field that must not be set.
        options: the arguments of the commands "create" and "update" that set these fields.
        create_options: further arguments of the command "create".
        update_options: further arguments of the command "update", for what "create" cannot set.
        describe_options: further arguments of the command "describe".
        command_suffix: what gcloud adds to the words "create" and "update" in that group.
        list_children: the gcloud command that lists what is in it.
        only_child: the one thing that may be in it.
        unwanted_roles: members with their roles on it that Google grants when it is created.
    """

    reason: str
    globals_key: str = ""
    expected_fields: Mapping[str, object] = field(hash=False)
    options: tuple[str, ...]
    create_options: tuple[str, ...] = ()
    update_options: tuple[str, ...] = ()
    describe_options: tuple[str, ...] = ()
    command_suffix: str = ""
    list_children: tuple[str, ...] = ()
    only_child: str = ""
    unwanted_roles: tuple[tuple[str, str], ...] = ()

    def command(self, verb: str) -> tuple[str, ...]:
        """The gcloud command that shows it (``describe``), or that does something else to it."""
        name, *location = self.identifier
        if verb == "create":
            # A service account is created by the part in front of the @.
            name = name.partition("@")[0]
            options = (*self.options, *self.create_options)
            return (*self.command_group, verb + self.command_suffix, name, *location, *options)
        if verb == "update":
            options = (*self.options, *self.update_options)
            return (*self.command_group, verb + self.command_suffix, *self.identifier, *options)
        return (*self.command_group, verb, *self.identifier, *self.describe_options)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role that a member gets on a resource.

    Args:
        member: who gets the role, as IAM names members.
        role: the role.
        resource: what the role is granted on.
        reason: why the member needs the role.
        create_member: the gcloud command that creates the member, if it may not exist yet.
        member_origin: what creates the member, if no command does.
    """

    member: str
    role: str
    resource: Target
    reason: str
    create_member: tuple[str, ...] = ()
    member_origin: str = ""


def make_lifecycle(cloud: Cloud) -> dict[str, list[object]]:
    """The rule that deletes the artifacts of old runs. https://cloud.google.com/storage/docs/lifecycle

    There is none if the folder of the artifacts is unknown, because it would delete everything in the bucket.
    """
    condition = {"age": ARTIFACT_DAYS, "matchesPrefix": [cloud.artifacts]}
    return {"rule": [{"action": {"type": "Delete"}, "condition": condition}] if cloud.artifacts else []}


def list_resources(cloud: Cloud) -> Iterator[Resource]:
    """Everything that the project needs, in the order in which it can be created."""
    project = f"--project={cloud.project}"
    description = OWNER_PREFIX + cloud.owner
    set_description = f"--description={description}"
    yield Resource(
        name=f"bucket {cloud.bucket}",
        reason=f"keeps the artifacts between steps; {LIFECYCLE_FILE} says when those of old runs are deleted",
        globals_key="bucket",
        command_group=("storage", "buckets"),
        identifier=(cloud.bucket,),
        expected_fields={
            # A bucket's name is easily guessed, and belongs to whoever created it first.
            "projectNumber": cloud.number,
            "iamConfiguration.uniformBucketLevelAccess.enabled": True,
            "iamConfiguration.publicAccessPrevention": "enforced",
            # Whoever may write to it runs code in the steps that read from it, so no two environments share one.
            f"labels.{OWNER_LABEL}": cloud.owner_label,
        },
        options=("--uniform-bucket-level-access", "--public-access-prevention"),
        create_options=(
            project,
            f"--location={cloud.region}",
            f"--lifecycle-file={LIFECYCLE_FILE}",
            # Otherwise each artifact's temporary file is kept, and paid for, for a week after it has been renamed.
            "--soft-delete-duration=0",
        ),
        update_options=(f"--update-labels={OWNER_LABEL}={cloud.owner_label}",),
        describe_options=("--raw",),
        unwanted_roles=tuple((f"{group}:{cloud.project}", role) for group, role in _LEGACY_ROLES),
    )
    registry_host, registry_project, repository = cloud.registry.split("/")
    registry_location = registry_host.removesuffix("-docker.pkg.dev")
    yield Resource(
        name=f"registry {cloud.registry}",
        reason="keeps the images of the steps",
        globals_key="artifact_registry",
        command_group=("artifacts", "repositories"),
        identifier=(repository, f"--location={registry_location}", f"--project={registry_project}"),
        expected_fields={"format": "DOCKER", "description": description},
        options=(set_description,),
        create_options=("--repository-format=docker",),
    )
    accounts = [("service_account", cloud.pipeline, "the steps run as this account")]
    if cloud.host:
        accounts.append(("ci_service_account", cloud.launcher, "CI launches as this account, without a key"))
    for globals_key, email, reason in accounts:
        yield Resource(
            name=f"service account {email}",
            reason=reason,
            globals_key=globals_key,
            command_group=("iam", "service-accounts"),
            identifier=(email, project),
            expected_fields={"description": description},
            options=(set_description,),
        )
    for secret in cloud.secrets:
        yield Resource(
            name=f"secret {secret}",
            reason="the configuration names it; give it a value: gcloud secrets versions add",
            command_group=("secrets",),
            identifier=(secret, project),
            expected_fields={},
            options=(),
            create_options=("--replication-policy=automatic",),
        )
    roles: list[tuple[str, tuple[str, ...], str]] = []  # its id, its permissions, and why
    if cloud.signer:
        roles.append((cloud.signer, (SIGNER_PERMISSION,), "allows to sign JWTs as an account, and nothing else"))
    if cloud.host:
        roles.append((cloud.role, LAUNCHER_PERMISSIONS, "allows what launching needs of Vertex AI, and nothing else"))
    for role, permissions, reason in roles:
        yield Resource(
            name=f"role {role}",
            reason=reason,
            command_group=("iam", "roles"),
            identifier=(role, project),
            expected_fields={"includedPermissions": list(permissions), "description": description},
            options=(f"--permissions={','.join(permissions)}", set_description),
        )
    if (host := cloud.host) is None:
        return
    pool, provider = cloud.pool.rpartition("/")[2], cloud.provider.rpartition("/")[2]
    pools, location = ("iam", "workload-identity-pools"), ("--location=global", project)
    yield Resource(
        name=f"federation pool {pool}",
        reason=f"holds the identities of CI jobs, signed by {host.issuer}",
        globals_key="workload_identity_provider",
        command_group=pools,
        identifier=(pool, *location),
        expected_fields={"disabled": None, "description": description},
        options=("--no-disabled", set_description),
        list_children=(*pools, "providers", "list", f"--workload-identity-pool={pool}", *location),
        only_child=provider,
    )
    audiences = [host.audience] if host.audience else []
    jobs = f"jobs of {host.repository}, branch {host.branch}, environment {host.environment}"
    yield Resource(
        name=f"federation provider {provider}",
        reason=f"lets in {jobs}, and no others",
        globals_key="workload_identity_provider",
        command_group=(*pools, "providers"),
        identifier=(provider, f"--workload-identity-pool={pool}", *location),
        expected_fields={
            "attributeCondition": host.condition,
            "attributeMapping": host.mapping,
            "oidc.issuerUri": host.issuer,
            "oidc.allowedAudiences": audiences or None,
            "oidc.jwksJson": None,  # Anybody whose keys are here can sign tokens of any job.
            "description": description,
            "disabled": None,
        },
        options=(
            f"--issuer-uri={host.issuer}",
            f"--attribute-mapping={','.join(f'{name}={source}' for name, source in host.mapping.items())}",
            f"--attribute-condition={host.condition}",
            *(f"--allowed-audiences={audience}" for audience in audiences),
            "--no-disabled",
            set_description,
        ),
        command_suffix="-oidc",
    )


def list_grants(cloud: Cloud) -> Iterator[Grant]:
    """All roles that are granted, with the reason for each."""
    project_option = f"--project={cloud.project}"
    project = Target(name=f"project {cloud.project}", command_group=("projects",), identifier=(cloud.project,))
    resources = {resource.globals_key: resource for resource in list_resources(cloud)}
    bucket, registry = resources["bucket"], resources["artifact_registry"]
    pipeline_account = resources["service_account"]
    pipeline, launcher = f"serviceAccount:{cloud.pipeline}", f"serviceAccount:{cloud.launcher}"
    mint, tokens = "roles/iam.serviceAccountOpenIdTokenCreator", "ID tokens"
    if cloud.signer:
        mint, tokens = f"projects/{cloud.project}/roles/{cloud.signer}", "JWTs"
    roles = [  # who gets which role, on what, and why
        (pipeline, "roles/aiplatform.user", project, "runs the pipeline's tasks"),
        (pipeline, "roles/storage.objectUser", bucket, "reads and writes artifacts between steps"),
        (pipeline, mint, pipeline_account, f"mints its own {tokens} for Identity-Aware Proxy"),
    ]
    if cloud.host:
        ci_jobs = f"principal://iam.googleapis.com/{cloud.pool}/subject/{cloud.host.subject}"
        launch, act_as = f"projects/{cloud.project}/roles/{cloud.role}", "roles/iam.serviceAccountUser"
        become = "roles/iam.workloadIdentityUser"
        roles += [
            (ci_jobs, become, resources["ci_service_account"], "lets CI jobs act as the launcher, without a key"),
            (launcher, "roles/artifactregistry.writer", registry, "pushes the image"),
            (launcher, launch, project, "launches jobs, follows them, applies schedules"),
            (launcher, act_as, pipeline_account, "launches jobs that run as the pipeline's account"),
            (launcher, mint, pipeline_account, "reads the job's MLflow run through Identity-Aware Proxy"),
        ]
    secrets = [resource for resource in list_resources(cloud) if resource.command_group == ("secrets",)]
    roles += [(pipeline, "roles/secretmanager.secretAccessor", secret, "reads this secret") for secret in secrets]
    for member, role, resource, reason in roles:
        yield Grant(member=member, role=role, resource=resource, reason=reason)
    agents = f"serviceAccount:service-{cloud.number}@gcp-sa-aiplatform"
    pull, reason = "roles/artifactregistry.reader", "pulls the image of the steps for Vertex AI"
    create_agent = ("beta", "services", "identity", "create", "--service=aiplatform.googleapis.com", project_option)
    agent, code_agent = f"{agents}.iam.gserviceaccount.com", f"{agents}-cc.iam.gserviceaccount.com"
    yield Grant(member=agent, role=pull, resource=registry, reason=reason, create_member=create_agent)
    origin = "the first job of the project"
    yield Grant(member=code_agent, role=pull, resource=registry, reason=reason, member_origin=origin)
    if cloud.mlflow:
        iap, identifier = ("iap", "web"), (*cloud.mlflow, project_option)
        proxy = Target(name="MLflow's IAP resource", command_group=iap, identifier=identifier)
        role, reason = "roles/iap.httpsResourceAccessor", "passes Identity-Aware Proxy"
        yield Grant(member=pipeline, role=role, resource=proxy, reason=reason)
