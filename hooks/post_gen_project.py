"""Remove what the answers did not choose: the files of the other CI systems and, with ``example=no``, the example."""

import json
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")

CI_FILES = {
    "github": [".github", "renovate.json", "tests/test_workflows.py"],
    "gitlab": [".gitlab-ci.yml", "renovate.json"],
    "none": [],
}
EXAMPLE_FILES = [f"src/{ANSWERS['python_package']}/pipelines/penguins", "tests/test_penguins.py", "data"]


def main() -> None:
    """Remove those files and folders from the generated project, which is the working directory of this hook."""
    unwanted = sorted({path for paths in CI_FILES.values() for path in paths} - {*CI_FILES[ANSWERS["ci"]]})
    if ANSWERS["example"] == "no":
        unwanted += EXAMPLE_FILES
    for path in map(Path, unwanted):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    main()
