"""What the project needs in Google Cloud, and why: the file to review before `make bootstrap` runs.

This file changes nothing itself: ``__main__`` compares it with what exists and creates what is missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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

# Where `make bootstrap` writes the rule for gcloud, in the project's folder. Git leaves the folder out.
LIFECYCLE_FILE = ".vertexai/lifecycle.json"
# Days that the artifacts of a run are kept in a bucket that is created here.
KEPT_DAYS = 90
# How a description begins that says whose something is.
OWNER = "Owner: "
# What launching needs of Vertex AI. With roles/aiplatform.user, CI could also start custom jobs, and such a job runs as
# Vertex AI's own account if it names none. https://cloud.google.com/vertex-ai/docs/general/iam-permissions
LAUNCHING = (
    *(f"aiplatform.contexts.{verb}" for verb in ("addContextChildren", "create", "get")),
    *(f"aiplatform.pipelineJobs.{verb}" for verb in ("cancel", "create", "get", "list")),
    *(f"aiplatform.schedules.{verb}" for verb in ("create", "delete", "get", "list", "update")),
)
# By these, whoever may edit or view anything in the Google Cloud project may do so in each new bucket.
_LEGACY_ROLES = [
    (f"project{who}", f"roles/storage.legacy{kind}{may}")
    for who, may in (("Editor", "Owner"), ("Viewer", "Reader")) for kind in ("Bucket", "Object")
]  # fmt: skip


@dataclass(frozen=True)
class Cloud:
    """The facts of ``globals.yml`` about what is created in Google Cloud.

    Args:
        project: id of the project.
        number: its number.
        region: where the bucket and the registry are.
        bucket: ``gs://…``, without a path.
        artifacts: the folder of the bucket below which all environments keep their artifacts; empty if it is not known.
        registry: ``region-docker.pkg.dev/project/repository``
        pipeline: e-mail of the account that the steps run as.
        launcher: e-mail of the account that CI launches as.
        role: id of the role by which it launches.
        provider: resource name of the federation's provider.
        host: the git host whose CI launches; None without CI.
        mlflow: the arguments by which ``gcloud iap web`` names the IAP resource in front of MLflow; empty if unknown.
        owner: whose all this is: package, environment and repository.
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
    provider: str
    host: Host | None
    mlflow: tuple[str, ...]
    owner: str

    @property
    def pool(self) -> str:
        """Resource name of the federation's pool."""
        return self.provider.partition("/providers/")[0]


@dataclass(frozen=True)
class Thing:
    """Something in Google Cloud that the project needs.

    Args:
        name: its name as it is printed.
        reason: why the project needs it.
        fact: the key of ``globals.yml`` that names it; empty if there is none.
        group: gcloud's command group for this kind of resource.
        target: the arguments that name it in that group.
        settings: dotted fields that gcloud must show, with their values; None for a field that must not be set.
        options: the arguments that give it these settings.
        look: further arguments for showing it.
        new: further arguments for creating it.
        kind: what gcloud adds to the words "create" and "update" in that group.
        contents: the gcloud command that lists what is in it.
        only: the one thing that may be in it.
        then: the commands that follow when it has been created.
    """

    name: str
    reason: str
    fact: str
    group: tuple[str, ...]
    target: tuple[str, ...]
    settings: Mapping[str, object]
    options: tuple[str, ...]
    look: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    kind: str = ""
    contents: tuple[str, ...] = ()
    only: str = ""
    then: tuple[tuple[str, ...], ...] = ()

    def command(self, verb: str) -> tuple[str, ...]:
        """The gcloud command that shows it (``describe``), or that does something else to it."""
        name, *where = self.target
        if verb == "create":
            # A service account is created by the part in front of the @.
            return (*self.group, verb + self.kind, name.partition("@")[0], *where, *self.options, *self.new)
        if verb == "update":
            return (*self.group, verb + self.kind, *self.target, *self.options)
        return (*self.group, verb, *self.target, *self.look)


