"""Pages as HTML: every one answers, with a whole catalogue, an empty one, and none."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from jinja2 import FileSystemLoader
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.http.rendering import TEMPLATES
from app.main import create_app
from tests.app.addresses import BM25, BY_ROLE, HTML, SIGNED_IN, TRACKSTAR, WITHOUT
from tests.app.example_annotations import token_of
from tests.app.example_catalogue import add_stages, fill, settings_for
from tests.app.example_text import HOSTILE, HOSTILE_URL
from tests.app.fake_worker import FAILED_ASK

HOSTILE_PAGES = [
    *(f"/prompts/hostile-{number}?methods=bm25,trackstar&k=50" for number in range(len(HOSTILE))),
    *(f"/passages/hostile/{number}" for number in range(len(HOSTILE))),
    "/prompts?task=facts&limit=200",
    f"/comparisons/{WITHOUT}?q=say",
    f"/r/{TRACKSTAR}/hostile-0?side=opponents",
]


@pytest.mark.parametrize("url", HTML)
def test_page_is_whole(client: TestClient, url: str) -> None:
    page = client.get(url)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.count("<h1") == 1
    assert page.text.rstrip().endswith("</html>")
    assert " style=" not in page.text
    assert not re.search(r"<script(?![^>]* src=)", page.text), "an inline script"
    assert not re.search(r"\son[a-z]+=\"", page.text.replace("onerror=\\", "")), "an inline handler"


@pytest.mark.parametrize("url", HOSTILE_PAGES)
def test_corpus_text_is_escaped(client: TestClient, url: str) -> None:
    text = client.get(url).text
    for part in ('<div hx-get="/trap', '<img src="/trap', "<script>fetch", "<svg onload", "<style>*"):
        assert part not in text
    assert "&lt;" in text


def test_unsafe_address_is_no_link(client: TestClient) -> None:
    text = client.get("/passages/hostile/0").text
    assert 'href="javascript' not in text
    assert HOSTILE_URL.split("(")[0] in text
    assert 'href="https://www.cia.gov' in client.get("/passages/factbook/peru/0").text


class _Exposed(HTMLParser):
    """Collects hostile text outside of elements that htmx ignores."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.found: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append((tag, "hx-ignore" in dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if any(text in data for text in HOSTILE):
            if any(ignored or tag == "title" for tag, ignored in self.open):
                self.hidden += 1
            else:
                self.found.append(data)


@pytest.mark.parametrize("url", HOSTILE_PAGES)
def test_corpus_text_is_hidden_from_htmx(client: TestClient, url: str) -> None:
    parser = _Exposed()
    parser.feed(client.get(url).text)
    assert parser.found == []
    assert parser.hidden > 3


@pytest.mark.parametrize("url", ["/", "/prompts", "/runs", "/index.json", "/prompts.json", "/runs.json"])
def test_server_without_a_catalogue_answers(bare: TestClient, url: str) -> None:
    page = bare.get(url)
    assert page.status_code == 200
    if not url.endswith(".json"):
        assert "proponent demo" in page.text


def test_looking_makes_no_database(bare: TestClient) -> None:
    bare.get("/")
    assert not list(bare.app.state.catalogue._settings.home.glob("*.db"))  # type: ignore[attr-defined]


def test_catalogue_that_appears_is_found(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    assert "proponent demo" in client.get("/").text
    fill(engine, methods=("bm25",))
    page = client.get("/")
    assert "706" in page.text
    assert "BM25" in page.text
    assert client.get("/prompts/capital-peru").text.count('class="column"') == 1


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"Corpus": "done", "Training": "running", "Ranking": "waiting"}, "is being made"),
        ({"Corpus": "done", "Training": "failed"}, "has failed"),
        ({"Corpus": "done", "Training": "stopped"}, "has stopped"),
    ],
)
def test_banner(home_of_its_own: tuple[Engine, TestClient], states: dict[str, str], expected: str) -> None:
    engine, client = home_of_its_own
    add_stages(engine, states)
    live = "running" in states.values()
    for url in ("/", "/runs"):
        page = client.get(url)
        assert expected in page.text
        assert ('hx-trigger="every 2s"' in page.text) == live
        assert ("<noscript><meta http-equiv" in page.text) == live
    if not live:
        assert "<code>proponent demo</code> again" in client.get("/").text


