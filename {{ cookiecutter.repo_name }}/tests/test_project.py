"""Every pipeline of the project becomes a plan, whatever it is about."""

import json

from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines


def test_every_pipeline_has_a_plan(project, monkeypatch):
    monkeypatch.chdir(project.project_path)
    kedro = KedroCLI(project.project_path)
    for name, pipeline in pipelines.items():
        plan = ["vertexai", "plan", "--pipeline", name, "--format", "json"]
        result = CliRunner().invoke(kedro, plan, obj=project, standalone_mode=False)
        assert result.exit_code == 0, result.output
        steps = json.loads(result.stdout)["steps"]
        planned = [node for step in steps for node in step["nodes"]]
        assert sorted(planned) == sorted(node.name for node in pipeline.nodes)
