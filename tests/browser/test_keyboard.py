"""The keyboard: the keys of the page, and that Tab alone reaches everything."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import watched

pytestmark = pytest.mark.browser
FOCUSED = "document.activeElement?.closest('.card')?.id ?? ''"


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.new_page(reduced_motion="reduce")


def ready(page: Page) -> None:
    """Wait for the page's script: a page that a click opened has its address before its keys."""
    expect(page.locator("[data-keys]")).to_be_visible()


def test_j_and_k_move_along_passages(page: Page, address: str) -> None:
    watch = watched(page)
    page.goto(f"{address}/prompts/capital-peru?methods=trackstar&copies=each")
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED) == "trackstar-1"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED) == "trackstar-3"
    expect(page.locator("#trackstar-3")).to_be_in_viewport()
    page.keyboard.press("k")
    assert page.evaluate(FOCUSED) == "trackstar-2"
    page.close()
    assert watch.faults == []


def test_n_and_p_move_along_the_list(page: Page, address: str) -> None:
    page.goto(f"{address}/prompts?task=arithmetic&sort=least-confident")
    page.locator(".row-link").first.click()
    expect(page).to_have_url(re.compile("/prompts/"))
    ready(page)
    first = page.url
    page.keyboard.press("n")
    expect(page).not_to_have_url(first)
    ready(page)
    assert page.url.endswith("?task=arithmetic&sort=least-confident")
    page.keyboard.press("p")
    expect(page).to_have_url(first)
    page.get_by_role("link", name="your list").click()
    expect(page).to_have_url(f"{address}/prompts?task=arithmetic&sort=least-confident")
    page.close()


def test_o_changes_sides(page: Page, address: str) -> None:
    page.goto(f"{address}/prompts/capital-peru")
    page.keyboard.press("o")
    expect(page.locator(".columns.opponents")).to_be_visible()
    ready(page)
    page.keyboard.press("o")
    expect(page.locator(".columns.proponents")).to_be_visible()
    page.close()


def test_slash_searches_and_question_mark_helps(page: Page, address: str) -> None:
    page.goto(f"{address}/prompts/capital-peru")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED) == "", "keys act on the dialog alone while it is open"
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("capital of jp ?o")
    expect(page.locator("#search")).to_have_value("capital of jp ?o")
    page.locator("#search").fill("capital of peru")
    page.keyboard.press("Enter")
    expect(page.locator(".result-line strong")).to_contain_text("prompt")
    expect(page).to_have_url(f"{address}/prompts?q=capital%20of%20peru")
    page.close()


def test_tab_reaches_every_link_and_control(page: Page, address: str) -> None:
    page.goto(f"{address}/prompts/capital-peru?methods=bm25")
    wanted = page.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
            .filter(e => e.checkVisibility() && !e.disabled).map((e, i) => (e.dataset.stop = i, i)).length"""
    )
    reached: set[str] = set()
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.stop ?? ''"))
    assert len(reached - {""}) == wanted
    page.close()


def test_the_permalink_is_copied(browser: Browser, address: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{address}/prompts/capital-peru")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.locator("#permalink").input_value()
    page.goto(link)
    expect(page.locator(".pinned")).to_be_visible()
    context.close()


def test_a_jump_focuses_its_card(page: Page, address: str) -> None:
    page.goto(f"{address}/prompts/capital-peru?methods=trackstar&copies=each#trackstar-5")
    assert page.evaluate(FOCUSED) == "trackstar-5"
    page.close()
