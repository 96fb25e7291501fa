"""The same pages over PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import open_catalogue
from backend.catalogue.models import Base
from backend.catalogue.withheld import PLACEHOLDER
from backend.settings import Settings
from tests.app.addresses import BY_ROLE, HTML, JSON, OPEN_POOL, SIGNED_IN, SIGNED_IN_JSON
from tests.app.example_annotations import add_annotations, token_of
from tests.app.example_catalogue import add_stages, fill
from tests.app.example_comparison import add_comparison
from tests.app.example_measurements import add_measurements


@pytest.mark.postgres
def test_every_address_answers(postgres_url: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, home=tmp_path, database_url=postgres_url)  # type: ignore[call-arg]
    engine = open_catalogue(settings)
    with TestClient(create_app(settings), follow_redirects=False) as client:
        assert "proponent demo" in client.get("/").text
        Base.metadata.create_all(engine)
        fill(engine, with_hostile=True)
        add_measurements(engine)
        add_comparison(engine)
        add_stages(engine, {"Corpus": "done", "Training": "failed"})
        add_annotations(engine, tmp_path)
        for url in (*HTML, *JSON):
            assert client.get(url).status_code == 200, url
        assert client.get("/prompts/random").status_code == 303
        for url, role in (SIGNED_IN | SIGNED_IN_JSON).items():
            assert client.get(url, headers=token_of(tmp_path, BY_ROLE[role])).status_code == 200, url
        ben, ada = token_of(tmp_path, "ben"), token_of(tmp_path, "ada")
        form = {"prompt": "capital-peru", "passage": "fact/capital/peru/1", "label": "template", "quote": "Lima"}
        assert client.post("/annotate/in-place", data=form, headers=ben).status_code == 303
        assert client.post("/annotate/in-place", data={**form, "label": "irrelevant"}, headers=ben).status_code == 409
        item = re.search('name="item" value="(\\d+)"', client.get(f"/annotate/pools/{OPEN_POOL}", headers=ben).text)
        assert item is not None
        judged = {"item": item[1], "label": "states-fact"}
        assert client.post(f"/annotate/pools/{OPEN_POOL}", data=judged, headers=ben).status_code == 303
        private = {"source": "Planted facts: capital", "private": "yes"}
        assert client.post("/sources/private", data=private, headers=ada).status_code == 303
        assert PLACEHOLDER in client.get("/passages/fact/capital/peru/1").text
        for path in ("annotations/%00/undo", "annotate/pools/%00/close", "flags/%00/clear", "admin/jobs/%00/cancel"):
            assert client.post(f"/{path}", headers=token_of(tmp_path, "root")).status_code == 404
        flag = {"passages": "fact/capital/peru/1", "reason": "wrong"}
        assert client.post("/flags", data=flag, headers=ada).status_code == 303
        assert "Lima" in client.get("/flags/corpus.jsonl", headers=ada).text
    engine.dispose()
