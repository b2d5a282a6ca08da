"""What the project needs in Google Cloud, and why: the file to review before `make bootstrap` runs.

This file changes nothing itself: ``bootstrap.py`` compares it with what exists and creates what is missing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Host:
    """A git host whose CI launches the pipeline.

    Args:
        name: ``github`` or ``gitlab``.
        issuer: URL of the issuer that signs the tokens of its jobs.
        repository: ``owner/name`` on that host.
        branch: the only branch whose jobs may launch.
        environment: the environment on the git host, with its approvals, that the job which launches goes through.
        audience: the audience of its tokens; empty for the one that Google expects by default.
    """

    name: str
    issuer: str
    repository: str
    branch: str
    environment: str
    audience: str = ""

    @property
    def mapping(self) -> dict[str, str]:
        """Google's attribute → the claim of a job's token that gives its value. A subject has at most 127 bytes."""
        if self.name == "github":
            return {"google.subject": "assertion.repository_id", "attribute.repository": "assertion.repository"}
        return {"google.subject": "assertion.project_id", "attribute.repository": "assertion.project_path"}

    @property
    def condition(self) -> str:
        """Which jobs are let in: those that launch from the repository's branch, in the environment.

        Jobs of a fork and of a pull or merge request are not let in. On GitHub, jobs of other workflows are not let in
        either, because strangers may be able to start those (``pull_request_target``).
        """
        if self.name == "github":
            ref = f"refs/heads/{self.branch}"
            workflow = f"{self.repository}/.github/workflows/ci.yml@{ref}"
            claims = {"repository": self.repository, "ref": ref, "workflow_ref": workflow}
        else:
            claims = {
                "project_path": self.repository, "ref_type": "branch", "ref": self.branch, "ref_protected": "true",
            }  # fmt: skip
        claims["environment"] = self.environment
        return " && ".join(f"assertion.{name} == '{value}'" for name, value in claims.items())


@dataclass(frozen=True)
class Cloud:
    """The facts of ``globals.yml`` about what is created in Google Cloud.

    Args:
        project: id of the project.
        number: its number.
        region: where the bucket and the registry are.
        bucket: ``gs://…``, without a path.
        registry: ``region-docker.pkg.dev/project/repository``
        pipeline: e-mail of the account that the steps run as.
        launcher: e-mail of the account that CI launches as.
        provider: resource name of the federation's provider.
        host: the git host whose CI launches; None without CI.
        mlflow: the arguments by which ``gcloud iap web`` names the IAP resource in front of MLflow; empty if unknown.
    """

    project: str
    number: str
    region: str
    bucket: str
    registry: str
    pipeline: str
    launcher: str
    provider: str
    host: Host | None
    mlflow: tuple[str, ...]

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
        describe: arguments of the gcloud command that tells whether it exists.
        create: arguments of the gcloud command that creates it.
        settings: fields that ``describe`` must show, with their values.
    """

    name: str
    reason: str
    describe: tuple[str, ...]
    create: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)


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


def things(cloud: Cloud) -> Iterator[Thing]:
    """Everything that the project needs, in the order in which it can be created."""
    yield Thing(
        f"bucket {cloud.bucket}",
        "keeps the artifacts between steps; infra/lifecycle.json says when those of old runs are deleted",
        ("storage", "buckets", "describe", cloud.bucket),
        (
            "storage", "buckets", "create", cloud.bucket, f"--project={cloud.project}", f"--location={cloud.region}",
            "--uniform-bucket-level-access", "--public-access-prevention", "--lifecycle-file=infra/lifecycle.json",
        ),
    )  # fmt: skip
    repository = _repository(cloud)
    yield Thing(
        f"registry {cloud.registry}",
        "keeps the images of the steps",
        ("artifacts", "repositories", "describe", *repository),
        ("artifacts", "repositories", "create", *repository, "--repository-format=docker"),
    )
    yield _account(cloud, cloud.pipeline, "the steps run as this account")
    if (host := cloud.host) is None:
        return
    yield _account(cloud, cloud.launcher, "CI launches as this account, without a key")
    pool, provider = cloud.pool.rpartition("/")[2], cloud.provider.rpartition("/")[2]
    at = ("--location=global", f"--project={cloud.project}")
    pools = ("iam", "workload-identity-pools")
    yield Thing(
        f"federation pool {pool}",
        f"holds the identities of CI jobs, signed by {host.issuer}",
        (*pools, "describe", pool, *at),
        (*pools, "create", pool, *at),
    )
    options = (
        f"--issuer-uri={host.issuer}",
        f"--attribute-mapping={','.join(f'{to}={source}' for to, source in host.mapping.items())}",
        f"--attribute-condition={host.condition}",
        *([f"--allowed-audiences={host.audience}"] if host.audience else []),
    )
    within = (provider, f"--workload-identity-pool={pool}", *at)
    oidc = {"issuerUri": host.issuer, **({"allowedAudiences": [host.audience]} if host.audience else {})}
    yield Thing(
        f"federation provider {provider}",
        f"lets in jobs of {host.repository}, branch {host.branch}, environment {host.environment}, and no others",
        (*pools, "providers", "describe", *within),
        (*pools, "providers", "create-oidc", *within, *options),
        {"attributeCondition": host.condition, "attributeMapping": host.mapping, "oidc": oidc},
    )


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
        jobs = f"principalSet://iam.googleapis.com/{cloud.pool}/attribute.repository/{cloud.host.repository}"
        act_as = "roles/iam.serviceAccountUser"
        wanted += [
            (jobs, "roles/iam.workloadIdentityUser", as_launcher, "lets CI jobs act as the launcher, without a key"),
            (launcher, "roles/artifactregistry.writer", registry, "pushes the image"),
            (launcher, "roles/aiplatform.user", project, "launches jobs, follows them, applies schedules"),
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


def _account(cloud: Cloud, email: str, reason: str) -> Thing:
    project = f"--project={cloud.project}"
    return Thing(
        f"service account {email}",
        reason,
        ("iam", "service-accounts", "describe", email, project),
        ("iam", "service-accounts", "create", email.partition("@")[0], project),
    )