@dataclass(frozen=True)
class Grant:
    """A role that a member gets on a resource.

    Args:
        member: who gets the role, as IAM names members.
        role: the role.
        on: the resource, as it is printed.
        reason: why the member needs the role.
        group: gcloud's command group for this kind of resource.
        target: the arguments that name the resource in that group.
        made_by: arguments of the gcloud command that makes the member, if it may not exist yet.
        appears: when the member appears, if no command makes it.
    """

    member: str
    role: str
    on: str
    reason: str
    group: tuple[str, ...]
    target: tuple[str, ...]
    made_by: tuple[str, ...] = ()
    appears: str = ""


def lifecycle(cloud: Cloud) -> dict[str, list[object]]:
    """The rule that deletes the artifacts of old runs. https://cloud.google.com/storage/docs/lifecycle

    There is none where the folder of the artifacts is not known, because it would delete everything in the bucket.
    """
    condition = {"age": KEPT_DAYS, "matchesPrefix": [cloud.artifacts]}
    return {"rule": [{"action": {"type": "Delete"}, "condition": condition}] if cloud.artifacts else []}


def things(cloud: Cloud) -> Iterator[Thing]:
    """Everything that the project needs, in the order in which it can be created."""
    project, mark = f"--project={cloud.project}", OWNER + cloud.owner
    marked = f"--description={mark}"
    less = ("storage", "buckets", "remove-iam-policy-binding", cloud.bucket)
    yield Thing(
        f"bucket {cloud.bucket}",
        f"keeps the artifacts between steps; {LIFECYCLE_FILE} says when those of old runs are deleted",
        "bucket", ("storage", "buckets"), (cloud.bucket,),
        {
            # A bucket's name is easily guessed, and belongs to whoever has created it first.
            "projectNumber": cloud.number,
            "iamConfiguration.uniformBucketLevelAccess.enabled": True,
            "iamConfiguration.publicAccessPrevention": "enforced",
        },
        ("--uniform-bucket-level-access", "--public-access-prevention"),
        look=("--raw",),
        new=(project, f"--location={cloud.region}", f"--lifecycle-file={LIFECYCLE_FILE}"),
        then=tuple((*less, f"--member={who}:{cloud.project}", f"--role={role}") for who, role in _LEGACY_ROLES),
    )  # fmt: skip
    yield Thing(
        f"registry {cloud.registry}", "keeps the images of the steps",
        "artifact_registry", ("artifacts", "repositories"), _repository(cloud),
        {"format": "DOCKER", "description": mark}, (marked,), new=("--repository-format=docker",),
    )  # fmt: skip
    accounts = [("service_account", cloud.pipeline, "the steps run as this account")]
    if cloud.host:
        accounts.append(("ci_service_account", cloud.launcher, "CI launches as this account, without a key"))
    for fact, email, reason in accounts:
        group, settings = ("iam", "service-accounts"), {"description": mark}
        yield Thing(f"service account {email}", reason, fact, group, (email, project), settings, (marked,))
    if (host := cloud.host) is None:
        return
    yield Thing(
        f"role {cloud.role}", "allows what launching needs of Vertex AI, and nothing else",
        "", ("iam", "roles"), (cloud.role, project),
        {"includedPermissions": list(LAUNCHING), "description": mark},
        (f"--permissions={','.join(LAUNCHING)}", marked),
    )  # fmt: skip
    pool, provider = cloud.pool.rpartition("/")[2], cloud.provider.rpartition("/")[2]
    pools, at = ("iam", "workload-identity-pools"), ("--location=global", project)
    yield Thing(
        f"federation pool {pool}", f"holds the identities of CI jobs, signed by {host.issuer}",
        "workload_identity_provider", pools, (pool, *at),
        {"disabled": None, "description": mark}, ("--no-disabled", marked),
        contents=(*pools, "providers", "list", f"--workload-identity-pool={pool}", *at), only=provider,
    )  # fmt: skip
    audiences = [host.audience] if host.audience else []
    yield Thing(
        f"federation provider {provider}",
        f"lets in jobs of {host.repository}, branch {host.branch}, environment {host.environment}, and no others",
        "workload_identity_provider", (*pools, "providers"), (provider, f"--workload-identity-pool={pool}", *at),
        {
            "attributeCondition": host.condition, "attributeMapping": host.mapping, "oidc.issuerUri": host.issuer,
            "oidc.allowedAudiences": audiences or None, "description": mark, "disabled": None,
            # Whoever has put keys of their own here can sign tokens of any job.
            "oidc.jwksJson": None,
        },
        (
            f"--issuer-uri={host.issuer}",
            f"--attribute-mapping={','.join(f'{to}={source}' for to, source in host.mapping.items())}",
            f"--attribute-condition={host.condition}",
            *(f"--allowed-audiences={audience}" for audience in audiences),
            "--no-disabled", marked,
        ),
        kind="-oidc",
    )  # fmt: skip


