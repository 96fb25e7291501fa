"""Pages of comparisons: numbers against the outputs, which prompts are listed first, files, parameters, what stands."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.charts import paired_bars
from backend.catalogue import models as m
from backend.catalogue.database import read_session, write_session
from backend.core.left_out import read_ids
from tests.app.addresses import TRACKSTAR, WITHOUT
from tests.app.example_catalogue import fill
from tests.app.example_comparison import BASE, FORGOTTEN, add_comparison

HERE = f"/comparisons/{WITHOUT}"


def words_of(text: str) -> str:
    """A page's text."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture
def compared(home_of_its_own: tuple[Engine, TestClient]) -> tuple[Engine, TestClient, list[str]]:
    engine, client = home_of_its_own
    fill(engine, methods=("trackstar",))
    return engine, client, add_comparison(engine)


def test_means_are_those_of_the_outputs(compared: tuple[Engine, TestClient, list[str]]) -> None:
    engine, client, _ = compared
    with read_session(engine) as session:
        tasks = {prompt.pk: (prompt.task, prompt.bucket) for prompt in session.query(m.Prompt)}
        outputs = {(output.prompt_pk, output.model_id): output for output in session.query(m.Output)}
    rows = {(row["task"], row["bucket"]): row for row in client.get(f"{HERE}.json").json()["rows"]}
    assert rows[None, None]["n"] == len(tasks)
    for task, bucket in (("facts", None), ("facts", "5-9"), ("arithmetic", None), ("open-generation", None)):
        pks = [pk for pk, cell in tasks.items() if cell[0] == task and bucket in (None, cell[1])]
        row = rows[task, bucket]
        assert row["n"] == len(pks) > 0
        for name, model in (("before", BASE), ("after", WITHOUT)):
            own = [outputs[pk, model] for pk in pks]
            judged = [output.correct for output in own if output.correct is not None]
            assert row[f"accuracy_{name}"] == (sum(judged) / len(judged) if judged else None)
            mean = sum(output.completion_probability for output in own) / len(own)
            assert row[f"probability_{name}"] == pytest.approx(mean)
    facts = rows["facts", None]
    assert facts["difference"] == pytest.approx(facts["accuracy_after"] - facts["accuracy_before"])
    assert facts["low"] <= facts["difference"] <= facts["high"] <= 0
    assert (facts["gained"], facts["lost"]) == (0, 1)
    assert rows["arithmetic", None]["difference"] == rows["arithmetic", None]["low"] == 0


def test_prompts_that_lost_what_states_them_come_first(compared: tuple[Engine, TestClient, list[str]]) -> None:
    _, client, ids = compared
    found = client.get(f"{HERE}.json?limit=200").json()
    first, second = found["items"][:2]
    assert (first["slug"], first["left_out"], first["stated_by"]) == (FORGOTTEN, len(ids), len(ids))
    assert (first["before"]["correct"], first["after"]["correct"]) == (True, False)
    assert first["before"]["probability"] > first["after"]["probability"] == 0.001
    assert second["left_out"] == 0
    changes = [abs(item["after"]["probability"] - item["before"]["probability"]) for item in found["items"][1:]]
    assert changes == sorted(changes, reverse=True)
    kinds = {row["left_out"]: row["n"] for row in found["stated"]}
    assert kinds["all"] == 1
    assert kinds["none"] > 10
    assert "some" not in kinds


def test_walking_gives_each_prompt_once(client: TestClient) -> None:
    url, seen = f"{HERE}.json?limit=100", []
    while url:
        found = client.get(url).json()
        seen += [item["slug"] for item in found["items"]]
        url = found["next"]
    assert len(seen) == len(set(seen)) == found["total"]
    assert set(seen[:7]) == {FORGOTTEN, *(f"hostile-{number}" for number in range(6))}


def test_the_page_says_what_was_left_out_and_what_became_of_it(client: TestClient) -> None:
    text = client.get(HERE).text
    found = client.get(f"{HERE}.json").json()
    words = words_of(text)
    count = found["left_out"]["passages"]
    assert f"Trained again without {count} passages" in words
    for row in found["sources"]:
        assert row["left_out"] <= row["passages"]
    assert sum(row["left_out"] for row in found["sources"]) == count
    assert found["left_out"]["sha256"] in words
    assert text.count('class="before"') == text.count('class="after"') > 2
    assert "✗ wrong" in words
    assert f'href="/prompts/{FORGOTTEN}"' in text
    assert "Newly right / wrong" in words


