"""The page of methods: its numbers against what was measured, what is missing, choices, escaping, keeping."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from starlette.testclient import TestClient

from app.charts import LABEL_GAP, lines
from app.main import create_app
from app.methods.explained import explained
from app.methods.parameters import MOST_LINES
from app.methods.stores import store_cost
from app.methods.table import NOT_OFFERED
from app.methods_text import METHOD_TEXTS
from backend.catalogue import models as m
from backend.catalogue.database import read_session, write_session
from backend.catalogue.evaluation import retrieval_table
from backend.catalogue.loading import load_home
from backend.core.artifacts import Home, seal
from backend.core.errors import UserError
from backend.methods.registry import find_method
from tests.app.addresses import TRACKSTAR
from tests.app.example_catalogue import fill, settings_for
from tests.app.example_measurements import CHECKPOINTS, FIDELITY, KINDS, LDS, REMOVAL, add_measurement
from tests.catalogue.factories import tiny_home, write_patches

Home_ = tuple[Engine, TestClient]


def table_row(text: str, title: str, region: str) -> list[str]:
    """The cells of a row of the table in a region, as words."""
    table = text.split(f'aria-label="{region}"')[1].split("</table>")[0]
    row = next(row for row in table.split("<tr") if re.search(rf">{re.escape(title)}</(?:a|th|span)>", row))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)
    return [" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in cells]


def test_the_table_holds_what_evaluate_says(client: TestClient) -> None:
    found = client.get("/methods.json").json()
    rows = {row["method"]: row for row in found["table"]["rows"]}
    facts = {row["method"]: row for row in found["retrieval"] if row["task"] == "facts" and row["bucket"] is None}
    assert rows.keys() == facts.keys()
    for method, row in rows.items():
        for name in ("n", "mrr", "recall_at_10", "lds", "lds_low", "lds_high"):
            assert row[name] == facts[method][name], (method, name)
    assert client.get("/prompts.json?task=facts").json()["metrics"]["bm25"]["mrr"] == pytest.approx(rows["bm25"]["mrr"])
    trackstar = rows["trackstar"]
    assert (trackstar["lds"], trackstar["lds_low"], trackstar["lds_high"]) == (0.3, 0.25, 0.35)
    assert trackstar["lds_share_of_ceiling"] == pytest.approx(0.3 / 0.5), "the ceiling over facts, not over all tasks"
    assert (trackstar["loss_change"], trackstar["loss_change_low"]) == (0.75, 0.5)
    assert (rows["random"]["loss_change"], rows["gradient-dot"]["lds"]) == (None, None)
    assert (trackstar["run"], trackstar["seconds"]) == (TRACKSTAR, 48.25)
    assert found["table"]["ceiling"] == {"value": 0.5, "low": 0.46, "high": 0.54, "n": 40}
    assert found["table"]["baselines"] == [
        {"method": "chosen by dice", "n": 12, "tail_patch": None, "loss_change": -0.031}
    ]
    assert found["missing"] == {"tail_patch": "proponent evaluate tail-patch"}
    assert found["measurements"]["lds"]["facts"] == LDS


def test_the_page_shows_the_table(client: TestClient) -> None:
    text = client.get("/methods").text
    found = client.get("/methods.json").json()
    mrr = {row["method"]: row["mrr"] for row in found["table"]["rows"]}
    cells = table_row(text, "TrackStar", "Methods by all yardsticks")
    star = " ★ best" if mrr["trackstar"] == max(mrr.values()) else ""
    assert cells[0] == f"{mrr['trackstar']:.3f}{star}"
    assert cells[2] == "not measured yet: proponent evaluate tail-patch", "one cell for the whole column"
    assert cells[3:6] == ["0.300 ★ best 0.250 to 0.350", "60 % ★ best", "+0.750 +0.500 to +1.000"]
    bm25 = table_row(text, "BM25", "Methods by all yardsticks")
    assert bm25[2:5] == ["0.125 0.075 to 0.175", "25 %", "+0.875 ★ best +0.625 to +1.125"]
    assert table_row(text, "Gradient dot product", "Methods by all yardsticks")[2:5] == [
        "proponent evaluate lds",
        "–",
        "proponent evaluate removal",
    ]
    assert table_row(text, "Random", "Methods by all yardsticks")[2:4] == ["−0.010 −0.060 to 0.040", "−2 %"]
    assert table_row(text, "chosen by dice", "Methods by all yardsticks")[5] == "−0.031 −0.100 to +0.040"
    leaders = text.split('<dl class="facts">')[1].split("</dl>")[0]
    words = " ".join(unescape(re.sub(r"<[^>]+>", " ", leaders)).split())
    assert f"Finds a passage that states the fact first {max(mrr, key=mrr.__getitem__).upper()}" in words
    assert "Predicts best what training on other passages gives TrackStar 0.300 0.250 to 0.350" in words
    assert "Lists passages whose removal hurts most BM25 +0.875 +0.625 to +1.125" in words
    assert "move the model" not in words, "not measured"
    assert "Ceiling of LDS: 0.500" in text
    assert "when the first 10 of 4 facts are taken out together, 12 facts, 2 trainings each" in text, (
        "not the 40 that the part has"
    )
    assert "32 subsets × 3 seeds of a model of 210,944 parameters" in text
    assert "<code>proponent rank --method trak</code>" in text, "a known method without a run"


def test_the_ablation_names_the_command_of_an_empty_cell(client: TestClient) -> None:
    cells = {cell["method"]: cell for cell in client.get("/methods.json").json()["ablation"]}
    assert len(cells) == 12
    rows = {row["method"]: row for row in client.get("/methods.json").json()["table"]["rows"]}
    for slug in ("gradient-dot", "gradient-cosine", "trackstar-general", "trackstar"):
        assert cells[slug]["has_run"]
        assert cells[slug]["mrr"] == rows[slug]["mrr"]
    empty = [slug for slug, cell in cells.items() if not cell["has_run"]]
    assert len(empty) == 8
    text = client.get("/methods").text
    for slug in empty:
        assert f"<code>proponent rank --method {slug}</code>" in text
        assert find_method(slug).slug == slug


def test_parts_of_the_prompts(client: TestClient) -> None:
    found = client.get("/methods.json").json()
    text = client.get("/methods").text
    buckets = [row for row in found["retrieval"] if (row["method"], row["task"]) == ("bm25", "facts") and row["bucket"]]
    assert table_row(text, "BM25", "MRR by frequency") == [f"{row['mrr']:.3f}" for row in buckets]
    assert table_row(text, "Stated prompts", "MRR by frequency") == [str(row["n"]) for row in buckets]
    means = [
        client.get(f"/prompts.json?task=facts&correct={correct}").json()["metrics"] for correct in ("true", "false")
    ]
    assert table_row(text, "TrackStar", "MRR by answer") == [f"{one['trackstar']['mrr']:.3f}" for one in means]
    answers = {(row["method"], row["correct"]): row for row in found["answers"]}
    assert answers["bm25", False]["mrr"] == pytest.approx(means[1]["bm25"]["mrr"])


def test_along_training_kinds_and_projections(client: TestClient) -> None:
    text = client.get("/methods").text
    for words in ("Small Llama</span>, 1,412,096 parameters", "Small Llama, smaller</span>, 250,000 parameters"):
        assert words in text
    course = table_row(text, "TrackStar", "Along training of Small Llama, smaller")
    assert course == ["400", "1,638,400", "6.000", "12.5 %", "0.100", "0.500", "+2.00"]
    assert "Small Llama: " not in text
    assert table_row(text, "BM25", "Kinds of proponents in numbers") == [
        *("50 %", "37.5 %", "0 %", "0 %", "0 %", "12.5 %", "400")
    ]
    assert 'aria-label="TrackStar: states the fact 25 %, relation prior 50 %, other 25 %"' in text
    widths = re.findall(r'url\(#kind-\d\)" x="([\d.]+)" y="1" width="([\d.]+)" height="20"', text)
    assert widths[:3] == [("0.0", "300.0"), ("300.0", "225.0"), ("525.0", "75.0")]
    assert "At this store’s rank of 12 a side it is 0.625 for raw gradients, so 39.1 %" in text
    assert "0.375 for V-corrected gradients, so 14.1 %" in text
    assert client.get("/methods.json").json()["measurements"]["fidelity"]["facts"] == FIDELITY


def test_charts_show_what_is_asked_for(client: TestClient) -> None:
    def drawn(url: str) -> list[list[str]]:
        return [
            re.findall(r'class="name"> (.*?)</tspan>', chart)
            for chart in re.findall(r"<figure class=\"chart curve several\">.*?</figure>", client.get(url).text, re.S)
        ]

    assert sorted(drawn("/methods")[0]) == ["BM25", "Gradient cosine", "Gradient dot product", "TrackStar"]
    assert sorted(drawn("/methods?methods=random,house-blend")[0]) == ["Random", "house-blend"]
    assert len(drawn("/methods?methods=nobody")[0]) == 7 <= MOST_LINES
    assert len(drawn("/methods")) == 5, "frequency, two models, their answers, projections"
    patched = client.get("/methods?metric=tail-patch").text
    assert "Tail-patch is not measured yet." in patched
    assert sorted(drawn("/methods?metric=tail-patch")[0]) == ["Gradient cosine", "TrackStar"]
    assert 'href="/methods?methods=trackstar,gradient-dot,gradient-cosine#frequency"' in client.get("/methods").text


def test_each_method_is_explained_and_linked_to(client: TestClient) -> None:
    text = client.get("/methods").text
    for slug, words in METHOD_TEXTS.items():
        article = text.split(f'<article class="part" id="{slug}">')[1].split("</article>")[0]
        assert unescape(article).count(words.caveat) == 1
        assert explained(slug).formula in unescape(article)
        assert explained(slug).fails in unescape(article)
        assert (f"proponent rank --method {slug}" in article) == (
            "Newest run" not in article and slug not in NOT_OFFERED
        )
    bm25 = text.split('<article class="part" id="bm25">')[1].split("</article>")[0]
    slug = re.search(r'href="/prompts/([a-z0-9-]+)\?methods=bm25"', bm25)
    assert slug is not None
    assert client.get(f"/prompts/{slug[1]}?methods=bm25").status_code == 200
    for url in ("/prompts/capital-peru?methods=trackstar", "/prompts", f"/runs/{TRACKSTAR}", "/"):
        assert 'href="/methods#trackstar"' in client.get(url).text, url
    assert 'id="house-blend"' in text, "a method that was added here"


def test_texts_offer_only_methods_that_can_be_had() -> None:
    def is_known(slug: str) -> bool:
        try:
            return find_method(slug).slug == slug
        except UserError:
            return False

    assert {slug for slug in METHOD_TEXTS if not is_known(slug)} == NOT_OFFERED
    assert explained("trackstar-no-v").formula.startswith(explained("trackstar").formula)
    assert explained("trackstar-no-v").formula != explained("trackstar").formula
    assert explained("house-blend").formula == explained("house-blend-v").formula == ""


def test_tail_patch_and_its_baselines_are_those_of_evaluate(tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path)
    parts = (("corpus", tiny.corpus), ("queries", tiny.query_set), ("model", tiny.model))
    folders = [tiny.home.folder(kind, name) for kind, name in parts]
    write_patches(tiny.home, *folders, [tiny.home.folder("run", tiny.runs[1])], (4, 5, 6))
    load_home(tiny.engine, tiny.home)
    with read_session(tiny.engine) as session:
        means = {row["method"]: row for row in retrieval_table(session) if row["bucket"] is None}
    with TestClient(create_app(settings_for(tmp_path))) as client:
        found, text = client.get("/methods.json").json(), client.get("/methods").text
    rows = {row["method"]: row for row in found["table"]["rows"]}
    assert rows["trackstar"]["tail_patch"] == means["trackstar"]["tail_patch"] is not None
    assert rows["bm25"]["tail_patch"] is None
    assert found["table"]["baselines"] == [
        {"method": "A random passage", "n": 3, "tail_patch": 0.25, "loss_change": None}
    ]
    assert table_row(text, "A random passage", "Methods by all yardsticks")[2] == "+0.25"
    assert table_row(text, "BM25", "Methods by all yardsticks")[2] == "proponent evaluate tail-patch"
    assert found["missing"].keys() == {"lds", "removal", "checkpoints", "kinds", "fidelity"}
    for command in ("lds", "removal", "checkpoints", "kinds", "fidelity"):
        assert f"<code>proponent evaluate {command}</code>" in text


def test_stores_cost(tmp_path: Path) -> None:
    folder = Home(tmp_path).folder("store", "5702e")
    (folder / "shards/00000").mkdir(parents=True)
    for name, size in (("raw.f16.npy", 30), ("v.f16.npy", 20), ("shard.json", 7)):
        (folder / "shards/00000" / name).write_bytes(b"x" * size)
    seal(folder, kind="store", inputs={}, config={"rank": 12}, facts={}, seconds=9.5, command="proponent encode")
    for row_set, size in (("raw", 30), ("v", 20), ("other", None)):
        cost = store_cost(tmp_path, "5702e", row_set)
        assert cost is not None
        assert (cost.seconds, cost.bytes, cost.rank) == (9.5, size, 12)
    assert store_cost(tmp_path, "gone", "v") is store_cost(tmp_path, None, "v") is None


def test_an_empty_installation_explains_the_words(home_of_its_own: Home_, bare: TestClient) -> None:
    _, client = home_of_its_own
    for one in (client, bare):
        page = one.get("/methods")
        assert page.status_code == 200
        assert "Nothing is measured here yet" in page.text
        assert "proponent demo" in page.text
        assert 'id="ceiling"' in page.text
        found = one.get("/methods.json").json()
        assert (found["query_set"], found["table"], found["retrieval"]) == (None, None, [])
        assert found["missing"]["kinds"] == "proponent evaluate kinds"


def test_what_cannot_be_asked_for(client: TestClient) -> None:
    for url in ("/methods?query_set=nothing", "/methods.json?metric=accuracy", "/methods.json?x=1"):
        assert client.get(url).status_code == 400, url
    assert client.get("/methods?x=1").status_code == 200


def test_the_page_is_kept_until_something_is_measured(home_of_its_own: Home_) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("trackstar", "bm25"))
    before = client.get("/methods").text
    assert "Kinds of proponents are not sorted yet." in before
    with write_session(engine, shown=False) as session:
        session.execute(update(m.QuerySet).values(name="Not asked for again"))
    assert client.get("/methods").text == before, "the kept page"
    add_measurement(engine, "kinds", KINDS)
    after = client.get("/methods").text
    assert "Not asked for again" in after
    assert "Kinds of proponents in numbers" in after


def test_the_newest_measurement_counts(home_of_its_own: Home_) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("trackstar", "bm25"))
    add_measurement(engine, "removal", {**REMOVAL, "rows": [{**REMOVAL["rows"][0], "loss_change": 0.1}]}, number=2)
    add_measurement(engine, "removal", REMOVAL, number=1)
    assert client.get("/methods.json").json()["table"]["rows"][0]["loss_change"] == 0.1
    assert "proponent evaluate removal --seed 2" in client.get("/methods").text


def test_names_of_others_stay_text(home_of_its_own: Home_) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("trackstar", "bm25"))
    trap = '<div hx-get="/trap" hx-trigger="load">"\'&'
    with write_session(engine) as session:
        session.execute(update(m.QuerySet).values(name=trap))
        session.execute(update(m.Run).where(m.Run.method == "bm25").values(method=trap))
    kinds = {**KINDS, "kinds": [trap], "rows": [{"method": trap, "run": trap, "n": 1, "shares": {trap: 1.0}}]}
    kinds["examples"] = {trap: {"query": trap, "passage": trap}}
    models = [{**CHECKPOINTS["models"][0], "name": trap}]
    add_measurement(engine, "kinds", kinds)
    add_measurement(engine, "checkpoints", {**CHECKPOINTS, "models": models})
    text = client.get("/methods").text
    assert "&lt;div hx-get=&#34;/trap&#34;" in text
    assert "<div hx-get" not in text


def test_lines_have_gaps_and_names_apart() -> None:
    chart = lines([("a", 0, [1.0, None, 3.0, 4.0]), ("b", 1, [None] * 4), ("c", 2, [0.0, 1.0, 2.0, 4.0])], list("wxyz"))
    assert chart is not None
    assert [line.name for line in chart.lines] == ["a", "c"], "nothing to draw of b"
    assert (chart.lines[0].path.count("M"), chart.lines[0].path.count("L"), len(chart.lines[0].points)) == (2, 1, 3)
    assert chart.lines[1].label_y - chart.lines[0].label_y >= LABEL_GAP
    crowd = lines([(str(n), n, [0.0]) for n in range(8)], ["one"])
    assert crowd is not None
    places = [line.label_y for line in crowd.lines]
    assert all(low >= high + LABEL_GAP for high, low in pairwise(places))
    assert max(places) <= crowd.bottom
    assert lines([("a", 0, [None])], ["w"]) is lines([], []) is None
    numeric = lines([("a", 0, [1.0, 2.0, 3.0])], ["0", "5", "100"], xs=[0, 5, 100])
    assert numeric is not None
    xs = [x for x, _ in numeric.lines[0].points]
    assert (xs[1] - xs[0]) / (xs[2] - xs[0]) == pytest.approx(0.05, abs=0.001)