def grants(cloud: Cloud) -> Iterator[Grant]:
    """All roles that are granted, with the reason for each."""
    pipeline, launcher = f"serviceAccount:{cloud.pipeline}", f"serviceAccount:{cloud.launcher}"
    project = (f"project {cloud.project}", ("projects",), (cloud.project,))
    bucket = (f"bucket {cloud.bucket}", ("storage", "buckets"), (cloud.bucket,))
    registry = (f"registry {cloud.registry}", ("artifacts", "repositories"), _repository(cloud))

    as_pipeline, as_launcher = (
        (email, ("iam", "service-accounts"), (email, f"--project={cloud.project}"))
        for email in (cloud.pipeline, cloud.launcher)
    )
    mint = "roles/iam.serviceAccountOpenIdTokenCreator"
    wanted = [
        (pipeline, "roles/aiplatform.user", project, "runs the pipeline's tasks"),
        (pipeline, "roles/storage.objectUser", bucket, "reads and writes artifacts between steps"),
        (pipeline, mint, as_pipeline, "mints its own ID tokens for Identity-Aware Proxy"),
    ]
    if cloud.host:
        jobs = f"principal://iam.googleapis.com/{cloud.pool}/subject/{cloud.host.subject}"
        launch = f"projects/{cloud.project}/roles/{cloud.role}"
        act_as = "roles/iam.serviceAccountUser"
        wanted += [
            (jobs, "roles/iam.workloadIdentityUser", as_launcher, "lets CI jobs act as the launcher, without a key"),
            (launcher, "roles/artifactregistry.writer", registry, "pushes the image"),
            (launcher, launch, project, "launches jobs, follows them, applies schedules"),
            (launcher, act_as, as_pipeline, "launches jobs that run as the pipeline's account"),
            (launcher, mint, as_pipeline, "reads the job's MLflow run through Identity-Aware Proxy"),
        ]
    for who, role, (on, group, target), reason in wanted:
        yield Grant(who, role, on, reason, group, target)
    agents = f"serviceAccount:service-{cloud.number}@gcp-sa-aiplatform"
    reads = ("roles/artifactregistry.reader", registry[0], "pulls the image of the steps for Vertex AI", *registry[1:])
    create = ("beta", "services", "identity", "create", "--service=aiplatform.googleapis.com")
    yield Grant(f"{agents}.iam.gserviceaccount.com", *reads, made_by=(*create, f"--project={cloud.project}"))
    yield Grant(f"{agents}-cc.iam.gserviceaccount.com", *reads, appears="the first job of the project")
    if cloud.mlflow:
        role, reason = "roles/iap.httpsResourceAccessor", "passes Identity-Aware Proxy"
        target = (*cloud.mlflow, f"--project={cloud.project}")
        yield Grant(pipeline, role, "MLflow's IAP resource", reason, ("iap", "web"), target)


def _repository(cloud: Cloud) -> tuple[str, ...]:
    host, project, name = cloud.registry.split("/")
    return name, f"--location={host.removesuffix('-docker.pkg.dev')}", f"--project={project}"
