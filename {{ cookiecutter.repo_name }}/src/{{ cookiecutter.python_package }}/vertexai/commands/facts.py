"""``kedro vertexai facts``"""

import click

from . import options

_FOR_CI = ("ci_service_account", "workload_identity_provider")


@click.command("facts")
@options.pass_environment
def command(environment: options.Environment) -> None:
    """Print what this environment's globals.yml says, and the image, as lines of name=value: for CI."""
    from ..docker import registry_of, repository_of
    from ..errors import UserError
    from ..project import is_placeholder

    project = environment.project()
    project.refuse_placeholders("mlflow", "vertexai")
    image = project.settings.run_config.image
    facts = {**project.facts, "image": image, "repository": repository_of(image), "registry": registry_of(image)}
    for name, value in facts.items():
        if is_placeholder(value):
            if name in _FOR_CI:
                raise UserError(f"globals.yml: {name} is not filled in yet: make bootstrap makes it.")
            continue
        if "\n" in str(value):
            raise UserError(f"globals.yml: {name} has more than one line.")
        click.echo(f"{name}={value}")