def test_the_list_of_ids_can_be_given_to_the_command(client: TestClient, tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = client.get(f"{HERE}/without.txt")
    assert found.headers["content-type"].startswith("text/plain")
    assert "attachment" in found.headers["content-disposition"]
    (tmp_path / "ids.txt").write_bytes(found.content)
    ids = read_ids(tmp_path / "ids.txt")
    assert len(ids) == client.get(f"{HERE}.json").json()["left_out"]["passages"]
    assert "hostile/0" in ids


def test_files_hold_every_prompt(client: TestClient) -> None:
    total = client.get(f"{HERE}.json").json()["total"]
    lines = [json.loads(line) for line in client.get(f"{HERE}.jsonl").text.splitlines()]
    table = list(csv.DictReader(io.StringIO(client.get(f"{HERE}.csv").text)))
    assert len(lines) == len(table) == total
    assert [line["slug"] for line in lines] == [row["slug"] for row in table]
    chosen = client.get(f"{HERE}.jsonl?prompts=hostile-1").text.splitlines()
    assert [json.loads(line)["slug"] for line in chosen] == ["hostile-1"]


def test_prompts_are_chosen_by_slug_and_by_search(client: TestClient) -> None:
    found = client.get(f"{HERE}.json?prompts={FORGOTTEN},hostile-0").json()
    assert {item["slug"] for item in found["items"]} == {FORGOTTEN, "hostile-0"}
    assert found["total"] == 2
    searched = client.get(f"{HERE}.json?q=capital+peru").json()
    assert [item["slug"] for item in searched["items"]] == [FORGOTTEN]
    assert client.get(f"{HERE}.json?q=%22%00%27)(").status_code == 400
    assert client.get(f"{HERE}?q=*)(").status_code == 200
    assert "No prompt that both models answered: nobody ." in words_of(client.get(f"{HERE}?prompts=nobody").text)


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (f"{HERE}.json?colour=red", "colour"),
        (f"{HERE}.json?limit=0", "limit"),
        (f"{HERE}.json?start=x", "start"),
        (f"{HERE}.json?prompts=nobody", "prompts"),
        (f"{HERE}.csv?limit=3", "limit"),
        (f"{HERE}.json?prompts={','.join(f'p{number}' for number in range(201))}", "prompts"),
        ("/comparisons.json?q=x", "q"),
    ],
)
def test_wrong_parameters_of_twins(client: TestClient, url: str, field: str) -> None:
    found = client.get(url)
    assert found.status_code == 400
    assert [error["field"] for error in found.json()["errors"]] == [field]
    if field in ("colour", "q"):
        assert client.get(url.replace(".json", "")).status_code == 200


@pytest.mark.parametrize("path", ["nothing", BASE])
@pytest.mark.parametrize("ending", ["", ".json", ".csv", ".jsonl", "/without.txt"])
def test_only_models_trained_without_passages_have_a_page(client: TestClient, path: str, ending: str) -> None:
    assert client.get(f"/comparisons/{path}{ending}").status_code == 404


def test_the_list(compared: tuple[Engine, TestClient, list[str]]) -> None:
    engine, client, ids = compared
    add_comparison(engine, 2)
    found = client.get("/comparisons.json?limit=1").json()
    assert [item["model"] for item in found["items"]] == ["5eed00000002"]
    assert found["total"] == 2
    (older,) = client.get(found["next"]).json()["items"]
    assert (older["model"], older["base"]["model"], older["left_out"]["passages"]) == (WITHOUT, BASE, len(ids))
    assert 'rel="next"' in client.get("/comparisons?limit=1").text
    assert "There is nothing on this page" in client.get("/comparisons?start=7").text


def test_nothing_is_compared_yet(bare: TestClient) -> None:
    assert "proponent train --without FILE" in bare.get("/comparisons").text
    assert bare.get("/comparisons.json").json() == {"items": [], "next": None, "total": 0}


def test_runs_lead_to_comparisons(client: TestClient) -> None:
    assert 'href="/comparisons"' in client.get("/runs").text
    assert f'href="{HERE}"' in client.get(f"/runs/{TRACKSTAR}").text


def test_the_model_stands_for_no_prompt(compared: tuple[Engine, TestClient, list[str]]) -> None:
    engine, client, _ = compared
    with read_session(engine) as session:
        assert {prompt.output_model_id for prompt in session.query(m.Prompt)} == {BASE}
    assert client.get(f"/prompts/{FORGOTTEN}.json").json()["output"]["correct"] is True


def test_a_model_without_answers_has_a_page(compared: tuple[Engine, TestClient, list[str]]) -> None:
    engine, client, _ = compared
    with write_session(engine) as session:
        session.query(m.Output).where(m.Output.model_id == WITHOUT).delete()
    assert "Nothing to compare yet" in client.get(HERE).text
    found = client.get(f"{HERE}.json").json()
    assert (found["rows"], found["stated"], found["items"], found["total"]) == ([], [], [], 0)


def test_bars_are_as_high_as_the_shares() -> None:
    chart = paired_bars([("0", 0.0, 1.0), ("50+", 0.5, 0.25)])
    full = chart.bottom - chart.y_ticks[-1].place
    first, second = chart.pairs
    assert (chart.bottom - first.before_y, chart.bottom - first.after_y) == pytest.approx((0, full))
    assert (chart.bottom - second.before_y, chart.bottom - second.after_y) == pytest.approx((full / 2, full / 4))
    assert first.after_x + chart.bar < second.before_x < second.after_x + chart.bar < chart.width
