"""doctor's line about CI, which needs two facts that a launch from a laptop does not need."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from vertexai_mlflow.checks.ci import check_ci
from vertexai_mlflow.contract.check import Doubt

FACTS = {"ci_service_account": "ci@p.iam.gserviceaccount.com", "workload_identity_provider": "projects/1/providers/p"}
PLACEHOLDERS = {"ci_service_account": "<ci-service-account-email>", "workload_identity_provider": "<projects/number>"}


def project(folder: Path, file: str | None, **facts: str) -> SimpleNamespace:
    if file:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("steps: [{run: make launch}]\n")
    config = {"globals": {"project_id": "p", **facts}}
    return SimpleNamespace(
        path=folder, env="cloud", config=config.__getitem__, name_of=lambda path: str(path.relative_to(folder))
    )


@pytest.mark.parametrize("file", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_facts_that_only_ci_needs_are_a_line_of_their_own(tmp_path, file):
    with pytest.raises(Doubt) as doubt:
        check_ci(project(tmp_path, file, **PLACEHOLDERS))
    assert str(doubt.value) == (
        "A push will not launch. Not filled in yet: conf/cloud/globals.yml: ci_service_account: <ci-service-account-email>; "
        "conf/cloud/globals.yml: workload_identity_provider: <projects/number>. This fills it in: make bootstrap"
    )
    assert check_ci(project(tmp_path, file, **FACTS)) == f"{file}: launches as ci@p.iam.gserviceaccount.com"


def test_a_project_or_an_environment_without_ci_is_well(tmp_path):
    assert check_ci(project(tmp_path, None, **PLACEHOLDERS)) == "no file of this project lets CI launch"
    assert "not for this environment" in check_ci(project(tmp_path, ".gitlab-ci.yml"))
