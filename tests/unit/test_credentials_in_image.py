"""A file with credentials gets into an image only if it names secrets and has none."""

from pathlib import Path

import pytest

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.image.context import credentials_in_image, files_in_image

NAME = "conf/cloud/credentials_secrets.yml"
IGNORE = "*\n!conf\nconf/**/*credentials*\n!conf/cloud/credentials_secrets.yml\n"


def project_with(folder: Path, text: str) -> Path:
    for name in (NAME, "conf/cloud/credentials.yml", "conf/prod/credentials_secrets.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".dockerignore").write_text(IGNORE)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "db:\n  user: ${gcp.secret:user}\n  password: ${gcp.secret:password, 3}\n",
        "a: [ '${gcp.secret:projects/p/secrets/x}', '${gcp.access_token:}' ]\n",
        "# nothing yet\n",
    ],
)
def test_a_file_that_only_names_secrets_is_in_the_image(tmp_path, text):
    project = project_with(tmp_path, text)
    names = files_in_image(project)
    assert names == {NAME}
    assert credentials_in_image(project, names) == {NAME}


@pytest.mark.parametrize(
    "text",
    [
        "db:\n  key: ${gcp.secret:user}\n  password: opensesame42\n",
        "db:\n  password: opensesame42${gcp.secret:user}\n",
        "db:\n  password: '${oc.env:opensesame42}'\n",
        "db:\n  password: '${gcp.secret:a} ${gcp.secret:opensesame42}'\n",
        "db:\n  password:\n",
        "db:\n  password: {}\n",
        "db: [opensesame42\n",
    ],
)
def test_a_file_with_a_value_of_its_own_is_refused_and_not_quoted(tmp_path, text):
    project = project_with(tmp_path, text)
    with pytest.raises(UserError, match=NAME) as error:
        credentials_in_image(project, files_in_image(project))
    assert "opensesame42" not in str(error.value)
