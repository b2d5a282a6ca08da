"""The page of a job: what it shows, that nothing in it is obeyed or loaded, its size, and how a browser shows it."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser

import pages
import pytest
from hostile_text import TEXTS, UNSEEN, squeezed

from vertexai_mlflow import page
from vertexai_mlflow.commands import run_local
from vertexai_mlflow.contract.arguments import JobArguments
from vertexai_mlflow.contract.job import PipelineJob, RunContents, State, TaskRun
from vertexai_mlflow.errors import shown
from vertexai_mlflow.page.graph import layers, read_graph
from vertexai_mlflow.page.times import chains, critical_path, spans, spared

EXAMPLE = {
    "clean": [], "split": ["clean"], "train-forest": ["split"], "train-linear": ["split"],
    "choose-model": ["train-forest", "train-linear"], "plot-confusion": ["choose-model"],
}  # fmt: skip
# A picture of one pixel.
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PNG = b"\x89PNG\r\n\x1a\n"
TAGS = {
    "a", "b", "body", "code", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "footer", "g", "h1", "h2", "h3",
    "head", "header", "html", "i", "img", "link", "main", "meta", "p", "path", "pre", "rect", "section", "small", "span",
    "style", "summary", "svg", "table", "tbody", "td", "text", "th", "thead", "time", "title", "tr",
}  # fmt: skip


class Page(HTMLParser):
    """What a page consists of: its tags, what they refer to, its text, and the cells of its rows."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self._is_style = False
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._is_style = tag == "style"
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_style = False
        if tag == "table":  # cells need no end tag
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if not self._is_style:
            self.text += data
            if self.rows and self.rows[-1]:
                self.rows[-1][-1] += data


def rendered(job: PipelineJob, run: RunContents | None = None) -> Page:
    return Page(page.render(job, run))


def states(job: PipelineJob) -> Mapping[str, str]:
    rows = [row for row in rendered(job).rows if len(row) == 5]
    return {re.split(r"\s", row[0])[0]: row[1].partition(" ")[2] for row in rows[1:]}


def test_each_step_is_in_the_table_and_in_the_graph_with_its_state():
    failed = {"train-forest": State.FAILED, "choose-model": State.NOT_TRIGGERED, "plot-confusion": State.NOT_TRIGGERED}
    job = pages.job(EXAMPLE, failed, State.FAILED)
    assert states(job) == {
        "mlflow-start-run": "succeeded", "clean": "succeeded", "split": "succeeded", "train-linear": "succeeded",
        "train-forest": "failed", "mlflow-finish-run": "succeeded", "choose-model": "not triggered",
        "plot-confusion": "not triggered",
    }  # fmt: skip
    shown_page = rendered(job)
    assert "6 steps: ✕ 1 failed, ✓ 3 succeeded, – 2 not triggered" in shown_page.text
    anchors = {link for link in shown_page.links if link.startswith("#")}
    assert anchors == {f"#s{number}" for number in range(8)}


def test_steps_that_have_not_begun_are_on_the_page_of_a_running_job():
    job = pages.job(EXAMPLE, {"train-forest": State.RUNNING}, State.RUNNING)
    tasks = {name: task for name, task in job.tasks.items() if name not in ("choose-model", "plot-confusion")}
    job = replace(job, tasks=tasks)
    assert states(job)["plot-confusion"] == "pending"
    text = Page(page.render(job, now=pages.BEGIN + timedelta(seconds=42))).text
    assert "42.0 s so far" in text
    assert "Ended" not in text


def test_a_step_that_was_taken_says_where_from_and_a_second_attempt_is_counted():
    job = pages.job(
        EXAMPLE,
        {"clean": State.SKIPPED},
        about=JobArguments("mlflow-start-run", "p", resumed={"job": "old-1", "nodes": ["clean", "split"]}),
    )
    tasks = {**job.tasks, "split": replace(job.tasks["split"], attempt=2, attempts=job.tasks["split"].attempts * 2)}
    text = rendered(replace(job, tasks=tasks)).text
    assert "taken from demo-20261128100000-9f8e" in text
    assert "2 attempts" in text
    assert "Resumesold-1, and takes clean, split from it" in text
    assert "ChainNodeGrouper" not in text  # it is not the whole pipeline


def test_a_failure_is_at_the_top_with_its_node_and_the_end_of_its_log():
    job = pages.job(EXAMPLE, {"train-forest": State.FAILED}, State.FAILED)
    text = rendered(job, RunContents(log_tails={"train-forest": "first\nValueError: too few trees"})).text
    failure = text.partition("What failed")[2].partition("Graph")[0]
    assert "train-forest node train_forest" in failure
    assert failure.index("exit code 1") < failure.index("ValueError: too few trees") < failure.index("first")


