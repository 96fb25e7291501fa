"""How fast and how large pages are over a large catalogue, and how they compare with a bare page.

Serves a made catalogue as `proponent serve` does and measures, in one run: requests a second of prompts' pages, over
many different prompts, beside a bare FastAPI and Jinja page of the same size with the same texts in memory, in turns;
the median time of every type of page on an idle server; and the largest page. ``--json`` prints one JSON object.

The server keeps rendered pages until the catalogue changes (app/http/page_cache.py), so first visits are reported
apart: ``first_visit_per_bare_page`` beside ``prompt_page_per_bare_page``. The median times are of first visits too.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from web_client import Client

HERE = Path(__file__).resolve()
CONNECTIONS = 4
SAMPLED = 500
"""Prompts' pages that are fetched before the rounds: the bare page has their sizes and texts."""

POOL = 1_000
"""Different prompts that the rounds go through again and again, after a first visit to each."""

LONGEST_SECONDS = 900
LONGEST_SECONDS_OF_A_TYPE = 20
CARD = re.compile(r"<blockquote[^>]*>(.*?)</blockquote>", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ page.title }}</title></head>
<body><h1>{{ page.title }}</h1>
{% for text in page.cards %}<article><h2>{{ loop.index }}</h2><blockquote>{{ text }}</blockquote></article>
{% endfor %}<footer>{{ padding }}</footer></body></html>
"""


# --- servers to compare with, each in a process of its own


def serve_bare(folder: Path, listening: socket.socket) -> None:
    """The bare page: texts in memory, one template, nothing else."""
    pages = json.loads((folder / "pages.json").read_text())
    target = json.loads((folder / "size.json").read_text())
    templates = Jinja2Templates(directory=folder)
    sizes = [len(templates.get_template("page.html").render(page=page, padding="").encode()) for page in pages]
    padding = "padding " * max(0, round((target - statistics.mean(sizes)) / 8))
    app = FastAPI(openapi_url=None)

    @app.get("/pages/{number}", response_class=HTMLResponse)
    def page(request: Request, number: int) -> Any:
        return templates.TemplateResponse(request, "page.html", {"page": pages[number], "padding": padding})

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    server.run(sockets=[listening])


def serve_canned(folder: Path, listening: socket.socket) -> None:
    """One answer made beforehand, as fast as asyncio can send it: what the client can reach."""
    size = round(json.loads((folder / "size.json").read_text()))
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size

    class Canned(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer * data.count(b"\r\n\r\n"))

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Canned, sock=listening)
        await server.serve_forever()

    asyncio.run(main())


def be_server(kind: str, folder: Path) -> None:
    """Serve until the parent is gone; the port goes to stdout."""

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
    # asyncio turns off Nagle's algorithm, as for the application's own socket, only where the protocol is named.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(100)
    print(listening.getsockname()[1], flush=True)
    {"bare": serve_bare, "canned": serve_canned}[kind](folder, listening)


@contextmanager
def server(kind: str, folder: Path) -> Iterator[int]:
    """The port of such a server while the block runs."""
    command = [sys.executable, str(HERE), "--be-server", kind, "--home", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


# --- measuring


def measure_pages(port: int, types: dict[str, list[str]], requests: int) -> dict[str, dict[str, float]]:
    """Median milliseconds, largest kB and the number of requests of each type, one request at a time."""
    found = {}
    for name, paths in types.items():
        with Client(port) as client:
            client.run(paths[-1:])
            answers = client.run(islice(cycle(paths), requests), LONGEST_SECONDS_OF_A_TYPE)
        milliseconds = 1000 * statistics.median(answer.seconds for answer in answers)
        kb = max(answer.size for answer in answers) / 1000
        found[name] = {"median_ms": round(milliseconds, 2), "kb": round(kb, 1), "requests": len(answers)}
        print(f"{name}: {milliseconds:.1f} ms, {kb:.0f} kB", file=sys.stderr)
    return found


def bare_page(port: int, slugs: list[str], folder: Path) -> int:
    """Write what the bare page shows, taken from prompts' pages; returns how many pages there are."""
    with Client(port, keep=True) as client:
        answers = client.run(f"/prompts/{slug}" for slug in slugs[:SAMPLED])
    pages = []
    for answer in answers:
        cards = [html.unescape(TAG.sub("", card)).strip() for card in CARD.findall(answer.body.decode())]
        pages.append({"title": answer.path, "cards": cards})
    if not any(page["cards"] for page in pages):
        raise RuntimeError("no passages were found on the pages of prompts")
    (folder / "page.html").write_text(TEMPLATE)
    (folder / "pages.json").write_text(json.dumps(pages))
    (folder / "size.json").write_text(json.dumps(statistics.mean(answer.size for answer in answers)))
    return len(pages)


