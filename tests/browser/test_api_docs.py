"""The API's page in a real browser: every operation is there, one can be tried, nothing comes from elsewhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from app.api.routes import description
from tests.browser.conftest import watched

pytestmark = pytest.mark.browser
ADDRESSES = list(description()["paths"])


def wide(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_every_operation_is_there_and_one_can_be_tried(browser: Browser, address: str, scheme: str, width: int) -> None:
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
    watch = watched(page)
    page.goto(f"{address}/docs")
    expect(page.locator(".opblock-get")).to_have_count(len(ADDRESSES))
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("#endpoints")).to_be_hidden()
    operation = page.locator("#operations-methods-getMethod")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("slug").fill("trackstar")
    operation.get_by_role("button", name="Execute").click()
    live = operation.locator(".live-responses-table")
    expect(live.locator(".response-col_status").last).to_contain_text("200")
    expect(live.locator(".highlight-code").first).to_contain_text('"title": "TrackStar"')
    for unfolded in ("#operations-prompts-listPrompts", "#operations-passages-getPassage"):
        page.locator(unfolded).get_by_role("button").first.click()
        expect(page.locator(unfolded).locator(".responses-table")).to_be_visible()
    page.get_by_role("button", name="Schemas").click()
    expect(page.get_by_text("RankedPassage").first).to_be_visible()
    assert wide(page) <= 0
    page.close()
    assert watch.faults == []
    assert [url for url in watch.requests if not url.startswith((address, "data:"))] == []
    assert f"{address}/api/v1/methods/trackstar" in watch.requests


def test_the_page_follows_the_theme(browser: Browser, address: str) -> None:
    context = browser.new_context(color_scheme="light")
    page = context.new_page()
    page.goto(f"{address}/docs")
    expect(page.locator("html")).not_to_have_class("dark-mode")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_class("dark-mode")
    page.get_by_role("button", name="light", exact=True).click()
    expect(page.locator(".opblock-get").first).to_be_visible()
    expect(page.locator("html")).not_to_have_class("dark-mode")
    context.close()


def test_a_link_opens_an_operation(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/docs#/runs/getRun")
    expect(page.locator("#operations-runs-getRun .opblock-body")).to_be_visible()
    page.close()


def test_the_list_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/docs")
    for path in ADDRESSES:
        expect(page.get_by_role("heading", name=f"GET {path}", exact=True)).to_be_visible()
    page.get_by_text("11 parameters").click()
    expect(page.get_by_text("Prompts of one task.", exact=True)).to_be_visible()
    page.get_by_role("link", name="OpenAPI 3.1").click()
    assert page.url == f"{address}/api/v1/openapi.json"
    context.close()
