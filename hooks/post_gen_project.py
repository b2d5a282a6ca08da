"""Remove what the answers did not choose: the files of the other CI systems and, with ``example=no``, the example."""

import json
import shutil
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | jsonify }}""")

CI_FILES = {"github": [".github"], "gitlab": [".gitlab-ci.yml", "renovate.json"]}
EXAMPLE_FILES = [f"src/{ANSWERS['python_package']}/pipelines/penguins", "tests/test_penguins.py", "data"]


def main() -> None:
    """Remove those files and folders from the generated project, which is the working directory of this hook."""
    unwanted = [path for ci, paths in CI_FILES.items() if ci != ANSWERS["ci"] for path in paths]
    if ANSWERS["example"] == "no":
        unwanted += EXAMPLE_FILES
    for path in map(Path, unwanted):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


if __name__ == "__main__":
    main()
