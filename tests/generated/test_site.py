"""The documentation as a site: nothing in it leads nowhere, and a browser shows it."""

import json
import shutil
import struct
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from running import BIN, ROOT, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]

REPOSITORY = "https://git.example.com/acme/template"
# Counts, in a page that it shows as wide as a window and as a phone, the names in tables that are on more than one line.
BROKEN_NAMES = """
<iframe src="reference/vertexai-yml.html" width="WIDTH" height="900"></iframe>
<script>
  const frame = document.querySelector("iframe");
  frame.onload = () => {
    const names = [...frame.contentDocument.querySelectorAll("td:first-child code")];
    const lines = (text) => {
      const range = frame.contentDocument.createRange();
      range.selectNodeContents(text);
      return range.getClientRects().length;
    };
    const broken = names.filter((name) => [...name.childNodes].some((part) => lines(part) > 1 && part.nodeName == "#text"));
    const table = frame.contentDocument.querySelector(".md-typeset__table");
    const isCut = frame.contentWindow.innerWidth > 1000 && table.scrollWidth > table.parentElement.clientWidth;
    document.title = `${names.length} names, broken: ${broken.map((name) => name.textContent)}.${isCut ? " The table is cut." : ""}`;
  };
</script>
"""


def build(folder: Path):
    """Build the site from a copy of the documentation in this folder."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    shutil.copy(ROOT / "mkdocs.yml", folder)
    return run(BIN / "zensical", "build", "--strict", cwd=folder, REPOSITORY_URL=REPOSITORY)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build/docs"


class Page(HTMLParser):
    """The links of a page, and the places in it that links can name."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, _tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.links += [value for name in ("href", "src") if (value := values.get(name))]
        if place := values.get("id") or values.get("name"):
            self.places.add(place)


def test_no_link_leads_nowhere(site):
    pages = {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(pages) > 25
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (
                parts.fragment and target in pages and parts.fragment not in pages[target].places
            ):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


def test_every_page_is_in_the_menu_once():
    def paths(items):
        for item in items:
            (value,) = item.values()
            yield from [value] if isinstance(value, str) else paths(value)

    menu = list(paths(yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=yaml.BaseLoader)["nav"]))
    assert sorted(menu) == sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


def test_pages_can_be_searched_and_no_program_is_published(site):
    words = (site / "search.json").read_text()
    assert json.loads(words)
    assert "NVIDIA_L4" in words
    assert list(site.rglob("*.py")) == []


def test_a_broken_link_stops_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copytree(ROOT / "docs", tmp_path / "docs", dirs_exist_ok=True)
    (tmp_path / "mkdocs.yml").write_text((ROOT / "mkdocs.yml").read_text())
    index = tmp_path / "docs/index.md"
    index.write_text(index.read_text() + "\n[nowhere](how-to/nowhere.md)\n")
    done = run(BIN / "zensical", "build", "--strict", cwd=tmp_path)
    assert done.returncode != 0
    assert "page does not exist" in done.stdout + done.stderr


def test_the_first_page_shows_the_product(site):
    page = (site / "index.html").read_text()
    assert 'src="pictures/mlflow-run.png"' in page
    assert "What you get" in page


def test_each_page_leads_on_and_to_the_repository_and_asks_no_other_host_for_it(site):
    for file in [*(site / "reference").glob("*.html"), *(site / "how-to").glob("*.html"), site / "index.html"]:
        page = file.read_text()
        assert f'href="{REPOSITORY}"' in page, file
        assert 'data-md-component="source"' not in page
        assert "md-footer__link--" in page, file


def test_the_picture_of_the_whole_is_drawn(site):
    assert '<pre class="mermaid">' in (site / "explanation/how-it-works.html").read_text()
    assert not (site / "overrides").exists()


@pytest.fixture
def browse(site, tmp_path):
    """Open a page of the site in a browser, with these options; returns what it printed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
    profile = ["--no-first-run", f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1300,1000"]

    def browse(page: str, option: str) -> str:
        url = f"http://127.0.0.1:{server.server_port}/{page}"
        done = run("chromium", *quiet, *profile, "--virtual-time-budget=5000", option, url, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield browse
    server.shutdown()


@pytest.mark.parametrize("width", [1300, 400])
def test_the_name_of_a_key_is_never_broken(site, browse, width):
    check = site / f"check-{width}.html"
    check.write_text(BROKEN_NAMES.replace("WIDTH", str(width)))
    try:
        page = browse(check.name, "--dump-dom")
    finally:
        check.unlink()
    title = page.partition("<title>")[2].partition("</title>")[0]
    number, _, broken = title.partition(" names, broken: ")
    assert int(number) > 40
    assert broken == "."


def test_a_browser_shows_it(browse, tmp_path):
    page = browse("reference/commands.html", "--dump-dom")
    browse("reference/commands.html", f"--screenshot={tmp_path / 'page.png'}")
    assert ">upload-data" in page
    data = (tmp_path / "page.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1300, 1000)
    # A page without its style sheet, or an empty one, compresses to less.
    assert len(data) > 60_000
