"""Measuring tail-patch for the list of an asked prompt."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.ask.asking import require_asking, submit
from app.ask.readers import reader_or_new, remember
from app.ask.streams import QUESTIONS
from app.http.clients import address_turn
from app.http.database import ReadSession
from app.http.errors import FieldError, Problem, not_found
from app.http.forms import Form, readable
from app.http.headers import NO_STORE
from app.http.limits import asking_limit
from app.http.logs import log_ask
from app.prompts.measuring import measuring_models
from app.prompts.rankings import MOST_PINNED, MissingRun, Rankings, load_pinned
from backend.jobs.records import tail_patch_request

router = APIRouter()


@router.post("/questions/{slug}/tail-patch", dependencies=[Depends(asking_limit)])
def measure_tail_patch(request: Request, session: ReadSession, slug: str, form: Form) -> Response:
    require_asking(request)
    settings = request.app.state.settings
    shown = form.one("runs", form.one("run")).split("+")
    loaded, model_id = _measurable(session, slug, form.one("run"), shown)
    session.close()
    reader = reader_or_new(request)
    parameters = {
        "prompt": loaded.prompt.prompt,
        "completion": loaded.prompt.completion,
        "task": loaded.prompt.task or None,
        "slug": slug,
        "run": form.one("run"),
        "runs": shown,
    }
    wanted = [tail_patch_request(form.one("run"), model_id, slug)]
    catalogue = request.app.state.catalogue
    asked = submit(catalogue, settings, wanted, parameters, reader=reader.hash, address=address_turn(request))
    log_ask(asked.ask_id, asked.job_ids, asked.new)
    response = RedirectResponse(f"/jobs/{asked.ask_id}", 303, headers=NO_STORE)
    remember(request, response, reader)
    return response


def _measurable(session: Session, slug: str, run_id: str, shown: list[str]) -> tuple[Rankings, str]:
    """The asked prompt with the shown runs, and the model to measure with; raises a Problem."""
    if len(shown) > MOST_PINNED or any(readable(text) != text for text in shown):
        raise _refused("“runs” must name the shown runs.")
    try:
        loaded = load_pinned(session, slug, list(dict.fromkeys(shown)))
    except MissingRun as error:
        raise _refused(str(error)) from error
    if loaded is None or not loaded.prompt.asked:
        raise not_found(f"There is no question “{slug}” here.", QUESTIONS)
    models = measuring_models(session, loaded)
    if run_id not in models:
        raise _refused("“run” must name one of the shown runs, and there must be a model to take a step with.")
    return loaded, models[run_id]


def _refused(detail: str) -> Problem:
    return Problem(422, "Nothing to measure", detail, (FieldError("run", "names no list that can be measured"),))
