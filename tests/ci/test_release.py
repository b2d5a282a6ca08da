"""This repository's release workflow, executed as far as it goes here: it builds, and publishes to stand-ins."""

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path

import pytest
import trustme
from fakes.federation import GitHost, token_endpoint
from fakes.google_identity import JsonHandler, served
from running import BIN, run
from test_github import ACTIONS

pytestmark = pytest.mark.slow

STAND_INS = {
    "actions/attest-build-provenance": "attest",
    "actions/checkout": "checkout",
    "actions/download-artifact": "download-artifact",
    "actions/setup-python": "setup-python",
    "actions/upload-artifact": "upload-artifact",
}
VERSION = "0.2.0"
# GitHub's program keeps what it is given. Its token is GitHub's own.
GH = """#!/bin/sh
test -n "$GH_TOKEN"
printf '%s\\n' "$@" > "$ARTIFACTS/gh"
sha256sum dist/*.whl dist/*.tar.gz > "$ARTIFACTS/released"
"""


@pytest.fixture
def pypi(tmp_path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """PyPI with a trusted publisher: the variables by which uv finds it, and the files that it got, with their hashes."""
    uploads: dict[str, str] = {}
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(JsonHandler):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def do_GET(self) -> None:
            self.answer(200, {"audience": "pypi"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.endswith("mint-token"):
                self.answer(200, {"success": True, "token": "pypi-for-minutes"})
                return
            header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            for part in BytesParser(policy=HTTP).parsebytes(header + body).iter_parts():
                if name := part.get_filename():
                    uploads[name] = hashlib.sha256(part.get_payload(decode=True)).hexdigest()
            assert self.headers["Authorization"].startswith("Basic ")
            self.answer(200, "")

    with served(Handler) as address:
        yield {"UV_PUBLISH_URL": f"https://{address}/legacy/", "SSL_CERT_FILE": str(tmp_path / "ca.pem")}, uploads


@pytest.fixture
def release(repository, pypi, tmp_path) -> Iterator[Callable[..., str]]:
    """Push a tag; returns what the workflow prints."""
    clone, kept, programs = tmp_path / "clone", tmp_path / "kept", tmp_path / "python/bin"
    kept.mkdir()
    assert run("git", "clone", "-q", repository, clone, cwd=tmp_path).returncode == 0
    assert run("git", "remote", "set-head", "origin", "-d", cwd=clone).returncode == 0
    branch = run("git", "branch", "--show-current", cwd=clone).stdout.strip()
    assert run("git", "update-ref", "refs/remotes/origin/main", f"origin/{branch}", cwd=clone).returncode == 0
    done = run(BIN / "uv", "venv", "--quiet", "--seed", "--python", BIN / "python", programs.parent, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)
    with token_endpoint(GitHost("https://token.actions.githubusercontent.com", {"sub": "repo:x"})) as endpoint:

        def release(tag: str, *options: str) -> str:
            event = tmp_path / "event.json"
            event.write_text(f'{{"ref": "refs/tags/{tag}"}}')
            workflow = (clone / ".github/workflows/release.yml").read_text()
            replaced = [
                f"--local-repository={action}@{pin}={ACTIONS / STAND_INS[action]}"
                for action, pin in sorted(set(re.findall(r"uses: (\S+)@([0-9a-f]{40})", workflow)))
            ]
            variables = {
                **{name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "UV_"))},
                **endpoint, "ARTIFACTS": str(kept), **pypi[0], "VIRTUAL_ENV": str(programs.parent),
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(Path.home()),
            }  # fmt: skip
            given = [item for name, value in variables.items() for item in ("--env", f"{name}={value}")]
            runner = [
                "-P",
                "ubuntu-latest=-self-hosted",
                "--action-offline-mode",
                "--secret",
                "GITHUB_TOKEN=of-the-job",
            ]
            only = ["--workflows", ".github/workflows/release.yml", "--eventpath", str(event)]
            done = run(BIN / "act", "push", *only, *runner, *replaced, *given, *options, cwd=clone, timeout=500)
            print(done.stdout, done.stderr)
            return done.stdout + done.stderr

        yield release


def hashes(file: Path) -> dict[str, str]:
    return {name.rpartition("/")[2]: sha256 for sha256, name in map(str.split, file.read_text().splitlines())}


def test_a_tag_becomes_one_build_that_is_signed_released_and_with_a_switch_uploaded(release, pypi, tmp_path):
    kept = tmp_path / "kept"
    printed = release(f"v{VERSION}", "--var", "PUBLISH_TO_PYPI=true")
    assert printed.count("🏁  Job succeeded") == 3
    attested = hashes(kept / "attested")
    assert set(attested) == {
        f"kedro_vertexai_mlflow-{VERSION}-py3-none-any.whl", f"kedro_vertexai_mlflow-{VERSION}.tar.gz",
    }  # fmt: skip
    assert hashes(kept / "released") == attested == pypi[1]
    assert "--verify-tag" in (kept / "gh").read_text().splitlines()
    assert "### Upgrading" in (kept / "dist/notes.md").read_text()


def test_without_the_switch_pypi_gets_nothing(release, pypi, tmp_path):
    assert release(f"v{VERSION}").count("🏁  Job succeeded") == 2
    assert pypi[1] == {}


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("v9.9.9", f"The tag is v9.9.9, and __version__ of the platform is {VERSION}"),
        ("v0.2.0$(touch${IFS}planted)", "The tag is v0.2.0$(touch${IFS}planted), and __version__"),
    ],
)
def test_a_tag_with_another_number_is_not_released(tag, message, release, tmp_path):
    assert message in release(tag)
    assert not any(tmp_path.rglob("planted"))
    assert not (tmp_path / "kept/gh").exists()


def test_a_tag_that_is_not_on_the_main_branch_is_not_released(release, tmp_path):
    clone = tmp_path / "clone"
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    assert run("git", *author, "commit", "-q", "--allow-empty", "-m", "not reviewed", cwd=clone).returncode == 0
    assert "The tag is not on the main branch" in release(f"v{VERSION}")
    assert list((tmp_path / "kept").iterdir()) == []
