"""Put what a real run looks like into the README: its output, its plan, and its page in MLflow.

    make demo && make pictures

Needs Chromium (``apt-get install chromium``) for the page.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from mlflow_server import mlflow_server  # noqa: E402

DEMO = ROOT / "build/demo"
SHOWN = Path("/tmp/demo")
BIN = DEMO / ".venv/bin"
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DO_NOT_TRACK": "1", "COLUMNS": "110"}


def main() -> None:
    """Run the demo's spec once more, where the path says nothing of this machine, and write down what is seen."""
    if not (DEMO / "pipeline.json").exists():
        sys.exit("build/demo is missing. Make it with: make demo")
    SHOWN.mkdir()
    try:
        for name in ("conf", "data", "src", "pyproject.toml", "pipeline.json", ".telemetry"):
            copy = shutil.copytree if (DEMO / name).is_dir() else shutil.copy
            copy(DEMO / name, SHOWN / name)
        run = kedro("vertexai", "run-local", "--spec", "pipeline.json")
        replace("demo", f"```console\n$ kedro vertexai run-local --spec pipeline.json\n{run.rstrip()}\n```")
        replace("plan", f"```mermaid\n{kedro('vertexai', 'plan', '--format', 'mermaid').rstrip()}\n```")
        run_id = re.search(r"run (\w{32})", run)[1]
        screenshot(run_id, ROOT / "docs/pictures/mlflow-run.png")
    finally:
        shutil.rmtree(SHOWN)


def kedro(*arguments: str) -> str:
    """The output of a command in the demo project."""
    argv = [BIN / "kedro", *arguments]
    return subprocess.run(argv, cwd=SHOWN, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True).stdout


def replace(name: str, text: str) -> None:
    """Put text between the README's markers of that name."""
    readme = ROOT / "README.md"
    pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    readme.write_text(pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", readme.read_text()))


def screenshot(run_id: str, picture: Path) -> None:
    """Photograph the run's page on a real MLflow server."""
    chromium = shutil.which("chromium") or sys.exit("Chromium is missing: apt-get install chromium")
    picture.parent.mkdir(exist_ok=True)
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet]
    argv += [f"--user-data-dir={SHOWN / 'chromium'}", "--window-size=1500,1180", "--virtual-time-budget=20000"]
    with mlflow_server(BIN / "mlflow", SHOWN, ENVIRONMENT, store="sqlite:///mlflow.db") as url:
        page = f"{url}/#/experiments/1/runs/{run_id}"
        subprocess.run([*argv, f"--screenshot={picture}", page], check=True, stderr=subprocess.DEVNULL, timeout=120)


if __name__ == "__main__":
    main()
