"""What the project needs in Google Cloud, and why: the file to review before `make bootstrap` runs.

Nothing here is done; ``bootstrap.py`` compares it with what there is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

APIS = {
    "aiplatform.googleapis.com": "runs the pipeline",
    "artifactregistry.googleapis.com": "keeps the image of the steps",
    "cloudresourcemanager.googleapis.com": "grants roles on the project",
    "iam.googleapis.com": "service accounts and the federation",
    "iamcredentials.googleapis.com": "mints the tokens for Identity-Aware Proxy",
    "iap.googleapis.com": "lets the pipeline through to MLflow",
    "logging.googleapis.com": "keeps what the steps print",
    "storage.googleapis.com": "keeps what travels between steps",
    "sts.googleapis.com": "exchanges the CI job's identity",
}


@dataclass(frozen=True)
class Host:
    """A git host whose CI launches the pipeline.

    Args:
        name: ``github`` or ``gitlab``.
        issuer: who signs the tokens of its jobs.
        repository: ``owner/name`` there.
        branch: the only one whose jobs may launch.
        environment: the environment there, with its approvals, that the launching job goes through.
        audience: whom its tokens are for; empty for what Google expects of itself.
    """

    name: str
    issuer: str
    repository: str
    branch: str
    environment: str
    audience: str = ""

    @property
    def mapping(self) -> dict[str, str]:
        """Google's attributes of a job, by the claims of its token; a subject has at most 127 bytes."""
        if self.name == "github":
            return {"google.subject": "assertion.repository_id", "attribute.repository": "assertion.repository"}
        return {"google.subject": "assertion.project_id", "attribute.repository": "assertion.project_path"}

    @property
    def condition(self) -> str:
        """Which jobs are let in: those that launch, of the repository's branch, in the environment.

        Not of a fork, nor of a pull or merge request; on GitHub not of another workflow either, which may be started by
        strangers (``pull_request_target``).
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
    """The facts of ``globals.yml`` that have to do with what is made.

    Args:
        project: id of the project.
        number: its number.
        region: where bucket and registry are.
        bucket: ``gs://…``, without a path.
        registry: ``region-docker.pkg.dev/project/repository``
        pipeline: e-mail of the account that the steps run as.
        launcher: e-mail of CI's account.
        provider: resource name of the federation's provider.
        host: whose CI it is; None without CI.
        mlflow: IAP resource in front of MLflow as gcloud names it: arguments of ``gcloud iap web``; empty if unknown.
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
    """Something to make.

    Args:
        name: for people.
        reason: why the project needs it.
        describe: gcloud's arguments that tell whether it is there.
        create: those that make it.
        settings: what ``describe`` should say, at least.
        update: gcloud's arguments that would make it so; that is for a person to decide.
    """

    name: str
    reason: str
    describe: tuple[str, ...]
    create: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    update: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grant:
    """A role, for somebody, on something.

    Args:
        member: IAM's name of who gets it.
        role: the role.
        on: on what, for people.
        reason: why.
        group: gcloud's command group for that kind of thing.
        target: its arguments that say which.
    """

    member: str
    role: str
    on: str
    reason: str
    group: tuple[str, ...]
    target: tuple[str, ...]


def things(cloud: Cloud) -> Iterator[Thing]:
    """What there shall be, in the order in which it can be made."""
    yield Thing(
        f"bucket {cloud.bucket}",
        "artifacts between steps; infra/lifecycle.json says when those of old runs are deleted",
        ("storage", "buckets", "describe", cloud.bucket),
        (
            "storage", "buckets", "create", cloud.bucket, f"--project={cloud.project}", f"--location={cloud.region}",
            "--uniform-bucket-level-access", "--public-access-prevention", "--lifecycle-file=infra/lifecycle.json",
        ),
    )  # fmt: skip
    repository = _repository(cloud)
    yield Thing(
        f"registry {cloud.registry}",
        "images of the steps",
        ("artifacts", "repositories", "describe", *repository),
        ("artifacts", "repositories", "create", *repository, "--repository-format=docker"),
    )
    yield _account(cloud, cloud.pipeline, "the steps run as it")
    if cloud.host is None:
        return
    yield _account(cloud, cloud.launcher, "CI launches as it, without a key")
    pool, provider = cloud.pool.rpartition("/")[2], cloud.provider.rpartition("/")[2]
    at = ("--location=global", f"--project={cloud.project}")
    pools = ("iam", "workload-identity-pools")
    yield Thing(
        f"federation pool {pool}",
        f"identities of {cloud.host.issuer}",
        (*pools, "describe", pool, *at),
        (*pools, "create", pool, *at),
    )
    host = cloud.host
    settings = (
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
        (*pools, "providers", "create-oidc", *within, *settings),
        {"attributeCondition": host.condition, "attributeMapping": host.mapping, "oidc": oidc},
        (*pools, "providers", "update-oidc", *within, *settings),
    )


def grants(cloud: Cloud) -> Iterator[Grant]:
    """Every role that is granted, and why. There are no others."""
    pipeline, launcher = f"serviceAccount:{cloud.pipeline}", f"serviceAccount:{cloud.launcher}"
    project = (f"project {cloud.project}", ("projects",), (cloud.project,))
    bucket = (f"bucket {cloud.bucket}", ("storage", "buckets"), (cloud.bucket,))
    registry = (f"registry {cloud.registry}", ("artifacts", "repositories"), _repository(cloud))

    def account(email: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        return email, ("iam", "service-accounts"), (email, f"--project={cloud.project}")

    wanted = [
        (pipeline, "roles/aiplatform.user", project, "runs the pipeline's tasks"),
        (pipeline, "roles/storage.objectUser", bucket, "reads and writes artifacts between steps"),
        (
            pipeline,
            "roles/iam.serviceAccountOpenIdTokenCreator",
            account(cloud.pipeline),
            "mints its own ID tokens for Identity-Aware Proxy",
        ),
    ]
    if cloud.host:
        jobs = f"principalSet://iam.googleapis.com/{cloud.pool}/attribute.repository/{cloud.host.repository}"
        wanted += [
            (jobs, "roles/iam.workloadIdentityUser", account(cloud.launcher), "CI jobs become it, without a key"),
            (launcher, "roles/artifactregistry.writer", registry, "pushes the image"),
            (launcher, "roles/aiplatform.user", project, "launches jobs, follows them, applies schedules"),
            (launcher, "roles/iam.serviceAccountUser", account(cloud.pipeline), "launches jobs that run as it"),
            (
                launcher,
                "roles/iam.serviceAccountOpenIdTokenCreator",
                account(cloud.pipeline),
                "reads the job's MLflow run through Identity-Aware Proxy",
            ),
        ]
    for who, role, (on, group, target), reason in wanted:
        yield Grant(who, role, on, reason, group, target)
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
