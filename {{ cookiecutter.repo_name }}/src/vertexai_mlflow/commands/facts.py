"""``kedro vertexai facts``"""

import click

from .. import __version__
from ..checks.ci import CI_FACTS
from ..errors import PLACEHOLDER, UserError, not_filled_in
from ..image.docker import registry_of, repository_of
from . import options, say

# What CI needs and anybody may know. The rest of globals.yml, secrets that it resolves for instance, is not printed.
_FACTS = ("project_id", "region", "bucket", "artifact_registry", "copy_from", "service_account")


@click.command("facts")
@options.pass_environment
def command(environment: options.Environment) -> None:
    """Print what globals.yml says about the cloud, as lines of name=value for CI.

    Only what CI needs is printed, with the image, its repository and its registry, and the version of the platform.
    """
    project = environment.project()
    project.refuse_placeholders("mlflow", "vertexai")
    image = project.image
    facts = {name: value for name, value in project.config("globals").items() if name in (*_FACTS, *CI_FACTS)}
    facts |= {"image": image, "repository": repository_of(image), "registry": registry_of(image)}
    facts["vertexai_mlflow"] = __version__
    for name, value in facts.items():
        if PLACEHOLDER.search(str(value)):
            if name in CI_FACTS:
                raise UserError(f"{not_filled_in([f'globals.yml: {name}: {value}'])}. This fills it in: make bootstrap")
            continue
        if not str(value).isprintable():
            raise UserError(f"globals.yml: {name} must be a single line, without control characters.")
        say(f"{name}={value}")
