"""Text from outside is text: wherever it enters, nothing in it is obeyed, nothing of it is hidden, and nothing crashes."""

import ast
import json
import time

import click
import pytest
from click.testing import CliRunner
from hostile_text import HOSTILE, TEXTS, is_safe, squeezed
from kedro.pipeline import Node
from markdown_it import MarkdownIt
from plans import planned, same
from rich.text import Text
from running import PLATFORM

from vertexai_mlflow.cli import vertexai
from vertexai_mlflow.cloud.request import check_job_id, label_value
from vertexai_mlflow.commands import follow
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.contract.arguments import StepArguments, parse_arguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.job import MlflowRun, PipelineJob, State, TaskRun, console_url
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.spec import tasks
from vertexai_mlflow.errors import UserError, shown
from vertexai_mlflow.local.kfp_protocol import command_line, make_executor_input
from vertexai_mlflow.settings.models import RunConfig
from vertexai_mlflow.show import tables, terminal
from vertexai_mlflow.show.progress import progress
from vertexai_mlflow.step.carry import Carrier
from vertexai_mlflow.step.io import StepIO
from vertexai_mlflow.step.run_tags import error_text

PACKAGE = PLATFORM


def job(text: str) -> PipelineJob:
    tasks = {"t": TaskRun(text, "", State.FAILED, attempt=1, error=text)}
    return PipelineJob(text, "", State.FAILED, tasks, pipeline=text, error=text)


@pytest.mark.parametrize("text", TEXTS)
def test_all_of_a_text_is_seen_and_it_does_not_take_long(text):
    started = time.monotonic()
    assert is_safe(shown(text))
    assert time.monotonic() - started < 1
    letters = [letter for letter in HOSTILE["shell"] + HOSTILE["HTML"] if letter.isalnum()]
    assert shown("".join(letters)) == "".join(letters)
    if text.isprintable() and "##[" not in text:
        assert shown(text) == text


@pytest.mark.parametrize("text", TEXTS)
def test_tables_and_progress_show_a_text_as_it_is(text, capsys):
    printer = terminal.console(width=100, file=None)
    runs = {text: MlflowRun(text, f"http://mlflow/{text}", text, text)}
    printer.print(tables.job_as_table(job(text)))
    printer.print(tables.jobs_as_table([job(text)], runs))
    with progress() as show:
        for state in (State.RUNNING, State.FAILED):
            show(TaskRun(text, "", state, attempt=2, error=text))
    printed = capsys.readouterr().out
    assert is_safe(printed)
    assert squeezed(shown(text)) in squeezed(printed)


def test_the_link_to_a_run_cannot_be_left(capsys):
    """A terminal's link ends at the escape character; what follows would be obeyed."""
    printer = terminal.console(width=200, force_terminal=True)
    printer.print(tables.jobs_as_table([job("j")], {"j": MlflowRun("FINISHED", "http://m/\x1b\\\x1b[2Jx y")}))
    assert "http://m/%1B%5C%1B%5B2Jx%20y" in capsys.readouterr().out


@pytest.mark.parametrize("text", TEXTS)
def test_what_the_commands_print_is_safe(text, capsys):
    follow.show_failures(job(text))
    follow.show_failures(PipelineJob("j", "", State.FAILED, {}, error=text))
    printed = capsys.readouterr().out
    assert is_safe(printed)
    assert squeezed(shown(text)) in squeezed(printed)


@pytest.mark.parametrize("text", TEXTS)
def test_data_for_programs_arrives_as_it_is(text, capsys):
    terminal.say_json(tables.job_as_dict(job(text)))
    printed = capsys.readouterr().out
    assert is_safe(printed)
    assert json.loads(printed)["error"] == text


