"""The API under requests that its description allows, and some that it does not: no 5xx, nothing undescribed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import schemathesis
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from sqlalchemy import Engine, select

from app.api.routes import description
from app.main import Application, create_app
from backend.catalogue.database import write_session
from backend.catalogue.models import Job, Prompt
from backend.core.records import TASKS
from tests.app.example_catalogue import fill, open_empty, settings_for

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
NAMES = {
    "slug": ("capital-peru", "story-2", "hostile-0", "trackstar", "house-blend"),
    "passage_id": ("factbook/peru/0", "fact/capital/peru/0", "hostile/0"),
    "run_id": ("trackstar-abc000000000", "bm25-abc000000004"),
    "question_id": ("done", "queued"),
}
"""Names of things that are there, by the parameter that names them."""
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
schema = schemathesis.openapi.from_dict(description())


@schema.hook
def before_generate_path_parameters(
    context: HookContext, strategy: st.SearchStrategy[dict[str, object]]
) -> st.SearchStrategy[dict[str, object]]:
    """Half of the names are of things that are there: others only show how a 404 looks."""
    for parameter in context.operation.path_parameters:  # one at most
        return st.one_of(st.fixed_dictionaries({parameter.name: st.sampled_from(NAMES[parameter.name])}), strategy)
    return strategy


@schema.hook
def before_generate_body(context: HookContext, strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A third of the bodies are of questions that can be asked, but for their texts."""
    texts = {"prompt": st.text(), "completion": st.none() | st.text(), "method": st.sampled_from(["trackstar", "bm25"])}
    likely = st.fixed_dictionaries(texts, optional={"task": st.sampled_from(TASKS), "k": st.integers(1, 100)})
    return st.one_of(likely, strategy, strategy)


def ask_two(engine: Engine) -> None:
    """A question that waits, and one that is answered by a ranking that is there."""
    with write_session(engine) as session:
        answered = session.scalars(select(Prompt).where(Prompt.slug == "capital-peru")).one()
        moment = datetime.now(UTC)
        for name, prompt_pk in (("queued", None), ("done", answered.pk)):
            session.add(
                Job(
                    id=name,
                    kind="rank",
                    run_id="trackstar-abc000000000",
                    parameters={"prompt": "x", "completion": "y", "task": None, "k": 10},
                    state=name,
                    created_at=moment,
                    queued_at=moment,
                    prompt_pk=prompt_pk,
                )
            )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    home = tmp_path_factory.mktemp("fuzzed")
    engine = open_empty(home)
    fill(engine, with_hostile=True)
    ask_two(engine)
    engine.dispose()
    unlimited = {"reads_per_minute": 0, "questions_per_minute": 0, "queued_questions": 1_000_000}
    made = create_app(settings_for(home).model_copy(update=unlimited))
    yield made
    made.state.catalogue.close()


def check(case: Case, app: Application) -> None:
    response = case.call(app=app)
    case.validate_response(response, checks=CHECKS)


@schema.parametrize()
@seed(20260301)
@settings(max_examples=6, deadline=None, database=None, suppress_health_check=SLOW)
def test_answers_are_as_described(case: Case, app: Application) -> None:
    check(case, app)


@pytest.mark.full
@schema.parametrize()
@seed(20260302)
@settings(max_examples=1000, deadline=None, database=None, suppress_health_check=SLOW)
def test_answers_are_as_described_to_many(case: Case, app: Application) -> None:
    check(case, app)