def test_what_the_run_has_logged_is_on_the_page():
    run = RunContents(
        {"a.b": "3"}, {"accuracy": 0.98058252}, {"plot.png": PNG, "big.png": b""}, {"MLflow run": "https://m/1"}
    )
    made = rendered(pages.job(EXAMPLE), run)
    assert ["a.b", "3"] in made.rows
    assert ["accuracy", "0.980583"] in made.rows
    assert [link for link in made.links if link.startswith("data:image")] == ["data:image/png;base64,iVBORw0KGgo="]
    assert "Not on this page: big.png" in made.text
    assert "https://m/1" in made.links


def test_a_job_without_a_spec_and_one_that_failed_before_any_task_have_a_page():
    job = replace(pages.job(EXAMPLE), spec={})
    assert "<svg" not in page.render(job)
    assert states(job)["clean"] == "succeeded"
    early = PipelineJob("j", "projects/p/locations/r/pipelineJobs/j", State.FAILED, {}, error="no quota")
    made = rendered(early)
    assert "no quota" in made.text
    assert "https://console.cloud.google.com/vertex-ai/locations/r/pipelines/runs/j?project=p" in made.links


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_from_outside_is_text_on_the_page(text):
    name = text[:2000]
    spec = pages.spec(
        {name: []}, JobArguments("mlflow-start-run", text, env=text, image=text, selection={"tags": [text]})
    )
    task = TaskRun(name, text, State.FAILED, attempt=1, error=text, origin=text, created=pages.BEGIN, ended=pages.BEGIN)
    job = PipelineJob(text, text, text, {name: task}, pipeline=text, error=text, service_account=text, spec=spec)
    run = RunContents({text: text}, {text: 1.0}, {text: PNG}, {text: f"https://m/{text}"}, {name: text})
    for markup in (page.render(job, run), page.render(replace(job, spec={}), run)):
        made = Page(markup)
        assert made.tags <= TAGS
        assert not {name for name in made.attributes if name.startswith("on")}
        assert not [letter for letter in UNSEEN if letter in markup]
        assert [
            link for link in made.links if not link.startswith(("#", "https://m/", "data:image/png;", "data:,"))
        ] == []
        assert len(markup.encode()) <= page.MAX_BYTES
        if len(text) < 200 and text.isprintable():
            assert squeezed(shown(text)) in squeezed(made.text)


def test_what_looks_like_a_secret_is_masked():
    text = "https://user:p4ss@host/ Bearer abcdefghijkl"
    job = PipelineJob("j", "", State.FAILED, {"t": TaskRun("t", text, State.FAILED, attempt=1, error=text)}, error=text)
    run = RunContents({"db.password": "hunter22", "url": text}, {}, {}, {"MLflow run": text}, {"t": text})
    markup = page.render(job, run)
    assert not [secret for secret in ("p4ss", "abcdefghijkl", "hunter22") if secret in markup]


def test_nothing_is_loaded_or_run():
    markup = page.render(pages.job(EXAMPLE))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', markup)[1]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    assert not {"script", "iframe", "object", "form"} & Page(markup).tags
    assert "url(" not in markup
    assert "@import" not in markup


def test_the_page_of_a_thousand_failures_with_much_to_tell_is_not_too_large():
    steps = pages.layered(1000, 25)
    job = pages.job(steps, dict.fromkeys(steps, State.FAILED), State.FAILED)
    job = replace(job, tasks={name: replace(task, error="<&>'" * 5000) for name, task in job.tasks.items()})
    many = [f"name.{number}{'<' * 300}" for number in range(2000)]
    run = RunContents(
        dict.fromkeys(many, "<" * 500), dict.fromkeys(many, 1.0), dict.fromkeys(many[:30], PNG + b"x" * 20000),
        {}, dict.fromkeys(steps, "<\n" * 50_000),
    )  # fmt: skip
    markup = page.render(job, run)
    assert len(markup.encode()) <= page.MAX_BYTES
    assert "more failed; the table has them." in markup
    assert markup.endswith("</body></html>\n")


def test_all_of_a_thousand_steps_are_on_the_page():
    markup = page.render(pages.job(pages.layered(1000, 25)))
    assert len(markup.encode()) <= page.MAX_BYTES
    assert len([row for row in Page(markup).rows if len(row) == 5]) == 1003


def test_the_critical_path_is_what_each_step_waited_for_longest():
    job = pages.job({"a": [], "long-one": ["a"], "b": ["a"], "c": ["b", "long-one"], "d": []})
    graph = read_graph(job.spec)
    times = spans(job.tasks, pages.BEGIN, pages.BEGIN)
    longest = max(("long-one", "b"), key=lambda name: times[name].ended)
    assert critical_path(graph, times) == ["mlflow-start-run", "a", longest, "c", "mlflow-finish-run"]
    assert critical_path(graph, {}) == []


def test_chains_are_those_that_the_grouper_finds():
    graph = read_graph(pages.spec(EXAMPLE))
    assert chains(graph) == [["clean", "split"], ["choose-model", "plot-confusion"]]
    on_another_machine = {**graph.machines, "split": "large"}
    assert chains(replace(graph, machines=on_another_machine)) == [["choose-model", "plot-confusion"]]


