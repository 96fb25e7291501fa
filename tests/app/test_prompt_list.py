"""The list of prompts: filters, facets, sorts and pages agree with the rows themselves."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.http.exports import safe_cell
from tests.app.example_annotations import token_of

filters = st.fixed_dictionaries(
    {},
    optional={
        "q": st.sampled_from(["capital", "peru", "of the", "capital of p", "zzz", "+ 3"]),
        "task": st.sampled_from(["facts", "arithmetic", "open-generation", "commonsense"]),
        "relation": st.sampled_from(["capital", "currency", "none"]),
        "bucket": st.sampled_from(["0", "1", "2-4,5-9", "50+", "10-49,50+,0"]),
        "correct": st.booleans(),
        "confident": st.booleans(),
        "annotated": st.booleans(),
        "opponents": st.booleans(),
        "sort": st.sampled_from(
            ["order", "most-confident", "least-confident", "most-stated", "least-stated", "best-traced", "worst-traced"]
        ),
    },
)
slow_fixture = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def words_of(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def query(given: dict[str, Any], **more: Any) -> str:
    pairs = {**given, **more}.items()
    return "&".join(f"{name}={quote(words_of(value))}" for name, value in pairs)


def every(client: TestClient, given: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """All items of a list, page by page."""
    found, url = [], f"/prompts.json?{query(given, limit=limit)}"
    while url:
        page = client.get(url).json()
        found += page["items"]
        assert len(page["items"]) <= limit
        url = page["next"]
    return found


@pytest.fixture(scope="session")
def annotated(client: TestClient, full_home: Path) -> frozenset[str]:
    """Slugs of the prompts of which some passage has an annotation that stands."""
    rows = client.get("/annotations.csv", headers=token_of(full_home, "ada")).text
    return frozenset(row["slug"] for row in csv.DictReader(io.StringIO(rows)))


def passes(item: dict[str, Any], given: dict[str, Any], annotated: frozenset[str]) -> bool:
    """Whether an item should be in a list, from what the item itself says (search and opponents aside)."""
    output = item["output"] or {"correct": None, "probability": None}
    return all(
        {
            "task": lambda value: item["task"] == value,
            "relation": lambda value: item["relation"] == value,
            "bucket": lambda value: item["bucket"] in value.split(","),
            "correct": lambda value: output["correct"] is value,
            "confident": lambda value: ((output["probability"] or 0) > 0.5) is value,
            "annotated": lambda value: (item["slug"] in annotated) is value,
        }[name](value)
        for name, value in given.items()
        if name not in ("q", "sort", "opponents")
    )


def key_of(item: dict[str, Any], sort: str) -> float:
    value = {
        "confident": lambda: (item["output"] or {}).get("probability"),
        "stated": lambda: item["frequency"],
        "traced": lambda: item["metrics"]["trackstar"]["reciprocal_rank"],
    }[sort.split("-")[1]]()
    if value is None:
        return float("inf")
    return -value if sort.split("-")[0] in ("most", "best") else value


@slow_fixture
@given(given=filters, limit=st.sampled_from([7, 50, 200]))
def test_pages_hold_exactly_what_passes(
    client: TestClient, given: dict[str, Any], limit: int, annotated: frozenset[str]
) -> None:
    everything = every(client, {}, 200)
    unsorted = {name: value for name, value in given.items() if name != "sort"}
    found = every(client, given, limit)
    slugs = [item["slug"] for item in found]
    assert len(slugs) == len(set(slugs))
    assert all(passes(item, given, annotated) for item in found)
    if not {"q", "opponents"} & set(given):
        assert set(slugs) == {item["slug"] for item in everything if passes(item, given, annotated)}
    assert client.get(f"/prompts.json?{query(given)}").json()["total"] == len(found)
    sort = given.get("sort", "order")
    if sort == "order":
        order = {item["slug"]: place for place, item in enumerate(everything)}
        assert slugs == sorted(slugs, key=order.__getitem__)
    else:
        keys = [key_of(item, sort) for item in found]
        assert keys == sorted(keys)
    assert set(slugs) == {item["slug"] for item in every(client, unsorted, 200)}


@slow_fixture
@given(given=filters)
def test_means_are_over_exactly_the_filtered_set(client: TestClient, given: dict[str, Any]) -> None:
    items = every(client, given, 200)
    metrics = client.get(f"/prompts.json?{query(given, limit=1)}").json()["metrics"]
    for method in ("trackstar", "bm25"):
        values = [item["metrics"][method] for item in items]
        ranked = [value for value in values if value["reciprocal_rank"] is not None]
        if not ranked:
            assert method not in metrics or metrics[method]["n"] == 0
            continue
        assert metrics[method]["n"] == len(ranked)
        assert metrics[method]["mrr"] == pytest.approx(sum(v["reciprocal_rank"] for v in ranked) / len(ranked))
        assert metrics[method]["precision_at_10"] == pytest.approx(
            sum(v["precision_at_10"] for v in ranked) / len(ranked)
        )


@slow_fixture
@given(given=filters)
def test_exports_hold_exactly_what_is_filtered(client: TestClient, given: dict[str, Any]) -> None:
    items = every(client, given, 200)
    lines = client.get(f"/prompts.jsonl?{query(given)}").text.splitlines()
    assert [json.loads(line) for line in lines] == items
    rows = list(csv.DictReader(io.StringIO(client.get(f"/prompts.csv?{query(given)}").text)))
    assert [row["slug"] for row in rows] == [item["slug"] for item in items]
    for row, item in zip(rows, items, strict=True):
        assert row["prompt"] == safe_cell(item["prompt"])
        assert row["metrics.bm25.reciprocal_rank"] == str(item["metrics"]["bm25"]["reciprocal_rank"] or "") or (
            float(row["metrics.bm25.reciprocal_rank"]) == item["metrics"]["bm25"]["reciprocal_rank"]
        )


@slow_fixture
@given(given=filters)
def test_facet_counts_are_what_choosing_gives(client: TestClient, given: dict[str, Any]) -> None:
    text = client.get(f"/prompts?{query(given)}").text
    for name in ("task", "correct", "confident"):
        form = re.search(rf'<select name="{name}".*?</select>', text, re.S)
        for value, count in re.findall(
            r'<option hx-ignore value="([^"]*)"[^>]*>[^<]*\(([\d,]+)\)', form[0] if form else ""
        ):
            chosen = {**given, name: {"true": True, "false": False}.get(value, value)}
            total = client.get(f"/prompts.json?{query(chosen, limit=1)}").json()["total"]
            assert total == int(count.replace(",", "")), (name, value)


@slow_fixture
@given(given=filters, data=st.data())
def test_previous_and_next_walk_the_same_list(client: TestClient, given: dict[str, Any], data: st.DataObject) -> None:
    slugs = [item["slug"] for item in every(client, given, 200)]
    if not slugs:
        return
    place = data.draw(st.integers(0, len(slugs) - 1))
    text = client.get(f"/prompts/{slugs[place]}?{query(given)}").text
    for way, expected in (("prev", place - 1), ("next", place + 1)):
        link = re.search(rf'<a href="([^"]*)" rel="{way}" data-key', text)
        if not 0 <= expected < len(slugs):
            assert link is None
        else:
            assert link is not None
            assert link[1].split("?")[0] == f"/prompts/{slugs[expected]}"


def test_presets_are_the_viewers(client: TestClient) -> None:
    text = client.get("/prompts?task=facts").text
    preset = re.search(r'href="(/prompts\?[^"]*)"[^>]*>correct, confident and common<', text)
    assert preset is not None
    url = preset[1].replace("&amp;", "&")
    assert url == "/prompts?task=facts&bucket=5-9,10-49,50%2B&correct=true&confident=true"
    items = client.get(url.replace("/prompts?", "/prompts.json?") + "&limit=200").json()["items"]
    assert items
    assert all(item["output"]["correct"] and item["bucket"] in ("5-9", "10-49", "50+") for item in items)


def test_a_plus_sign_that_became_a_space_still_names_the_bucket(client: TestClient) -> None:
    assert client.get("/prompts.json?bucket=50+").json() == client.get("/prompts.json?bucket=50%2B").json()


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ("bucket=3", "bucket"),
        ("correct=maybe", "correct"),
        ("sort=up", "sort"),
        ("q=" + "a" * 501, "q"),
        ("q=%00a", "q"),
    ],
)
def test_bad_values_are_named(client: TestClient, parameters: str, field: str) -> None:
    for path in ("/prompts.json", "/prompts", "/prompts.csv"):
        answer = client.get(f"{path}?{parameters}")
        assert answer.status_code == 400
        assert field in answer.text


def test_random_keeps_to_the_filter(client: TestClient) -> None:
    for _ in range(5):
        there = client.get("/prompts/random?q=capital&task=facts&correct=true").headers["location"]
        assert there.endswith("?q=capital&task=facts&correct=true")
        assert client.get(there).status_code == 200


@given(st.text(max_size=30) | st.text("=+-@\uff1d\uff20 \t\r\n\v\xa0\u3000x", max_size=6))
def test_no_cell_is_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))
    assert cell.lstrip("'") == text.replace("\0", "").lstrip("'")
    assert safe_cell(-1.5) == -1.5


searched = settings(deadline=None, suppress_health_check=list(HealthCheck))


def _search(client: TestClient, typed: str) -> None:
    for path in ("/prompts", "/prompts.json"):
        assert client.get(path, params={"q": typed, "limit": "1"}).status_code in (200, 400)


@settings(searched, max_examples=300)
@given(typed=st.text(max_size=80))
def test_no_search_fails(client: TestClient, typed: str) -> None:
    _search(client, typed)


@pytest.mark.full
@settings(searched, max_examples=10_000)
@given(typed=st.text(max_size=80) | st.text(alphabet="\"'*:^-()ANDORNT az\0{}|&!<>", max_size=40))
def test_no_search_fails_in_ten_thousand(client: TestClient, typed: str) -> None:
    _search(client, typed)


def test_streaming_survives_the_end_of_the_request(client: TestClient) -> None:
    with client.stream("GET", "/prompts.jsonl") as answer:
        assert answer.headers["content-disposition"] == 'attachment; filename="prompts.jsonl"'
        assert sum(1 for _ in answer.iter_lines()) == 134
