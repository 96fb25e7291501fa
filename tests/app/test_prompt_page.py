"""The page of a prompt: folding, paging, jumps, agreement, shared wording, permalinks, kept pages."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update
from starlette.testclient import TestClient

from app.http.page_cache import MOST_BYTES, Key, Page, PageCache
from app.prompts.highlight import Wording, excerpt
from backend.catalogue import models as m
from backend.catalogue.database import write_session
from backend.core.text import shared_ngrams
from tests.app.addresses import BM25, TRACKSTAR
from tests.app.example_catalogue import MADE, fill


def ranks(text: str, method: str) -> list[int]:
    """Ranks of the cards of a column, in the order of the page."""
    return [int(rank) for rank in re.findall(rf'<li class="card" id="{method}-(\d+)"', text)]


def test_near_copies_are_folded_under_the_first(client: TestClient) -> None:
    folded = client.get("/prompts/capital-peru?methods=trackstar").text
    each = client.get("/prompts/capital-peru?methods=trackstar&copies=each").text
    assert len(ranks(folded, "trackstar")) == len(ranks(each, "trackstar")) == 10
    assert ranks(each, "trackstar") == list(range(1, 11))
    assert ranks(folded, "trackstar") != ranks(each, "trackstar")
    assert "group sum" in folded
    assert "group sum" not in each
    entries = client.get("/prompts/capital-peru.json?methods=trackstar&k=100").json()["rankings"][0]["proponents"]
    group = entries[0]["group"]
    same = [entry for entry in entries if entry["group"] == group]
    shown = re.search(r"(\d+) more cop(?:y|ies) in this list · group sum ([\d.e−]+)", folded)
    assert shown is not None
    assert int(shown[1]) == len(same) - 1
    assert float(shown[2]) == pytest.approx(sum(entry["score"] for entry in same), rel=1e-3)
    assert "7 copies" in folded


def test_pages_of_cards_hold_every_passage_once(client: TestClient) -> None:
    url: str | None = "/prompts/capital-peru?methods=trackstar,bm25&copies=each&k=100"
    seen: list[int] = []
    while url:
        text = client.get(url).text
        found = ranks(text, "trackstar")
        assert 0 < len(found) <= 25
        seen += found
        further = re.search(r'href="([^"]*)" rel="nofollow">Further passages', text)
        url = further[1].replace("&amp;", "&") if further else None
    assert seen == list(range(1, 101))


def test_jumps_lead_to_cards_that_state_the_fact(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?methods=gradient-dot&copies=each").text
    later = re.findall(r'<a class="states" href="([^"]*)">(\d+)<', text)
    assert later
    for url, rank in later:
        page, anchor = url.replace("&amp;", "&").split("#")
        there = client.get(page).text
        card = re.search(rf'<li class="card" id="{anchor}".*?</li>', there, re.S)
        assert card is not None
        assert anchor == f"gradient-dot-{rank}"
        assert "states the fact" in card[0]


def test_ranks_elsewhere_are_those_of_the_other_lists(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?methods=trackstar&copies=each").text
    entries = client.get("/prompts/capital-peru.json?k=100").json()["rankings"]
    bm25 = next(ranking for ranking in entries if ranking["method"] == "bm25")["proponents"]
    places = {entry["passage_id"]: entry["rank"] for entry in bm25}
    first = next(ranking for ranking in entries if ranking["method"] == "trackstar")["proponents"][:10]
    cards = re.findall(r'<li class="card".*?</li>', text, re.S)
    for entry, card in zip(first, cards, strict=True):
        rank = re.search(r"BM25 <b>(?:opponent )?(\d+)</b>", card)
        assert rank is None or int(rank[1]) == places.get(entry["passage_id"], int(rank[1]))
        assert (entry["passage_id"] in places) == bool(re.search(r"BM25 <b>\d", card))
        if rank is None:
            assert re.search(r"BM25[^<]*: not in top 100", card)


def test_agreement_is_shown_for_every_pair(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?methods=trackstar,bm25,random").text
    table = re.search(r'aria-label="Agreement of the methods".*?</table>', text, re.S)
    assert table is not None
    assert table[0].count("<tr>") == 4
    lists = client.get("/prompts/capital-peru.json?methods=trackstar,bm25&k=10").json()["rankings"]
    one, other = ({entry["passage_id"] for entry in ranking["proponents"]} for ranking in lists)
    assert f">{len(one & other) * 10} %<" in table[0]


def test_an_opponent_is_not_styled_as_support(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?side=opponents").text
    assert 'class="columns opponents"' in text
    assert "state the fact</li>" not in text
    assert '<span class="unseen">Opponent </span>' in text
    assert '<span class="unseen">Rank </span>' not in text


def test_link_previews_and_the_field_to_copy(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru").text
    link = f"http://testserver/r/{TRACKSTAR}+{BM25}/capital-peru"
    assert f'<meta property="og:url" content="{link}">' in text
    assert re.search(r'<meta property="og:title" content="[^"]*The capital of Peru is Lima', text)
    preview = r'<meta property="og:description" content="First of the passages behind it, by TrackStar: \S'
    assert re.search(preview, text)
    assert re.search(rf'<input id="permalink" type="text" readonly value="{re.escape(link)}">', text)


def test_a_permalink_outlives_a_newer_run(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("trackstar", "bm25"))
    old = client.get("/prompts/capital-peru.json?methods=trackstar").json()["rankings"]
    run = old[0]["run"]
    before = client.get(f"/r/{run}/capital-peru").text
    assert "Newer runs exist" not in before
    with write_session(engine) as session:  # a newer run: the old one's rows again, in the opposite order
        first = session.get_one(m.Run, run)
        newer = m.Run(
            id="trackstar-newer",
            created_at=MADE + timedelta(days=1),
            manifest={**first.manifest, "id": "trackstar-newer"},
            method="trackstar",
            corpus_id=first.corpus_id,
            query_set_id=first.query_set_id,
            model_id=first.model_id,
            store_id=None,
        )
        session.add(newer)
        session.flush()
        session.execute(update(m.Ranking).where(m.Ranking.run_id == run, m.Ranking.pk % 2 == 0).values(facts={}))
        prompt = session.scalars(select(m.Prompt).filter_by(slug="capital-peru")).one()
        ranking = session.scalars(select(m.Ranking).filter_by(run_id=run, prompt_pk=prompt.pk)).one()
        copy = {c.name: getattr(ranking, c.name) for c in m.Ranking.__table__.columns}
        session.add(m.Ranking(**{**copy, "pk": 999_999, "run_id": newer.id}))
        session.flush()
        rows = session.scalars(select(m.RankedPassage).filter_by(ranking_pk=ranking.pk)).all()
        proponents = [row for row in rows if row.rank > 0]
        for row in proponents:
            session.add(
                m.RankedPassage(
                    ranking_pk=999_999,
                    rank=len(proponents) + 1 - row.rank,
                    passage_pk=row.passage_pk,
                    score=-row.score,
                    percentile=row.percentile,
                    tail_patch=None,
                )
            )
    current = client.get("/prompts/capital-peru.json?methods=trackstar").json()["rankings"]
    assert current[0]["run"] == "trackstar-newer"
    assert client.get(f"/r/{run}/capital-peru.json").json()["rankings"] == old
    pinned = client.get(f"/r/{run}/capital-peru").text
    assert "Newer runs exist" in pinned
    assert 'href="/r/trackstar-newer/capital-peru"' in pinned


def test_kept_pages_change_with_the_catalogue(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("bm25",))
    url = "/prompts/capital-peru"
    first = client.get(url)
    again = client.get("/prompts/capital-peru")
    assert again.text == first.text
    assert again.headers.get("content-encoding") == "gzip"
    assert "content-encoding" not in first.headers
    own = ("content-length", "content-encoding", "x-request-id")
    kept = {name: value for name, value in again.headers.items() if name not in own}
    assert kept == {name: value for name, value in first.headers.items() if name not in own}
    plain = client.get("/prompts/capital-peru", headers={"Accept-Encoding": "identity"})
    assert plain.text == first.text
    for refused in ("gzip;q=0", "gzip; q=0.0", "br", ""):
        assert "content-encoding" not in client.get(url, headers={"Accept-Encoding": refused}).headers
    for taken in ("gzip", "br, GZIP;q=0.5", "gzip;q=1.0"):
        assert client.get(url, headers={"Accept-Encoding": taken}).text == first.text
    with write_session(engine) as session:
        session.execute(update(m.Prompt).where(m.Prompt.slug == "capital-peru").values(completion=" Cusco"))
    assert "Cusco" in client.get("/prompts/capital-peru").text
    assert 'data-theme="dark"' in client.get("/prompts/capital-peru", headers={"Cookie": "theme=dark"}).text
    assert 'data-theme="dark"' not in client.get("/prompts/capital-peru").text
    split = [("Cookie", "a=1"), ("Cookie", "theme=dark")]
    assert 'data-theme="dark"' in client.get(url, headers=split).text
    assert 'data-theme="dark"' not in client.get(url, headers={"Cookie": "a=1"}).text
    head = client.head("/prompts/capital-peru")
    assert (head.status_code, head.content) == (200, b"")
    assert client.get("/prompts/none").status_code == client.get("/prompts/none").status_code == 404


def test_kept_pages_outlive_what_they_do_not_show(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("bm25",))
    url = "/prompts/capital-peru"
    client.get(url)
    with write_session(engine, shown=False) as session:
        session.execute(update(m.Prompt).where(m.Prompt.slug == "capital-peru").values(completion=" Cusco"))
    assert "Cusco" not in client.get(url).text, "whoever says that nothing shown changes must be right"
    with write_session(engine) as session:
        session.execute(update(m.Prompt).where(m.Prompt.slug == "capital-japan").values(completion=" Kyoto"))
    assert "Cusco" in client.get(url).text
    with write_session(engine, shown=False) as session:
        session.execute(update(m.Prompt).where(m.Prompt.slug == "capital-peru").values(slug="q-1"))
    assert "content-encoding" not in client.get("/prompts/q-1").headers
    assert "content-encoding" not in client.get("/prompts/q-1").headers, "pages of questions are not kept"


def test_an_imported_list_says_what_is_not_known(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("bm25",))
    with write_session(engine) as session:
        session.execute(update(m.Ranking).values(scored=None, minimum=None, maximum=None, histogram=None))
        session.execute(update(m.RankedPassage).values(percentile=None))
        session.execute(update(m.Output).values(completion_probability=None))
    text = client.get("/prompts/capital-peru").text
    assert "how the other passages scored is not known" in text
    assert "percentile" not in re.sub(r"<head>.*?</head>", "", text, flags=re.S)
    assert "Confidence (as imported)" in text
    assert client.get("/prompts/capital-peru.json").json()["rankings"][0]["proponents"][0]["percentile"] is None
    for url in ("/prompts", "/", "/passages/fact/capital/peru/0", "/runs", "/runs/bm25-abc000000000"):
        assert client.get(url).status_code == 200


WORDS = st.lists(st.sampled_from(["the", "capital", "of", "Peru", "is", "Lima", "a", "x."]), max_size=14).map(" ".join)


@given(query=WORDS, text=WORDS)
def test_shared_wording_is_that_of_n_grams(query: str, text: str) -> None:
    wording = Wording.of(query)
    shown = excerpt(text, [("subject", ["Peru"])], wording)
    assert "".join(piece.text for piece in shown.segments) == text
    shares = bool(wording.n and shared_ngrams(query, text, wording.n))
    assert (shown.shared_words > 0) == shares == any(piece.shared for piece in shown.segments)
    if shares:
        assert shown.shared_words >= wording.n


def test_shared_words_are_marked_around_names() -> None:
    shown = excerpt("So the capital of Peru is Lima.", [("subject", ["Peru"])], Wording.of("The capital of Peru is"))
    assert shown.segments == [
        ("So ", None, False),
        ("the capital of ", None, True),
        ("Peru", "subject", True),
        (" is", None, True),
        (" Lima.", None, False),
    ]
    assert shown.shared_words == 5


def fill_again(engine: Engine, run_id: str) -> None:
    """A newer run of BM25 with the same list for one prompt."""
    with write_session(engine) as session:
        first = session.scalars(select(m.Run).filter_by(method="bm25")).one()
        values = {c.name: getattr(first, c.name) for c in m.Run.__table__.columns}
        session.add(m.Run(**{**values, "id": run_id, "created_at": MADE + timedelta(days=1)}))
        session.flush()
        prompt = session.scalars(select(m.Prompt).filter_by(slug="capital-peru")).one()
        ranking = session.scalars(select(m.Ranking).filter_by(prompt_pk=prompt.pk)).one()
        columns = {c.name: getattr(ranking, c.name) for c in m.Ranking.__table__.columns}
        session.add(m.Ranking(**{**columns, "pk": 888_888, "run_id": run_id}))
        session.flush()
        for row in session.scalars(select(m.RankedPassage).filter_by(ranking_pk=ranking.pk)).all():
            own = {c.name: getattr(row, c.name) for c in m.RankedPassage.__table__.columns}
            session.add(m.RankedPassage(**{**own, "ranking_pk": 888_888}))


def test_two_runs_of_one_method_stand_side_by_side(home_of_its_own: tuple[Engine, TestClient]) -> None:
    engine, client = home_of_its_own
    fill(engine, methods=("bm25",))
    fill_again(engine, "bm25-0000newer")
    old, new = "bm25-abc000000000", "bm25-0000newer"
    for runs in ((old, new), (new, old)):
        text = client.get(f"/r/{runs[0]}+{runs[1]}/capital-peru?side=opponents&k=3").text
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert text.count(">A newer run</a>") == 1
        assert f'href="/r/{new}/capital-peru?side=opponents&amp;k=3"' in text
        assert 'href="/prompts/capital-peru?side=opponents&amp;k=3"' in text


def test_a_permalink_keeps_the_view(client: TestClient) -> None:
    text = client.get("/prompts/capital-peru?side=opponents&k=5&methods=trackstar").text
    assert f'value="http://testserver/r/{TRACKSTAR}/capital-peru?side=opponents&amp;k=5"' in text
    beyond = client.get("/prompts/capital-peru?start=5000").text
    assert ranks(beyond, "trackstar")[0] == 1


def test_kept_pages_count_all_their_bytes() -> None:
    cache = PageCache(None, None)  # type: ignore[arg-type]
    page = Page([(b"x", b"y" * 1_000_000)], b"", "/prompts/{slug}")
    for number in range(100):
        cache._keep(Key(f"/prompts/{number}", b"", ("http", "h"), "auto", False), page)
    assert len(cache._pages) == 63
    assert cache._bytes <= MOST_BYTES
