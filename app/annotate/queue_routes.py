"""Addresses of pools: making one, its blind queue, closing it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.annotate.forms import Faulty, Refused, Typed, problem_of, refusal
from app.annotate.pool_views import PoolForm, build_home, build_new, pools_json, read_plan
from app.annotate.queue_views import QueuePage, build_queue, pool_address, queue_json
from app.http.database import ReadSession, catalogue_of
from app.http.errors import Problem, not_found
from app.http.formats import wants_json
from app.http.forms import Form, number
from app.http.headers import NO_STORE
from app.http.identity import actor_of, require, writing
from app.http.parameters import parameters_of
from app.http.rendering import render
from app.http.viewers import Viewer
from app.prompts.parameters import FilterParameters
from backend.accounts.audit import Actor
from backend.accounts.roles import Role
from backend.annotations.pools import close_pool, make_pool, open_pool_again
from backend.annotations.queue import read_queue
from backend.annotations.subjects import pair_of_hashes
from backend.annotations.writing import OutdatedAnnotation, save, skip
from backend.catalogue.annotation_models import Annotation, Pool, PoolItem
from backend.core.errors import UserError

router = APIRouter()
Annotator = Annotated[Viewer, Depends(require(Role.ANNOTATOR))]
Curator = Annotated[Viewer, Depends(require(Role.CURATOR))]
FilterAsked = Annotated[FilterParameters, Depends(parameters_of(FilterParameters))]
ALL_POOLS = ("/annotate", "All pools")


@router.get("/annotate.json")
def home_json(session: ReadSession, viewer: Annotator) -> dict[str, Any]:
    return pools_json(session, viewer)


@router.get("/annotate")
def home(request: Request, session: ReadSession, viewer: Annotator) -> Response:
    return render(request, "annotate/home.html", {"page": build_home(session, viewer)}, headers=NO_STORE)


@router.get("/annotate/pools/new")
def new_pool(request: Request, session: ReadSession, viewer: Curator, asked: FilterAsked) -> Response:
    page = build_new(session, asked, PoolForm())
    return render(request, "annotate/new_pool.html", {"page": page}, headers=NO_STORE)


@router.post("/annotate/pools/new")
def make(request: Request, viewer: Curator, asked: FilterAsked, form: Form) -> Response:
    typed = PoolForm.read(form)
    plan, faults = read_plan(typed, asked)
    if plan is not None:
        try:
            with writing(request, shown=False) as session:
                pool = make_pool(session, actor_of(request), plan)
            if wants_json(request):
                return JSONResponse({"id": pool.id, "url": pool_address(pool.id)}, 201, headers=NO_STORE)
            return RedirectResponse("/annotate", 303, headers=NO_STORE)
        except UserError as error:
            faults = {"": str(error)}
    if wants_json(request):
        raise problem_of(Faulty(faults))
    with catalogue_of(request).read() as session:
        page = build_new(session, asked, typed, faults)
        return render(request, "annotate/new_pool.html", {"page": page}, status=422, headers=NO_STORE)


@router.post("/annotate/pools/{pool_id}/close")
def close(request: Request, viewer: Curator, pool_id: str) -> Response:
    return _change(request, pool_id, is_open=False)


@router.post("/annotate/pools/{pool_id}/open")
def open_again(request: Request, viewer: Curator, pool_id: str) -> Response:
    return _change(request, pool_id, is_open=True)


@router.get("/annotate/pools/{pool_id}.json")
def queue_as_json(session: ReadSession, viewer: Annotator, pool_id: str, item: str = "") -> dict[str, Any]:
    page = build_queue(session, _pool(session, pool_id), _user(viewer), number(item) if item else None)
    if page is None:
        raise _not_yours(pool_id)
    return queue_json(page)


@router.get("/annotate/pools/{pool_id}")
def queue_page(request: Request, session: ReadSession, viewer: Annotator, pool_id: str, item: str = "") -> Response:
    page = build_queue(session, _pool(session, pool_id), _user(viewer), number(item) if item else None)
    return _rendered(request, page)


@router.post("/annotate/pools/{pool_id}")
def judge(request: Request, viewer: Annotator, pool_id: str, form: Form) -> Response:
    """Save a judgement or put the item aside, and lead to what is next; a fault shows the form as it was typed."""
    item_pk, typed = number(form.one("item")), Typed.read(form)
    try:
        with writing(request, shown=False) as session:
            item = _open_item(session, viewer, _pool(session, pool_id), item_pk)
            if form.one("act") == "aside":
                skip(session, _user(viewer)[0], item.pk)
                saved = None
            else:
                saved = _save(session, actor_of(request), item, typed)
    except (Faulty, OutdatedAnnotation) as refused:
        return _again(request, viewer, pool_id, item_pk, typed, refused)
    return saved_answer(request, saved, pool_address(pool_id))


def _open_item(session: Session, viewer: Viewer, pool: Pool, item_pk: int) -> PoolItem:
    """An item that the viewer may judge now; raises a Problem."""
    if pool.closed_at is not None:
        raise closed_pool()
    if read_queue(session, pool, *_user(viewer)).find(item_pk) is None:
        raise Problem(
            409,
            "Somebody was quicker",
            "Enough others have judged this passage meanwhile, or it is not of this pool. Nothing was saved.",
            link=(pool_address(pool.id), "What is next"),
        )
    return session.get_one(PoolItem, item_pk)


def _save(session: Session, actor: Actor, item: PoolItem, typed: Typed) -> Annotation:
    """Save what was typed of an item. Raises Faulty, OutdatedAnnotation, a Problem."""
    pair = pair_of_hashes(session, item.query_hash, item.content_hash)
    if pair is None:
        raise not_found("The corpus that held this passage is gone.", ALL_POOLS)
    judgement = typed.judged(pair.passage.text, needs_label=True)
    return save(session, actor, pair.about(item.pool_id, item.ranks), judgement, typed.version)


def _again(request: Request, viewer: Viewer, pool_id: str, item_pk: int, typed: Typed, refused: Refused) -> Response:
    """The form as it was typed, with why it was not saved."""
    if wants_json(request):
        raise problem_of(refused)
    faults, standing, status = refusal(refused)
    with catalogue_of(request).read() as session:
        pool = _pool(session, pool_id)
        page = build_queue(
            session, pool, _user(viewer), item_pk, typed=typed.after(refused), faults=faults, standing=standing
        )
        return _rendered(request, page, status)


def _not_yours(pool_id: str) -> Problem:
    return not_found("This item is not among yours to judge.", (pool_address(pool_id), "What is next"))


def _rendered(request: Request, page: QueuePage | None, status: int = 200) -> Response:
    if page is None:
        raise _not_yours(request.path_params["pool_id"])
    return render(request, "annotate/queue.html", {"page": page}, block="item", status=status, headers=NO_STORE)


def _change(request: Request, pool_id: str, *, is_open: bool) -> Response:
    with writing(request, shown=True) as session:  # what was judged in it is shown while it is closed
        (open_pool_again if is_open else close_pool)(session, actor_of(request), _pool(session, pool_id))
    return RedirectResponse("/annotate", 303, headers=NO_STORE)


def _pool(session: Session, pool_id: str) -> Pool:
    pool = session.get(Pool, pool_id)
    if pool is None:
        raise not_found("There is no such pool.", ALL_POOLS)
    return pool


def _user(viewer: Viewer) -> tuple[int, str]:
    assert viewer.user_id is not None
    return viewer.user_id, viewer.name


def closed_pool() -> Problem:
    """The refusal of changes to what was said in a closed pool."""
    return Problem(
        409, "Closed", "This pool is closed: what was said in it stands. Nothing was changed.", link=ALL_POOLS
    )


def saved_answer(request: Request, saved: Annotation | None, leads_to: str) -> Response:
    """What follows a judgement: the next page, or for a program what was saved (nothing, of an item put aside)."""
    if not wants_json(request):
        return RedirectResponse(leads_to, 303, headers=NO_STORE)
    known = None if saved is None else {"id": saved.id, "version": saved.version}
    return JSONResponse({"annotation": known, "url": leads_to}, headers=NO_STORE)
