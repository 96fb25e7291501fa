"""Which form of a resource is asked for, and addresses in canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from starlette.requests import Request

PARAMETER_ORDER = (
    "q",
    "task",
    "relation",
    "bucket",
    "correct",
    "confident",
    "annotated",
    "opponents",
    "source",
    "sort",
    "methods",
    "side",
    "copies",
    "k",
    "start",
    "corpus",
    "after",
    "limit",
)
"""The order in which addresses carry their parameters, so that one state has one address."""


def wants_json(request: Request) -> bool:
    """True for twins and exports, the API, and clients that ask for JSON and not for HTML."""
    path = request.url.path
    if path.endswith((".json", ".csv", ".jsonl")) or path.startswith("/api/") or path == "/healthz":
        return True
    accept = request.headers.get("accept", "")
    return "json" in accept and "text/html" not in accept


def wants_part(request: Request) -> bool:
    """True if htmx asks for a part of the page.

    Only HX-Request-Type says so: HX-Request also comes with requests for whole pages.
    """
    return request.headers.get("hx-request-type") == "partial"


def address(path: str, parameters: Mapping[str, object] | None = None) -> str:
    """A path with its parameters in canonical order; empty ones are left out."""
    given = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in (parameters or {}).items()
        if value is not None and value != ""
    }
    pairs = [(name, given.pop(name)) for name in PARAMETER_ORDER if name in given]
    query = urlencode(pairs + sorted(given.items()), safe=",", quote_via=quote)
    return f"{path}?{query}" if query else path


def here(request: Request) -> str:
    """The address of a request within the site, as it was asked for."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def passage_address(passage_id: str, corpus_id: str | None = None, suffix: str = "") -> str:
    """The address of a passage's page; ``suffix`` is ``.json`` for its twin.

    Slashes stay readable unless a browser would tidy the path ("a/../b") and so ask for another passage.
    """
    tidy = all(part not in ("", ".", "..") for part in passage_id.split("/"))
    return address(f"/passages/{quote(passage_id, safe='/' if tidy else '')}{suffix}", {"corpus": corpus_id})


def prompt_address(slug: str, runs: tuple[str, ...] = (), suffix: str = "", **parameters: object) -> str:
    """The address of a prompt's page, pinned to runs where some are given."""
    pinned = "+".join(quote(run, safe="") for run in runs)
    base = f"/r/{pinned}" if runs else "/prompts"
    return address(f"{base}/{quote(slug, safe='')}{suffix}", parameters)


def method_address(slug: str) -> str:
    """Where a method is explained."""
    return f"/methods#{quote(slug, safe='')}"


def web_link(url: str | None) -> str | None:
    """The URL if it is http or https and so safe to link to; None otherwise."""
    if url is None:
        return None
    stripped = url.strip()
    return stripped if stripped.lower().startswith(("http://", "https://")) else None


def local_path(back: str) -> str:
    """The address if it is a path of this server; the home page otherwise."""
    plain = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()
    return back if plain and "\\" not in back else "/"