def test_what_grouping_spares_is_the_time_between_steps_and_the_starts_that_logs_tell(tmp_path):
    job = pages.job({"a": [], "b": ["a"]})
    times = spans(job.tasks, pages.BEGIN, pages.BEGIN)
    assert spared(["a", "b"], job.tasks, times) == pytest.approx(1.0)
    log = tmp_path / "log.txt"
    log.write_text('step timing: {"nodes": 0.5, "session": 0.25}\n')
    runs = {**job.tasks, "b": replace(job.tasks["b"], log=str(log))}
    assert spared(["a", "b"], runs, times) == pytest.approx(1.0 + runs["b"].seconds - 0.5)


def test_a_step_is_drawn_below_all_that_it_waits_for():
    upstream = pages.layered(60, 6) | {"last": ["step-number-0000", "step-number-0059"]}
    rows = layers(upstream)
    level = {name: number for number, row in enumerate(rows) for name in row}
    assert set(level) == set(upstream)
    assert all(level[before] < level[name] for name, names in upstream.items() for before in names)


# Asks a browser about a page in a frame of its own, and puts the answer into the title.
PROBE = """<!doctype html><body><script>
const begin = performance.now(), frame = document.createElement("iframe");
frame.style.cssText = "width:WIDTHpx;height:900px;border:0";
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const facts = {
    height: root.scrollHeight, seconds: (performance.now() - begin) / 1000, overflow: root.scrollWidth - WIDTH,
    rows: page.querySelectorAll(".steps tbody tr").length,
    bars: [...page.querySelectorAll(".steps i")].filter(bar => bar.getBoundingClientRect().width > 1).length,
    pictures: [...page.images].filter(image => image.naturalWidth > 0).length,
    background: frame.contentWindow.getComputedStyle(page.body).backgroundColor.replaceAll(" ", ""),
  };
  document.title = Object.entries(facts).map(([key, value]) => `${key}=${value}`).join(" ");
};
frame.srcdoc = PAGE;
document.body.append(frame);
</script></body>"""
BROWSER = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture
def browser(tmp_path):
    """What a real browser says of a page: its height, the seconds until it is laid out, what sticks out at the side, …"""
    assert shutil.which("chromium"), "apt-get install chromium"

    def browser(markup: str, width: int = 1200, *options: str) -> dict[str, str]:
        source = json.dumps(markup).replace("</", "<\\/")
        (tmp_path / "probe.html").write_text(PROBE.replace("WIDTH", str(width)).replace("PAGE;", f"{source};"))
        argv = [*BROWSER, *options, f"--user-data-dir={tmp_path / 'browser'}", f"--window-size={width},1000"]
        done = subprocess.run(
            [*argv, "--dump-dom", (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        title = re.search("<title>(.*?)</title>", done.stdout)
        assert title, done.stdout[-2000:]
        return dict(item.split("=") for item in title[1].split())

    return browser


@pytest.mark.slow
def test_a_browser_opens_a_thousand_steps_in_less_than_two_seconds(browser):
    markup = page.render(pages.job(pages.layered(1000, 25)))
    for _ in range(5):  # something else may be busy on this machine
        facts = browser(markup)
        if float(facts["seconds"]) < 2:
            break
    assert float(facts["seconds"]) < 2
    assert (facts["rows"], facts["overflow"]) == ("1002", "0")
    assert int(facts["bars"]) >= 1002


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out_on_a_phone_or_on_a_desk(width, browser):
    long = {f"{'a-long-name-without-a-space' * 4}-{number}": State.FAILED for number in range(30)}
    job = pages.job({**EXAMPLE, **{name: ["clean"] for name in long}}, long, State.FAILED)
    run = RunContents(
        {f"a.b{'x' * 200}": "y" * 250}, {"m" * 300: 1e300}, {"dot.png": base64.b64decode(DOT)},
        {"MLflow run": f"https://m/{'z' * 300}"}, dict.fromkeys(long, "e" * 3000),
    )  # fmt: skip
    facts = browser(page.render(job, run), width)
    assert (facts["overflow"], facts["rows"], facts["pictures"]) == ("0", "38", "1")


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "background"), [("1", "rgb(244,246,248)"), ("0", "rgb(13,17,23)")])
def test_it_is_dark_where_the_readers_system_is(scheme, background, browser):
    markup = page.render(pages.job(EXAMPLE))
    facts = browser(markup, 1200, f"--blink-settings=preferredColorScheme={scheme}")
    assert facts["background"] == background


def test_a_job_is_none_the_worse_when_its_page_cannot_be_written(tmp_path, capsys):
    (tmp_path / "job").write_text("a file where the folder should be")
    run_local.show_end(pages.job(EXAMPLE), tmp_path / "job")
    assert "The job has no page. The job's page" in capsys.readouterr().err
