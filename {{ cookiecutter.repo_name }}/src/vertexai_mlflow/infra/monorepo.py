"""Write the workflows of a project that is not at the top of its repository to where GitHub looks: `make monorepo`.

The project's own files stay what `make upgrade` merges into. Each project gets workflows with a name of its own.
"""

import re
import sys
from pathlib import Path

from .. import git
from ..errors import UserError
from ..whole_file import write_whole

_FOLDER = ".github/workflows"
# File of the project → what is added to the name of the file at the top.
_ROLES = {"ci.yml": "", "vertexai.yml": "", "audit.yml": "-audit"}
_HEADER = "# Written by `make monorepo` in {place}, from {place}/{source}: change that one, and call it again.\n"


def write_workflows(project: Path) -> list[Path]:
    """Write the workflows and return their paths.

    Args:
        project: the project's folder.

    Raises:
        UserError: when the project is at the top, in no repository, or has no workflows.
    """
    top, place = git.place(project)
    if not place:
        raise UserError(
            "make monorepo: this folder is the top of its repository, or in none. GitHub finds its workflows."
        )
    sources = [project / _FOLDER / name for name in _ROLES if (project / _FOLDER / name).is_file()]
    if not sources:
        raise UserError(f"make monorepo: {place} has no workflow in {_FOLDER}. Other CI systems have their own ways.")
    files = []
    for source in sources:
        name = place.replace("/", "-") + _ROLES[source.name]
        file = top / _FOLDER / f"{name}.yml"
        header = _HEADER.format(place=place, source=f"{_FOLDER}/{source.name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, header + move_workflow(source.read_text(encoding="utf-8"), place, name))
        files.append(file)
    return files


def move_workflow(text: str, place: str, name: str) -> str:
    """A workflow as it does for a folder of a repository what it did for the whole: the folder's pushes, in the folder.

    Args:
        text: the workflow.
        place: the folder, below the top of the repository.
        name: the name of the new workflow and of its file.
    """
    paths = f'    paths: ["{place}/**", "{_FOLDER}/{name}.yml"]\n'
    text = re.sub(r"^name: .*$", f"name: {name}", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^  pull_request:\n(?!    )", f"  pull_request:\n{paths}", text, flags=re.MULTILINE)
    text = re.sub(r"^(  push:\n(?:    .*\n)*)", lambda match: match[1] + paths, text, flags=re.MULTILINE)
    text = text.replace('paths: ["*.lock"]', f'paths: ["{place}/*.lock"]')
    # What actions are told is below the top of the repository; what commands are told, below the folder.
    text = re.sub(r"^( +context: )\.$", rf"\g<1>{place}", text, flags=re.MULTILINE)
    text = re.sub(r"^( +(?:cache-dependency-path|path): )(?=\w)", rf"\g<1>{place}/", text, flags=re.MULTILINE)
    return text.replace("\njobs:\n", f"\ndefaults:\n  run:\n    working-directory: {place}\n\njobs:\n", 1)


if __name__ == "__main__":
    try:
        written = write_workflows(Path())
    except UserError as error:
        sys.exit(f"Error: {error}")
    for path in written:
        print(f"Wrote {path}")
    print(f'CI is let in by the file\'s name: make bootstrap ARGS="--workflow {written[0].name}"')
