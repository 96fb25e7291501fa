"""Asking in a real browser: with and without JavaScript, over a restart of the server, and for everybody."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from tests.app.example_catalogue import fill, open_empty
from tests.app.fake_worker import FakeWorker, add_tokenizer
from tests.browser.conftest import Watch, serving, watched

pytestmark = pytest.mark.browser
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("asked")
    engine = open_empty(made)
    fill(engine, methods=("trackstar", "bm25"))
    engine.dispose()
    add_tokenizer(made)
    return made


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[str]:
    with serving(home) as address:
        yield address


@pytest.fixture
def engine(home: Path) -> Iterator[Engine]:
    made = open_empty(home)
    yield made
    made.dispose()


@pytest.fixture
def worker(engine: Engine) -> Iterator[FakeWorker]:
    made = FakeWorker(engine)
    made.work()  # what an earlier test left
    yield made
    made.leave()


def start(page: Page, address: str, prompt: str, completion: str | None, *, bm25: bool = True) -> None:
    """Fill the form in as a reader does, and ask."""
    page.goto(address)
    page.get_by_role("link", name="Ask", exact=True).click()
    page.get_by_label("Prompt", exact=True).fill(prompt)
    if completion is None:
        page.get_by_label("Let the model complete").check()
    else:
        page.get_by_label("My own completion, the text").fill(completion)
    if bm25:
        page.get_by_label("BM25").check()
    page.get_by_role("button", name="Ask").click()


def faults(watch: Watch, *expected: str) -> list[str]:
    """Faults but those that are expected; a stream that the page itself has closed is none."""
    known = (*expected, "/events")
    return [fault for fault in watch.faults if not any(part in fault for part in known)]


def test_the_whole_way_without_javascript(browser: Browser, served: str, worker: FakeWorker) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 800})
    page = context.new_page()
    watch = watched(page)
    start(page, served, "", " Lima")
    expect(page.locator("#prompt-fault")).to_contain_text("The prompt is empty.")
    expect(page.get_by_label("My own completion, the text")).to_have_value(" Lima")
    page.get_by_label("Prompt", exact=True).fill("Without a script, the capital of Peru is")
    page.get_by_label("Let the model complete").check()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".headline")).to_have_text("Your question waits")
    jobs = worker.claim()
    worker.at(jobs, "completing", 0.5)
    expect(page.locator(".job-stage")).to_contain_text("the model completes the prompt", timeout=10_000)
    worker.finish(jobs[0])
    page.get_by_label("Cusco").check(timeout=10_000)
    page.get_by_role("button", name="Find its passages").click()
    expect(page.locator("h1")).to_contain_text("<b>Cusco</b>")
    worker.work()
    expect(page.locator(".column")).to_have_count(2, timeout=10_000)
    expect(page).to_have_url(re.compile(r"/r/trackstar-[0-9a-f]+\+bm25-[0-9a-f]+/q-[0-9a-f]{16}$"))
    answer = page.url
    page.get_by_role("button", name="Measure tail-patch of BM25").click()
    worker.work()
    expect(page.get_by_text("Mean of this list’s first 10")).to_be_visible(timeout=10_000)
    page.get_by_role("link", name="your questions").click()
    expect(page.locator(".rows > li")).to_have_count(3)
    page.locator(".row-link").nth(1).click()
    expect(page).to_have_url(answer)
    page.get_by_role("link", name="Ask about a variation").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Without a script, the capital of Peru is")
    page.get_by_role("button", name="dark").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("Without a script, the capital of Peru is")
    context.close()
    assert faults(watch, "status of 422") == []


def test_the_page_follows_and_arrives(browser: Browser, served: str, worker: FakeWorker) -> None:
    page = browser.new_page()
    watch = watched(page)
    start(page, served, "Followed, the capital of Peru is", " Lima")
    page.evaluate("window.stayed = true")
    jobs = worker.claim()
    for share in (0.25, 0.75):
        worker.at(jobs, "scan", share)
        expect(page.locator(".job progress")).to_have_attribute("value", f"{share:.3f}")
    assert page.evaluate("window.stayed") is True, "without loading again"
    for job in jobs:
        worker.finish(job)
    worker.work()
    expect(page).to_have_url(re.compile("/r/trackstar"))
    page.go_back()
    expect(page).not_to_have_url(re.compile("/jobs/"))
    page.close()
    assert faults(watch) == []


def test_completions_come_by_themselves(browser: Browser, served: str, worker: FakeWorker) -> None:
    page = browser.new_page()
    watch = watched(page)
    start(page, served, "By itself, the capital of Peru is", None)
    worker.work()
    page.get_by_label("Cusco").check()
    page.get_by_label("Or one of your own").fill(" Arequipa")
    page.get_by_role("button", name="Find its passages").click()
    expect(page.locator("h1")).to_contain_text("Arequipa")
    worker.work()
    expect(page).to_have_url(re.compile("/r/trackstar"))
    page.close()
    assert faults(watch) == []


def test_tokens_are_counted_while_typing(browser: Browser, served: str) -> None:
    page = browser.new_page()
    watch = watched(page)
    page.goto(f"{served}/ask")
    expect(page.locator("#tokens")).to_contain_text("1 of 64 tokens")
    page.get_by_label("Prompt", exact=True).press_sequentially("zq zq zq")
    expect(page.locator("#tokens")).to_contain_text(re.compile(r"[5-9] of 64 tokens"))
    page.get_by_label("Prompt", exact=True).fill("zq " * 80)
    expect(page.locator("#tokens")).to_contain_text("the model takes 64")
    page.get_by_label("Prompt", exact=True).fill("zq")
    page.get_by_label("Let the model complete").check()
    expect(page.locator("#tokens")).to_contain_text("the completion not counted")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("zq")
    page.close()
    assert faults(watch) == []


def test_the_first_fault_has_the_focus(browser: Browser, served: str) -> None:
    page = browser.new_page()
    page.goto(f"{served}/ask?prompt=x&completion=+y")
    page.get_by_label("Passages to show").fill("0")
    page.get_by_label("TrackStar", exact=True).uncheck()
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_label("TrackStar", exact=True)).to_be_focused()
    page.get_by_role("link", name="The number of passages must be").click()
    expect(page).to_have_url(re.compile("#k$"))
    expect(page.get_by_label("Passages to show")).to_have_value("0")
    page.close()


def test_a_restart_of_the_server_breaks_nothing(browser: Browser, home: Path, worker: FakeWorker) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = browser.new_page()
    watch = watched(page)
    with serving(home, port) as address:
        start(page, address, "Over a restart, the capital of Peru is", " Lima")
        jobs = worker.claim()
        worker.at(jobs, "scan", 0.25)
        expect(page.locator(".job progress")).to_have_attribute("value", "0.250")
        page.evaluate("window.stayed = true")
    worker.at(jobs, "scan", 0.5)
    page.wait_for_timeout(800)
    expect(page.locator(".job progress")).to_have_attribute("value", "0.250")
    with serving(home, port):
        expect(page.locator(".job progress")).to_have_attribute("value", "0.500", timeout=15_000)
        assert page.evaluate("window.stayed") is True
        for job in jobs:
            worker.finish(job)
        worker.work()
        expect(page).to_have_url(re.compile("/r/trackstar"), timeout=15_000)
        page.close()
    assert faults(watch, "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "htmx:sse:error") == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing(browser: Browser, served: str, worker: FakeWorker, scheme: Any, width: int) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    found: list[str] = []

    def check(what: str) -> None:
        page.evaluate(AXE.read_text())
        report = page.evaluate("options => axe.run(document, options)", OPTIONS)
        found.extend(
            f"{what}: {violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in report["violations"]
            for node in violation["nodes"]
        )
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{what} is wider than {width} px"
        expect(page.locator("h1")).to_have_count(1)

    name = f"{scheme} {width}"
    page.goto(f"{served}/questions")
    check("no questions")
    page.goto(f"{served}/ask?by=model&prompt={name} is")
    check("form")
    page.get_by_label("Passages to show").fill("0")
    page.get_by_label("Samples").fill("99")
    page.get_by_label("TrackStar", exact=True).uncheck()
    page.get_by_role("button", name="Ask").click()
    check("form with faults")
    worker.leave()
    start(page, served, f"{name} is", None)
    expect(page.locator(".pinned")).to_contain_text("No worker is running")
    check("waiting for a worker")
    again = FakeWorker(worker.engine)
    jobs = again.claim()
    again.at(jobs, "completing", 0.4)
    expect(page.locator(".job progress")).to_be_visible()
    check("at work")
    again.finish(jobs[0])
    expect(page.get_by_role("button", name="Find its passages")).to_be_visible()
    check("completions")
    page.get_by_role("button", name="Find its passages").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".headline")).to_contain_text("cancelled")
    check("cancelled")
    start(page, served, f"{name} failed", " x")
    again.fail(again.claim()[0], "The store is gone.")
    again.work()
    expect(page.locator(".headline")).to_contain_text("Part of")
    check("failed in part")
    page.get_by_role("link", name="See the passages").click()
    page.get_by_role("button", name="Measure tail-patch of BM25").click()
    again.work()
    expect(page.get_by_text("Mean of this list’s first 10")).to_be_visible()
    check("asked prompt")
    page.goto(f"{served}/questions")
    check("questions")
    again.leave()
    context.close()
    assert found == []
