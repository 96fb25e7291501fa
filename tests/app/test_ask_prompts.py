"""An asked prompt: its pages are those of any prompt, nothing lists it, and its lists can be tail-patched."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue import models as m
from backend.catalogue.database import read_session, write_session
from backend.jobs.records import tail_patch_request
from tests.app.addresses import TRACKSTAR
from tests.app.example_catalogue import settings_for
from tests.app.fake_worker import MODEL, FakeWorker, answer

BM25 = "bm25-abc000000001"
WORD = "Zanzibarlike"


@pytest.fixture
def slug(ask_engine: Engine) -> str:
    """An asked prompt with lists of two methods, asked without a task."""
    with write_session(ask_engine) as session:
        for run_id in (TRACKSTAR, BM25):
            pk = answer(session, run_id, f"The capital of {WORD} is", " Lima", None)
        found: str = session.get_one(m.Prompt, pk).slug
    return found


# --- the pages


def test_its_page_is_like_any(asking: TestClient, slug: str) -> None:
    for url in (f"/prompts/{slug}", f"/r/{TRACKSTAR}+{BM25}/{slug}", f"/r/{BM25}/{slug}?side=opponents&k=25"):
        page = asking.get(url)
        assert page.status_code == 200
        assert page.text.count('class="column"') == (1 if url.startswith(f"/r/{BM25}") else 2)
        assert 'class="chart"' in page.text
        assert WORD in page.text
        assert '<meta name="robots" content="noindex">' in page.text
    assert asking.get(f"/prompts/{slug}?methods=bm25").text.count('class="column"') == 1
    assert 'content="noindex"' not in asking.get("/prompts/capital-peru").text


def test_it_has_no_task_and_no_neighbours(asking: TestClient, slug: str) -> None:
    for url in (f"/prompts/{slug}", f"/prompts/{slug}?task=facts", f"/r/{TRACKSTAR}/{slug}"):
        text = asking.get(url).text
        assert 'rel="prev"' not in text
        assert 'rel="next"' not in text
        assert 'href="/questions">your questions</a>' in text
        assert "asked as" not in text
        assert 'href="/prompts?task=' not in text
        variation = re.search(r'href="(/ask\?[^"]*)"[^>]*>Ask about a variation', text)
        assert variation is not None
        assert "task=" not in variation.group(1)
        assert f">\nThe capital of {WORD} is</textarea>" in asking.get(html.unescape(variation.group(1))).text


def test_a_task_is_shown_where_there_is_one(asking: TestClient, ask_engine: Engine) -> None:
    with write_session(ask_engine) as session:
        pk = answer(session, BM25, "Two and two are", " four", "facts")
        found = session.get_one(m.Prompt, pk).slug
    assert "asked as: Facts" in asking.get(f"/prompts/{found}").text
    assert asking.get(f"/prompts/{found}.json").json()["task"] == "facts"


def test_its_data(asking: TestClient, slug: str) -> None:
    for url in (f"/prompts/{slug}.json", f"/r/{TRACKSTAR}+{BM25}/{slug}.json", f"/api/v1/prompts/{slug}"):
        found = asking.get(url).json()
        assert found["task"] is None
        assert [ranking["run"] for ranking in found["rankings"]] == [TRACKSTAR, BM25]
        assert len(found["rankings"][0]["proponents"]) == 10
    for kind in ("csv", "jsonl"):
        assert len(asking.get(f"/prompts/{slug}.{kind}").text.splitlines()) >= 240


def test_a_newer_run_is_offered_once_it_was_asked(asking: TestClient, ask_engine: Engine, slug: str) -> None:
    with write_session(ask_engine) as session:
        old = session.get_one(m.Run, BM25)
        inputs = {"corpus_id": old.corpus_id, "query_set_id": old.query_set_id, "manifest": old.manifest}
        now = m.datetime.now(old.created_at.tzinfo)
        session.add(m.Run(id="bm25-newer", method="bm25", created_at=now, **inputs))
    page = asking.get(f"/r/{BM25}/{slug}")
    assert page.status_code == 200
    assert "A newer run" not in page.text, "it would lead to a page that is not there"
    with write_session(ask_engine) as session:
        prompt_pk = session.scalars(select(m.Prompt.pk).where(m.Prompt.slug == slug)).one()
        session.add(m.Ranking(run_id="bm25-newer", prompt_pk=prompt_pk, facts={}))
    text = asking.get(f"/r/{BM25}/{slug}").text
    assert f'href="/r/bm25-newer/{slug}"' in text
    assert asking.get(f"/r/bm25-newer/{slug}").status_code == 200


# --- nothing lists it

LISTS = (
    "/prompts",
    "/prompts.json?limit=200",
    "/prompts.csv",
    "/prompts.jsonl",
    "/prompts?sort=least-confident&limit=100",
    "/prompts.json?opponents=true&limit=200",
    f"/prompts?q={WORD}",
    f"/prompts.json?q={WORD}",
    "/",
    "/index.json",
    "/runs",
    f"/runs/{TRACKSTAR}",
    f"/runs/{TRACKSTAR}.json",
    "/api/v1/prompts?limit=200",
)


@pytest.fixture
def before(asking: TestClient) -> dict[str, str]:
    """The lists without an asked prompt."""
    return {url: asking.get(url).text for url in LISTS}


def test_no_list_or_count_changes(asking: TestClient, before: dict[str, str], slug: str) -> None:
    for url, text in before.items():
        assert asking.get(url).text == text, url
    assert asking.get(f"/prompts.json?q={WORD}").json()["total"] == 0


def test_no_passage_shows_it(asking: TestClient, slug: str) -> None:
    lists = asking.get(f"/prompts/{slug}.json?k=100").json()["rankings"]
    for ranking in lists:
        for entry in ranking["proponents"][:5]:
            for suffix in ("", ".json?limit=500", ".csv", ".jsonl"):
                assert slug not in asking.get(f"/passages/{entry['passage_id']}{suffix}").text


def test_chance_does_not_lead_to_it(asking: TestClient, ask_engine: Engine, slug: str) -> None:
    found = {asking.get("/prompts/random").headers["location"] for _ in range(40)}
    assert len(found) > 5
    assert not any(slug in url for url in found)
    with write_session(ask_engine) as session:  # the only one that a filter could find
        session.execute(update(m.Prompt).where(m.Prompt.slug == slug).values(relation="only this"))
    assert slug not in asking.get("/prompts/random?relation=only+this").headers.get("location", "")


def test_neighbours_of_others_are_as_before(asking: TestClient, slug: str, ask_engine: Engine) -> None:
    with read_session(ask_engine) as session:
        last = session.scalars(select(m.Prompt.slug).where(~m.Prompt.asked).order_by(m.Prompt.pk.desc()).limit(1)).one()
    assert slug not in asking.get(f"/prompts/{last}").text


# --- tail-patch


def test_tail_patch_is_measured_on_demand(asking: TestClient, ask_engine: Engine, slug: str) -> None:
    pinned = f"/r/{TRACKSTAR}+{BM25}/{slug}"
    text = asking.get(pinned).text
    assert text.count("Measure tail-patch") == 2
    assert "takes one training step on a passage alone" in text
    answer = asking.post(f"/questions/{slug}/tail-patch", data={"run": BM25, "runs": f"{TRACKSTAR}+{BM25}"})
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith("reader=")
    url = answer.headers["location"]
    with read_session(ask_engine) as session:
        job = session.scalars(select(m.Job)).one()
    assert job.id == tail_patch_request(BM25, MODEL, slug).key, "BM25 has no model: the subject's takes the step"
    assert "Tail-patch, BM25" in asking.get(url).text
    FakeWorker(ask_engine).work()
    arrived = asking.get(url)
    assert (arrived.status_code, arrived.headers["location"]) == (303, f"{pinned}#tail-patch-{BM25}")
    text = asking.get(pinned).text
    assert text.count("Measure tail-patch") == 1, "the other list is not measured"
    table = text[text.index(f'id="tail-patch-{BM25}"') :]
    assert "Mean of this list’s first 10" in table
    assert "+0.139 pp" in table
    assert "−0.004 pp" in table
    assert "BM25’s first passage" in table
    assert "22.1 % before" in table
    assert "One step of Adafactor, learning rate 0.0003" not in table  # four digits, or a power of ten
    assert "One step of Adafactor, learning rate 3.00e−04, continuing from the training’s saved state." in table
    assert "tail-patch +1.20 pp" in text
    assert f'href="{pinned}' in asking.get("/questions").text
    assert asking.get(f"{pinned}.json").json()["rankings"][1]["proponents"][0]["tail_patch"] == pytest.approx(1.2)


def test_a_failed_measurement_leads_back(asking: TestClient, ask_engine: Engine, slug: str) -> None:
    url = asking.post(f"/questions/{slug}/tail-patch", data={"run": TRACKSTAR}).headers["location"]
    worker = FakeWorker(ask_engine)
    worker.fail(worker.claim()[0], "No.")
    page = asking.get(url)
    assert f'href="/prompts/{slug}">Back to the question' in page.text
    assert "Ask again" not in page.text
    assert "Measure tail-patch" in asking.get(f"/prompts/{slug}").text


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({}, 422),
        ({"run": "nothing"}, 422),
        ({"run": "a\0b"}, 422),
        ({"run": BM25, "runs": TRACKSTAR}, 422),
        ({"run": BM25, "runs": "+".join([BM25] * 30)}, 422),
        ({"run": BM25, "runs": f"{BM25}+{BM25}"}, 303),
    ],
)
def test_bad_requests_to_measure(asking: TestClient, slug: str, data: dict[str, str], status: int) -> None:
    assert asking.post(f"/questions/{slug}/tail-patch", data=data).status_code == status


def test_only_asked_prompts_are_measured(asking: TestClient, slug: str) -> None:
    assert "Measure tail-patch" not in asking.get("/prompts/capital-peru").text
    assert asking.post("/questions/capital-peru/tail-patch", data={"run": BM25}).status_code == 404
    assert asking.post("/questions/q-nothing/tail-patch", data={"run": BM25}).status_code == 404
    raw = {"content": f"run={BM25}%ED%A0%80", "headers": {"content-type": "application/x-www-form-urlencoded"}}
    assert asking.post(f"/questions/{slug}/tail-patch", **raw).status_code == 422  # type: ignore[arg-type]
    assert asking.post(f"/questions/{slug}%00/tail-patch", data={"run": BM25}).status_code == 404


@pytest.fixture
def closed(ask_home: Path) -> Iterator[TestClient]:
    settings = settings_for(ask_home).model_copy(update={"asking": "nobody"})
    with TestClient(create_app(settings)) as made:
        yield made


def test_where_nobody_may_ask_nothing_is_offered(closed: TestClient, slug: str) -> None:
    text = closed.get(f"/prompts/{slug}").text
    assert "Measure tail-patch" not in text
    assert "Ask about a variation" not in text
