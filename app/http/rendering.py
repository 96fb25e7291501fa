"""Templates: whole pages or one block of a page, always escaped, nothing undefined."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2_fragments.fastapi import Jinja2Blocks
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from app.http import words
from app.http.cookies import read_cookie
from app.http.formats import address, here, method_address, passage_address, prompt_address, wants_part, web_link
from app.http.viewers import viewer_of
from app.labels_text import LABELS, label_text
from app.methods_text import method_text
from app.tasks_text import task_text

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds app/, templates/ and static/: the repository, or site-packages."""

TEMPLATES = ROOT / "templates"
STATIC = ROOT / "static"
THEME_COOKIE = "theme"
THEMES = ("auto", "light", "dark")


@lru_cache(maxsize=64)
def asset(name: str) -> str:
    """Address of a static file; it changes with the file, so that browsers may keep it for good."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{quote(name)}?v={digest}"


class VersionedStatic(StaticFiles):
    """Static files that are kept for a year where their address holds their hash."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        versioned = b"v=" in scope["query_string"]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if versioned else "no-cache"
        return response


def make_environment() -> Environment:
    """The templates with the functions and filters that they may use."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "asset": asset,
        "address": address,
        "method_address": method_address,
        "passage_address": passage_address,
        "prompt_address": prompt_address,
        "method_text": method_text,
        "task_text": task_text,
        "label_text": label_text,
        "LABELS": LABELS,
        "THEMES": THEMES,
    }
    environment.filters |= {
        "percent": words.percent,
        "percentile": words.percentile,
        "number": words.number,
        "decimal": words.decimal,
        "score": words.score,
        "duration": words.duration,
        "size": words.size,
        "moment": words.moment,
        "plural": words.plural,
        "web_link": web_link,
    }
    return environment


def theme_of(request: Request) -> str:
    """The theme that this browser has chosen."""
    chosen = read_cookie(request, THEME_COOKIE) or "auto"
    return chosen if chosen in THEMES else "auto"


def origin_of(request: Request) -> str:
    """Scheme and host of links that leave the site, without a slash at the end."""
    public: str | None = request.app.state.settings.public_url
    return (public or str(request.base_url)).rstrip("/")


def render(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    block: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The page, or only its ``block`` where htmx asks for a part."""
    templates: Jinja2Blocks = request.app.state.templates
    part = block if wants_part(request) else None
    shared = {
        "theme": theme_of(request),
        "here": here(request),
        "section": request.url.path.split("/")[1],
        "origin": origin_of(request),
        "viewer": viewer_of(request.scope),
    }
    return templates.TemplateResponse(
        request,
        template,
        {**shared, **context},
        status_code=status,
        headers={"Vary": "HX-Request-Type, Cookie, Accept-Encoding", "Cache-Control": "no-cache", **(headers or {})},
        block_name=part,
    )