def compare(port: int, slugs: list[str], folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Requests a second of prompts' pages and of the bare page, in turns, and what the client could reach."""
    count = bare_page(port, slugs, folder)
    ours: list[float] = []
    bare: list[float] = []
    sizes: dict[str, list[int]] = {"prompt": [], "bare": []}
    with server("canned", folder) as canned_port, Client(canned_port, CONNECTIONS) as client:
        ceiling = len(client.run(cycle(["/"]), seconds)) / seconds
    with ExitStack() as stack:
        bare_port = stack.enter_context(server("bare", folder))
        prompt_client = stack.enter_context(Client(port, CONNECTIONS))
        bare_client = stack.enter_context(Client(bare_port, CONNECTIONS))
        pool = [f"/prompts/{slug}" for slug in slugs[:: max(1, len(slugs) // POOL)][:POOL]]
        started = time.perf_counter()
        first_visits = len(prompt_client.run(pool)) / (time.perf_counter() - started)
        print(f"{len(pool)} first visits: {first_visits:.1f}/s", file=sys.stderr)
        prompt_paths = cycle(pool)
        bare_paths = cycle([f"/pages/{number}" for number in range(count)])
        bare_client.run(islice(bare_paths, count))
        for _ in range(rounds):
            turns = ((prompt_client, prompt_paths, ours, "prompt"), (bare_client, bare_paths, bare, "bare"))
            for client, paths, rates, name in turns:
                started = time.perf_counter()
                answers = client.run(paths, seconds)
                rates.append(len(answers) / (time.perf_counter() - started))
                sizes[name] += [answer.size for answer in answers]
            print(f"prompt {ours[-1]:.1f}/s, bare {bare[-1]:.1f}/s", file=sys.stderr)
    ours_rps, bare_rps = statistics.median(ours), statistics.median(bare)
    return {
        "prompt_page_per_bare_page": round(ours_rps / bare_rps, 4),
        "first_visit_per_bare_page": round(first_visits / bare_rps, 4),
        "prompt_page_rps": round(ours_rps, 1),
        "first_visit_rps": round(first_visits, 1),
        "bare_page_rps": round(bare_rps, 1),
        "client_ceiling_rps": round(ceiling, 1),
        "client_is_bottleneck": bool(bare_rps > 0.5 * ceiling),
        "prompt_page_kb": round(statistics.mean(sizes["prompt"]) / 1000, 2),
        "bare_page_kb": round(statistics.mean(sizes["bare"]) / 1000, 2),
        "rounds": [[round(left, 1), round(right, 1)] for left, right in zip(ours, bare, strict=True)],
    }


def use_cores(count: int) -> int:
    """Keep this process and those that it starts on so many cores; returns how many they are."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    allowed = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, allowed)
    return len(allowed)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, over the catalogue of ``--home`` or one made in the folder."""
    home = arguments.home.absolute() if arguments.home else folder / "home"
    made = not (home / "proponent.db").exists()
    if made:
        script = str(HERE.with_name("large_catalogue.py"))
        counts = ["--passages", str(arguments.passages), "--prompts", str(arguments.prompts)]
        command = [sys.executable, script, str(home), *counts, "--seed", str(arguments.seed)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    url = os.environ["PROPONENT_DATABASE_URL"] = f"sqlite:///{home / 'proponent.db'}"

    from web_addresses import look, page_types

    from backend.pipeline.serving import web_process
    from backend.settings import Settings

    known = look(url)
    notes: list[str] = []
    types = page_types(known, notes)
    with web_process(Settings(_env_file=None, home=home, host="127.0.0.1", port=0)) as web:
        port = urlsplit(web.url).port or 0
        ratio = compare(port, known.slugs, folder, arguments.rounds, arguments.seconds)
        pages = measure_pages(port, types, arguments.requests)
    slowest = max(pages, key=lambda name: pages[name]["median_ms"])
    largest = max(pages, key=lambda name: pages[name]["kb"])
    return {
        **ratio,
        "slowest_page_ms": pages[slowest]["median_ms"],
        "slowest_page": slowest,
        "largest_page_kb": pages[largest]["kb"],
        "largest_page": largest,
        "pages": pages,
        "notes": sorted(set(notes)),
        "seed": arguments.seed if made else None,
        "passages": known.passage_count,
        "prompts": len(known.slugs),
    }


def show(found: dict[str, Any]) -> None:
    """Print what was measured as a table."""
    for name, page in sorted(found["pages"].items(), key=lambda item: -item[1]["median_ms"]):
        print(f"{page['median_ms']:9.1f} ms {page['kb']:9.1f} kB  {name}")
    for name, value in found.items():
        if name not in ("pages", "rounds", "notes"):
            print(f"{name:27} {value}")
    for note in found["notes"]:
        print(f"left out: {note}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=2, help="cores that servers and client share")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--prompts", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, help="home of a made catalogue; it is made there if there is none")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each server's turn in a round")
    parser.add_argument("--requests", type=int, default=15, help="requests to each type of page")
    parser.add_argument("--be-server", choices=("bare", "canned"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be_server:
        be_server(arguments.be_server, arguments.home)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"stopped after {LONGEST_SECONDS} s"))
    signal.alarm(LONGEST_SECONDS)
    started = time.perf_counter()
    threads = use_cores(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="proponent-web-") as folder:
        found = measure(arguments, Path(folder))
    found |= {"threads": threads, "seconds": round(time.perf_counter() - started, 1)}
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)


if __name__ == "__main__":
    main()
