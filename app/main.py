"""Wiring of the web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jinja2_fragments.fastapi import Jinja2Blocks
from starlette.types import ASGIApp

from app.accounts.own_routes import router as own_account
from app.accounts.routes import router as accounts
from app.admin.routes import router as admin
from app.agreement.routes import router as agreement
from app.annotate.queue_routes import router as pools
from app.annotate.routes import router as annotate
from app.api.pages import router as api_docs
from app.api.routes import router as api
from app.ask.routes import router as ask
from app.comparisons.routes import router as comparisons
from app.curation.routes import router as curation
from app.dev.routes import router as dev
from app.home.routes import router as home
from app.http.csrf import CrossSiteGuard
from app.http.database import Catalogue
from app.http.errors import add_error_handlers
from app.http.etags import EntityTags
from app.http.headers import HeadAsGet, SecurityHeaders
from app.http.identity import Gate
from app.http.limits import BodyLimit, PerMinute, ReadLimit
from app.http.logs import RequestLog, RouteNames
from app.http.metrics import Metrics
from app.http.metrics import router as metrics
from app.http.page_cache import PageCache
from app.http.rendering import STATIC, VersionedStatic, make_environment
from app.methods.routes import router as methods
from app.passages.routes import router as passages
from app.preferences.routes import router as preferences
from app.prompts.routes import router as prompts
from app.runs.routes import router as runs
from backend.settings import Settings, get_settings

LARGEST_BODY = 1_000_000
"""Bytes of a request body that the server reads; nothing here needs more."""


class Application(FastAPI):
    """FastAPI with the wrappers that must hold every response, those of its own error handling too."""

    @property
    def paths(self) -> list[str]:
        """Paths of all routes, those of included routers too, in the order in which they are tried."""
        return [context.path for context in iter_route_contexts(self.routes) if context.path is not None]

    def build_middleware_stack(self) -> ASGIApp:
        """The stack, wrapped; from outside to inside:

        log and metrics (they hold every answer, whoever gives it), security headers, HEAD, then what refuses a
        request (too many of them, too long a body, another site), who it comes from, entity tags, kept pages, the
        name of the route.
        """
        catalogue: Catalogue = self.state.catalogue
        app: ASGIApp = RouteNames(super().build_middleware_stack())
        app = EntityTags(PageCache(app, catalogue.content_generation))
        app = Gate(app, catalogue, self.state.settings)
        app = CrossSiteGuard(BodyLimit(app, LARGEST_BODY))
        if self.state.settings.reads_per_minute:
            app = ReadLimit(app, self.state.settings.reads_per_minute)
        return RequestLog(SecurityHeaders(HeadAsGet(app)), self.state.metrics.observe)


def create_app(settings: Settings | None = None) -> Application:
    """The web application over the catalogue that the settings name; it need not be there yet."""
    settings = settings or get_settings()
    catalogue = Catalogue(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        catalogue.close()

    app = Application(
        title="Proponent",
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        max_body_size=LARGEST_BODY,
    )
    app.state.settings = settings
    app.state.catalogue = catalogue
    app.state.metrics = Metrics(catalogue)
    app.state.asking_limit = PerMinute(settings.questions_per_minute)
    app.state.sign_in_limit = PerMinute(settings.sign_ins_per_minute)
    app.state.name_limit = PerMinute(10 * settings.sign_ins_per_minute)
    app.state.templates = Jinja2Blocks(env=make_environment())
    add_error_handlers(app)
    reading = (home, prompts, passages, ask, runs, comparisons, methods, agreement)
    writing = (annotate, pools, curation, accounts, own_account, admin, preferences)
    for router in (*reading, *writing, api, api_docs, metrics):
        app.include_router(router)
    if settings.development:
        app.include_router(dev)
    app.mount("/static", VersionedStatic(directory=STATIC), name="static")
    return app