def test_banner_goes_when_all_is_done(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    add_stages(engine, {"Corpus": "running"})
    part = client.get("/", headers={"HX-Request-Type": "partial"})
    assert "<html" not in part.text
    assert "HX-Refresh" not in part.headers
    add_stages(engine, {"Corpus": "done"})
    part = client.get("/", headers={"HX-Request-Type": "partial"})
    assert part.headers["HX-Refresh"] == "true"
    assert "being made" not in client.get("/").text


def test_page_or_part(client: TestClient) -> None:
    part = client.get("/prompts?task=arithmetic", headers={"HX-Request-Type": "partial", "HX-Request": "true"})
    assert part.text.lstrip().startswith('<div id="results"')
    assert part.headers["HX-Push-Url"] == "/prompts?task=arithmetic"
    assert "HX-Request-Type" in part.headers["Vary"]
    for headers in ({"HX-Request": "true"}, {"HX-Request-Type": "full", "HX-Request": "true"}):
        assert "<html" in client.get("/prompts", headers=headers).text


def test_columns_ranks_and_badges(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru").text
    assert text.count('class="column"') == 2
    assert "states the fact" in text
    assert "BM25 <b>" in text
    assert '<mark class="hl subject">' in text
    assert "λ, the weight of R_eval" in text
    assert f"/r/{TRACKSTAR}+{BM25}/capital-peru" in text


def test_opponents_are_never_shown_as_support(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?side=opponents").text
    assert 'class="columns opponents"' in text
    assert "less</em> likely" in text
    assert text.count('class="card"') == 20


def test_methods_as_check_boxes_or_commas(client: TestClient) -> None:
    one = client.get("/prompts/capital-peru?methods=random&methods=bm25").text
    other = client.get("/prompts/capital-peru?methods=random,bm25").text
    assert one.count('class="column"') == other.count('class="column"') == 2
    assert client.get("/prompts/capital-peru?methods=nonsense").status_code == 400


def test_unknown_parameters_are_ignored_on_pages(client: TestClient) -> None:
    assert client.get("/prompts?utm_source=x&task=").status_code == 200
    page = client.get("/prompts?task=zzz")
    assert page.status_code == 400
    assert "“zzz” is none of facts" in page.text


def test_random_prompt(client: TestClient, bare: TestClient) -> None:
    there = client.get("/prompts/random?task=arithmetic")
    assert there.status_code == 303
    assert there.headers["location"].startswith("/prompts/sum-")
    assert bare.get("/prompts/random").status_code == 404


def test_permalink_of_unknown_runs(client: TestClient) -> None:
    page = client.get(f"/r/{TRACKSTAR}+nothing-000000000000/capital-peru")
    assert page.status_code == 404
    assert "/prompts/capital-peru" in page.text


def test_passage_shows_where_it_stands(client: TestClient) -> None:
    text = client.get("/passages/fact/capital/peru/0").text
    assert "6 near-copies" in text
    assert "/prompts/capital-peru" in text
    assert "Proponent of" in text


def test_every_template_is_rendered(full_home, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    loaded: set[str] = set()
    get_source = FileSystemLoader.get_source

    def record(self, environment, template):  # type: ignore[no-untyped-def]
        loaded.add(template)
        return get_source(self, environment, template)

    monkeypatch.setattr(FileSystemLoader, "get_source", record)
    with TestClient(create_app(settings_for(full_home))) as client:
        for url in (*HTML, f"/jobs/{FAILED_ASK}", "/questions", "/docs", "/nothing/here"):
            client.get(url)
        for url, role in SIGNED_IN.items():
            assert client.get(url, headers=token_of(full_home, BY_ROLE[role])).status_code == 200
    in_development = settings_for(full_home).model_copy(update={"development": True})
    with TestClient(create_app(in_development)) as client:
        assert client.get("/dev/patterns").status_code == 200
    assert loaded == {path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html")}


def test_hostile_strings_are_on_the_pages() -> None:
    assert any("hx-get" in text for text in HOSTILE)