@pytest.mark.parametrize("text", TEXTS)
def test_the_page_of_ci_shows_a_text_as_text(text):
    page = tables.job_as_markdown(job(text), MlflowRun(text, "sqlite:///x", text, text))
    assert is_safe(page)
    assert len(page) < 20_000
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = [token for block in parser.parse(page) for token in (block.children or [block])]
    assert {
        token.type for token in tokens if token.type.startswith(("html", "image", "link", "em", "s_", "strong", "code"))
    } == set()
    cells = [block.content for block in parser.parse(page) if block.type == "inline"]
    assert len([cell for cell in cells if cell]) == (13 if text.strip() else 9)
    if len(text) < 1000:
        texts = "".join(token.content for token in tokens if token.type in ("text", "text_special"))
        assert squeezed(shown(text)) in squeezed(texts)
    links = json.loads(tables.job_as_annotations(job(text), MlflowRun(text, f"https://m/{text}")))["Pipeline"]
    assert all(is_safe(link["external_link"]["label"] + link["external_link"]["url"]) for link in links)


def test_a_link_on_the_page_of_ci_leads_where_it_is_meant_to():
    run = MlflowRun("FAILED", "https://m/a) [x](https://evil")
    page = tables.job_as_markdown(job("j"), run)
    assert "| MLflow run | [FAILED](https://m/a%29%20%5Bx%5D%28https://evil) |" in page


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_cannot_leave_its_place_in_the_graph(text):
    plan = planned(Node(same, "raw", text, name="one"), Node(same, text, "end", name="two"))
    lines = tables.as_mermaid(plan).splitlines()
    assert len(lines) == 8
    (edge,) = [line for line in lines if "-->|" in line]
    label = edge.split('|"')[1].split('"|')[0]
    assert not set(label) & set("\"`<>[](){}|\\$!*'")
    if len(text) < 1000:
        terminal.console().print(tables.as_table(plan))


@pytest.mark.parametrize("text", TEXTS)
def test_the_name_of_a_dataset_reaches_the_step_as_it_is_or_is_refused(text):
    """The platform replaces placeholders in the arguments of a step, wherever they are in them."""
    name = text[:2000]
    plan = planned(Node(same, "raw", name, name="one"), Node(same, name, "end", name="two"))
    if "{{$" in name:
        with pytest.raises(UserError, match="KFP replaces"):
            compile_plan(plan, Launch("demo"), RunConfig(image="x"))
        return
    for task in tasks(compile_plan(plan, Launch("demo"), RunConfig(image="x"))):
        given = make_executor_input(task, {}, {key: {"uri": "u"} for key in task.artifacts}, "folder")
        constants = {
            f"pipeline_job_{what}": "evaluated" for what in ("name", "uuid", "resource_name", "create_time_utc")
        }
        arguments, _input, _job = parse_arguments(command_line(task, given, constants)[3:])
        artifacts = arguments.artifacts if isinstance(arguments, StepArguments) else {}
        assert list(artifacts) == ([name] if task.name in ("one", "two") else [])


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_of_any_name_is_carried_as_it_is(text, tmp_path, monkeypatch):
    name = text.replace("/", "|").replace("\0", "")[:80].encode(errors="replace").decode().strip() or "x"
    first, second = tmp_path / "one", tmp_path / "two"
    for disk in (first, second):
        disk.mkdir()
    monkeypatch.chdir(first)
    (first / "data/parts").mkdir(parents=True)
    (first / "data/parts" / name).write_text("content")
    entry = {"type": "partitions.PartitionedDataset", "path": "data/parts", "dataset": "pandas.CSVDataset"}
    catalog = Catalog({"parts": entry}, "catalog.yml")
    arguments = StepArguments("step", "p", files={"parts": "data_parts"})
    made = {"data_parts": {"artifacts": [{"uri": f"memory://bucket{tmp_path}"}]}}
    put = Carrier(arguments, catalog, StepIO({"outputs": {"artifacts": made}})).put(lambda _name: False, "")
    monkeypatch.chdir(second)
    taken = {"data_parts": {"artifacts": [put["data_parts"]]}}
    Carrier(arguments, catalog, StepIO({"inputs": {"artifacts": taken}})).fetch()
    assert [file.name for file in (second / "data/parts").iterdir()] == [name]
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {
        tmp_path / disk / "data/parts" / name for disk in ("one", "two")
    }


