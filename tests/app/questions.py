"""What tests of questions share: a question, the settings of a home without limits, and how a refusal looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2 as httpx
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from app.api.schemas.problems import Problem
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Job
from backend.settings import Settings
from tests.catalogue.factories import TinyHome

URL = "/api/v1/questions"
QUESTION = {"prompt": "The capital of Peru is", "completion": " Lima", "method": "trackstar"}
FIELDS = {"id", "state", "url", "result_url", "error"}
COOKIE = {"Cookie": f"reader={'r' * 43}"}


def settings_of(home: Path, **changes: Any) -> Settings:
    free = {"questions_per_minute": 0, "reads_per_minute": 0}
    return Settings(_env_file=None, home=home, **{**free, **changes})  # type: ignore[call-arg]


def post(client: TestClient, body: Any = None, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
    return client.post(URL, json={**QUESTION, **changes} if body is None else body, headers=headers)


def refused(answer: httpx.Response, status: int) -> list[str]:
    """The fields that a refusal names."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    Problem.model_validate(answer.json())
    return [error["field"] for error in answer.json().get("errors", ())]


def jobs(tiny: TinyHome) -> int:
    with read_session(tiny.engine) as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def change(tiny: TinyHome, job_id: str, **values: Any) -> None:
    with write_session(tiny.engine) as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))
