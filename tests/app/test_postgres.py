"""The same pages over PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import open_catalogue
from backend.catalogue.models import Base
from backend.settings import Settings
from tests.app.addresses import HTML, JSON
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
        for url in (*HTML, *JSON):
            assert client.get(url).status_code == 200, url
        assert client.get("/prompts/random").status_code == 303
    engine.dispose()