@pytest.mark.parametrize("text", TEXTS)
def test_the_tag_of_an_error_is_safe_and_fits(text):
    tag = error_text(f"ValueError: {text}")
    assert is_safe(tag)
    assert len(tag) <= 8000


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abc-DEF_123.x", "bearer abcdefghijkl", "https://mlflow/?access_token=abcdef&x=1",
        "postgresql://user:p@ss:w0rd@db:5432/mlflow", "https://user:secret@mlflow.example.com/#/x",
        "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl", "ya29.a0AfH6SMBx-abcdefghijklmnop", "password=hunter22",
        "ghp_abcdefghijklmnop1234", "glpat-abcdefghijklmnop1234",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc/def+==\nabc\n-----END RSA PRIVATE KEY-----",
    ],
)  # fmt: skip
def test_what_looks_like_a_token_is_masked_in_tags_on_pages_and_on_the_terminal(text, capsys):
    secrets = ("abc", "p@ss", "w0rd", "secret@", "eyJ", "hunter22", "user:")
    follow.show_failures(job(text))
    terminal.say_json(tables.job_as_dict(job(text)))
    everywhere = [
        error_text(f"ValueError: {text} is refused"), capsys.readouterr().out,
        tables.job_as_markdown(job(text), MlflowRun("FAILED", f"http://x/{text}", text, text)),
        tables.job_as_annotations(job(text), MlflowRun("FAILED", f"http://x/{text}", text, text)),
    ]  # fmt: skip
    for message in everywhere:
        assert not any(secret in message for secret in secrets), message


@pytest.mark.parametrize(
    "text", ["Bearer token expired", "gs://bucket/a@b", "train@sha256:0123", "no token: denied", "a/b.eyJ", "KeyError: 'token'"]
)  # fmt: skip
def test_words_about_tokens_are_left_alone(text):
    assert shown(text) in (text, text.replace("Bearer token", "Bearer ***"))


@pytest.mark.parametrize("text", TEXTS)
def test_a_message_is_printed_as_text(text):
    @click.command("status")
    def fails():
        raise UserError(f"There is no {text}.")

    vertexai.add_command(fails, "fails")
    try:
        done = CliRunner().invoke(vertexai, ["fails"])
    finally:
        del vertexai.commands["fails"]
    assert done.exit_code == 1
    assert is_safe(done.output)
    assert squeezed(shown(text)) in squeezed(done.output)


@pytest.mark.parametrize("text", TEXTS)
def test_a_job_id_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="is not a job id"):
        check_job_id(text)
    assert console_url("p", "r", text).count("/") == 8


@pytest.mark.parametrize("text", TEXTS)
def test_wrong_usage_is_quoted_as_text(text):
    done = CliRunner().invoke(vertexai, ["plan", "--format", text])
    assert done.exit_code == 2
    assert is_safe(done.output)


@pytest.mark.parametrize("text", ["[red]x", "${", "${a", "a: b: c", "@x", "`x`", "'x", "{", "*x", "!x", "\x1b[2J", "&"])
def test_a_parameter_that_kedro_cannot_read_is_wrong_usage(text):
    done = CliRunner().invoke(vertexai, ["plan", "--params", f"a={text}"])
    assert done.exit_code == (2 if "YAML" in done.output else 1)
    assert isinstance(done.exception, SystemExit) or "YAML" not in done.output
    assert is_safe(done.output)


@pytest.mark.parametrize("text", TEXTS)
def test_a_label_has_only_what_a_label_may_have(text):
    label = label_value(text)
    assert 0 < len(label) <= 63
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


def test_commands_print_in_one_way_only():
    """Whatever prints by another way would print what came from outside as it came."""
    for path in [*PACKAGE.glob("commands/*.py"), *PACKAGE.glob("show/*.py")]:
        if path.name == "terminal.py":
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {ast.unparse(call) for call in calls}
        assert names.isdisjoint(("print", "click.echo", "click.secho", "click.style", "Console", "Console().print")), (
            path
        )
    assert isinstance(terminal.console().render_str("[red]"), Text)
