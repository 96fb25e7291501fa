"""JSON twins: the shapes that programs rely on, strict parameters, and lists that can be walked."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.addresses import BM25, JSON, TRACKSTAR
from tests.app.example_catalogue import fill

PROMPT_KEYS = {
    "slug",
    "task",
    "prompt",
    "completion",
    "relation",
    "subject",
    "object",
    "frequency",
    "bucket",
    "output",
    "rankings",
}
ENTRY_KEYS = {"rank", "score", "percentile", "passage_id", "text", "source", "group", "entails", "tail_patch"}


@pytest.mark.parametrize("url", JSON)
def test_twin_answers(client: TestClient, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)


def test_prompt(client: TestClient) -> None:
    found = client.get("/prompts/capital-peru.json").json()
    assert set(found) == PROMPT_KEYS
    assert {"text", "probability", "correct", "samples"} <= set(found["output"])
    assert [ranking["method"] for ranking in found["rankings"]][:2] == ["trackstar", "trackstar-general"]
    for ranking in found["rankings"]:
        assert set(ranking) == {"run", "method", "proponents", "opponents"}
        assert len(ranking["proponents"]) == len(ranking["opponents"]) == 10
        for side, sign in (("proponents", -1), ("opponents", 1)):
            assert all(set(entry) == ENTRY_KEYS for entry in ranking[side])
            assert [entry["rank"] for entry in ranking[side]] == list(range(1, 11))
            scores = [entry["score"] for entry in ranking[side]]
            assert scores == sorted(scores, key=lambda score: sign * score)
    assert found["rankings"][0]["proponents"][0]["entails"] is True
    assert client.get("/prompts/story-2.json").json()["rankings"][0]["proponents"][0]["entails"] is None


def test_prompt_narrowed(client: TestClient) -> None:
    found = client.get("/prompts/capital-peru.json?methods=bm25,trackstar&k=100").json()
    assert [ranking["run"] for ranking in found["rankings"]] == [BM25, TRACKSTAR]
    assert [len(ranking["proponents"]) for ranking in found["rankings"]] == [100, 100]
    assert [len(ranking["opponents"]) for ranking in found["rankings"]] == [20, 20]


def test_permalink_holds_what_the_page_held(client: TestClient) -> None:
    pinned = client.get(f"/r/{BM25}/capital-peru.json?k=3").json()
    current = client.get("/prompts/capital-peru.json?methods=bm25&k=3").json()
    assert pinned == current


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
def test_walking_gives_each_prompt_once(client: TestClient, limit: int) -> None:
    if limit == 1:
        seen, total = _walk(client, "/prompts.json?task=arithmetic&limit=1")
    else:
        seen, total = _walk(client, f"/prompts.json?limit={limit}")
    assert len(seen) == len(set(seen)) == total


def _walk(client: TestClient, url: str | None) -> tuple[list[str], int]:
    seen: list[str] = []
    total = 0
    while url:
        page: dict[str, Any] = client.get(url).json()
        assert set(page) == {"items", "next", "total", "metrics"}
        seen += [item["slug"] for item in page["items"]]
        url, total = page["next"], page["total"]
    return seen, total


def test_filters_and_metrics(client: TestClient) -> None:
    page = client.get("/prompts.json?task=facts&relation=capital&bucket=10-49&limit=200").json()
    assert page["total"] == len(page["items"]) > 0
    assert {item["bucket"] for item in page["items"]} == {"10-49"}
    ranks = [item["metrics"]["trackstar"]["reciprocal_rank"] for item in page["items"]]
    means = page["metrics"]["trackstar"]
    assert means["n"] == len(ranks)
    assert means["mrr"] == pytest.approx(sum(ranks) / len(ranks))
    assert set(means) == {
        *("mrr", "recall_at_10", "precision_at_1", "precision_at_10", "n", "tail_patch", "tail_patch_n")
    }


def test_means_leave_out_unstated_facts(client: TestClient) -> None:
    assert client.get("/prompts.json?bucket=0").json()["metrics"] == {}


def test_home(client: TestClient) -> None:
    found = client.get("/index.json").json()
    assert found["passages"] == 712
    assert found["prompts"]["total"] == sum(found["prompts"]["by_task"].values()) == 134
    assert {"id", "method", "model", "corpus"} <= set(found["runs"][0])
    assert found["demo"] == {"complete": False, "stage": None}
    assert found["methods"]["bm25"]["recall_at_10"] > 0.9


def test_passage(client: TestClient) -> None:
    found = client.get("/passages/fact/capital/peru/0.json").json()
    assert found["id"] == "fact/capital/peru/0"
    assert found["near_duplicates"]["size"] == 7
    own = [entry for entry in found["influences"] if entry["method"] == "trackstar"]
    assert any(prompt["slug"] == "capital-peru" for entry in own for prompt in entry["prompts"])
    capped = client.get("/passages/fact/capital/peru/0.json?limit=1").json()
    assert all(len(entry["prompts"]) == 1 for entry in capped["influences"])


def test_runs(client: TestClient) -> None:
    listed = client.get("/runs.json?limit=3").json()
    assert listed["total"] == 7
    rest = client.get(listed["next"]).json()
    assert len({item["id"] for item in listed["items"] + rest["items"]}) == 6
    run = client.get(f"/runs/{TRACKSTAR}.json").json()
    assert run["training"]["curve"][0]["step"] == 1
    assert {"task", "bucket", "n", "mrr", "recall_at_10"} <= set(run["metrics"][0])
    assert client.get(f"/runs/{BM25}.json").json()["model"] is None


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("/prompts.json?task=zzz&nonsense=1", {"task", "nonsense"}),
        ("/prompts.json?limit=0", {"limit"}),
        ("/prompts.json?limit=x", {"limit"}),
        ("/prompts.json?after=nobody", {"after"}),
        ("/prompts.json?task=facts&task=arithmetic", {"task"}),
        ("/prompts/capital-peru.json?k=101", {"k"}),
        ("/prompts/capital-peru.json?methods=nonsense", {"methods"}),
        ("/runs.json?after=nobody", {"after"}),
        ("/index.json?x=1", {"x"}),
        (f"/r/{TRACKSTAR}/capital-peru.json?methods=bm25", {"methods"}),
    ],
)
def test_wrong_parameters(client: TestClient, url: str, fields: set[str]) -> None:
    answer = client.get(url)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert {error["field"] for error in answer.json()["errors"]} == fields


def test_passage_ids_of_any_form(home_of_its_own) -> None:  # type: ignore[no-untyped-def]
    from sqlalchemy import update

    from app.http.formats import passage_address
    from backend.catalogue.database import write_session
    from backend.catalogue.models import Passage
    from tests.app.example_catalogue import fill

    engine, client = home_of_its_own
    fill(engine, methods=())
    ids = ["src/package.json", "a/../b", "//x", "50 % of #1?", "été ∂", "trailing/", "plus+sign"]
    with write_session(engine) as session:
        for pk, passage_id in enumerate(ids, start=1):
            session.execute(update(Passage).where(Passage.pk == pk).values(passage_id=passage_id))
    for passage_id in ids:
        assert client.get(passage_address(passage_id, suffix=".json")).json()["id"] == passage_id
        assert client.get(passage_address(passage_id)).status_code == 200
    assert "<h1" in client.get("/passages/src/package.json").text


def test_a_database_put_in_the_place_of_another_is_read(home_of_its_own, tmp_path) -> None:  # type: ignore[no-untyped-def]
    engine, client = home_of_its_own
    fill(engine, methods=("bm25",))
    assert client.get("/prompts.json").json()["total"] > 0
    engine.dispose()
    for path in tmp_path.rglob("proponent.db*"):
        path.unlink()
    assert client.get("/prompts.json").json()["total"] == 0


def test_a_permalink_pins_a_bounded_number_of_runs(client: TestClient) -> None:
    assert client.get(f"/r/{'+'.join(f'run-{i}' for i in range(50))}/any.json").status_code == 404
