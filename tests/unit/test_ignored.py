"""Secrets that lie about in a project are not committed, and nothing else is left out."""

import shutil
import subprocess
from pathlib import Path

TEMPLATE = Path(__file__).parents[2] / "{{ cookiecutter.repo_name }}"
SECRETS = [
    ".env", ".env.production", "src/.env", "conf/cloud/credentials.yml", "conf/cloud/credentials.yaml",
    "conf/prod/my_credentials.json", "conf/base/credentials_prod.yml", "service-account.json", "infra/my_service_account.json",
    "project-42-0123456789ab.json", "gha-creds-0123456789abcdef.json", "application_default_credentials.json",
    "gcp-key.json", "sa_key.json", "key.json", "token.json", "hub.token", "ca.pem", "server.key", "client.p12", "client.pfx",
    "id_rsa", "id_ed25519.pub", ".netrc", ".pypirc", ".git-credentials", "secrets.yml", "conf/cloud/secrets.toml",
    "mykey.json", "conf/cloud/keyfile.json", "api_keys.json", "id_ecdsa", "id_dsa", "id_ecdsa_sk.pub", "laptop.ppk",
    "trust.jks", "release.keystore", ".npmrc", "kubeconfig", "conf/cloud/prod.kubeconfig", "kubeconfig.yaml", ".htpasswd",
    ".vertexai/run/log.txt", ".federation/token", "mlflow.db",
]  # fmt: skip
KEPT = [
    "src/p/auth/credentials.py", "src/p/tokenizer.py", "src/p/pipelines/keys.py", "conf/cloud/globals.yml",
    "conf/base/parameters.yml", "conf/base/keypoints.json", "data/01_raw/penguins.csv", "requirements-launch.lock",
    "infra/lifecycle.json", "renovate.json", "tests/test_secrets.py", "tests/test_tokens.py",
]  # fmt: skip


def test_git_leaves_out_every_secret_and_nothing_else(tmp_path):
    shutil.copy(TEMPLATE / ".gitignore", tmp_path)
    for name in (*SECRETS, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    listed = ["git", "ls-files", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    assert set(files) == {".gitignore", *KEPT}


def test_an_image_leaves_out_the_secrets_that_git_leaves_out():
    """Both files have the same patterns, once from the project's folder on and once from any folder on."""
    git, docker = ((TEMPLATE / name).read_text() for name in (".gitignore", ".dockerignore"))
    secrets = git.partition("# Secrets")[2].partition("\n\n")[0].splitlines()[1:]
    in_docker = docker.partition("# Secrets")[2].partition("\n\n")[0].splitlines()[1:]
    assert len(secrets) > 20
    assert in_docker == [line if "/" in line else f"**/{line}" for line in secrets]
