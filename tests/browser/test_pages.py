"""Pages in a real browser: without faults in both themes and at both widths, with and without JavaScript."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.app.addresses import HTML, TRACKSTAR, WITHOUT
from tests.app.example_catalogue import add_stages, open_empty
from tests.app.example_text import HOSTILE
from tests.browser.conftest import serving, watched

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("javascript", [True, False])
def test_every_page_is_sound(browser: Browser, address: str, javascript: bool, scheme: str, width: int) -> None:
    context = browser.new_context(
        java_script_enabled=javascript,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},  # type: ignore[arg-type]
    )
    page = context.new_page()
    watch = watched(page)
    for url in HTML:
        page.goto(address + url, wait_until="load")
        expect(page.locator("h1")).to_have_count(1)
        body = page.locator("body").bounding_box()
        assert body is not None
        if javascript:
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{url} is wider than {width} px"
    context.close()
    assert watch.faults == []
    assert not [url for url in watch.requests if not url.startswith(address)]


@pytest.mark.parametrize("javascript", [True, False])
def test_hostile_text_stays_text(browser: Browser, address: str, javascript: bool) -> None:
    context = browser.new_context(java_script_enabled=javascript)
    page = context.new_page()
    watch = watched(page)
    urls = [f"/prompts/hostile-{number}?k=25" for number in range(len(HOSTILE))]
    urls += [f"/passages/hostile/{number}" for number in range(len(HOSTILE))]
    urls += ["/prompts?task=facts&limit=200", "/", f"/r/{TRACKSTAR}/hostile-0?side=opponents"]
    urls += ["/comparisons", f"/comparisons/{WITHOUT}"]
    urls += [f"/prompts?{name}={quote(text)}" for text in HOSTILE for name in ("q", "relation")]
    for url in urls:
        page.goto(address + url, wait_until="load")
        for summary in reversed(page.locator("details:not([open]) > summary:visible").all()[:3]):
            summary.click()
        page.wait_for_timeout(50)
    page.goto(f"{address}/passages/hostile/0")
    expect(page.locator("blockquote.full")).to_have_text(f"Beware {HOSTILE[0]} here")
    context.close()
    assert not [url for url in watch.requests if "/trap" in urlsplit(url).path]
    assert watch.faults == []


def test_filters_change_only_the_list(browser: Browser, address: str) -> None:
    page = browser.new_page()
    watch = watched(page)
    page.goto(f"{address}/prompts")
    page.evaluate("window.stayed = true")
    page.get_by_label("Task").select_option("arithmetic")
    expect(page.locator(".result-line strong")).to_have_text("20 prompts")
    expect(page).to_have_url(f"{address}/prompts?task=arithmetic")
    assert page.evaluate("window.stayed") is True
    page.go_back()
    expect(page.locator(".result-line strong")).to_have_text("134 prompts")
    expect(page).to_have_url(f"{address}/prompts")
    page.close()
    assert watch.faults == []


def test_reading_without_javascript(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    page.get_by_role("link", name="Facts").click()
    page.get_by_label("Relation").select_option("capital")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("link", name=re.compile("The capital of Peru")).click()
    expect(page.locator(".column")).to_have_count(2)
    page.get_by_text("Compare with").click()
    page.get_by_role("link", name="Random", exact=True).click()
    expect(page.locator(".column")).to_have_count(3)
    page.get_by_role("link", name="Opponents").click()
    expect(page.locator(".columns.opponents")).to_have_count(1)
    page.get_by_role("link", name="Open passage").first.click()
    expect(page.locator("blockquote.full")).to_be_visible()
    page.get_by_role("button", name="dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator("blockquote.full")).to_be_visible()
    context.close()


def test_progress_follows_the_work(browser: Browser, tmp_path: Path) -> None:
    engine = open_empty(tmp_path)
    add_stages(engine, {"Corpus": "done", "Training": "running", "Ranking": "waiting"})
    with serving(tmp_path) as address:
        page = browser.new_page()
        watch = watched(page)
        page.goto(address)
        expect(page.locator(".stages .running")).to_contain_text("Training")
        add_stages(engine, {"Corpus": "done", "Training": "done", "Ranking": "running"})
        expect(page.locator(".stages .running")).to_contain_text("Ranking")
        add_stages(engine, {"Corpus": "done", "Training": "done", "Ranking": "done"})
        expect(page.locator(".progress")).to_have_count(0)
        page.close()
    engine.dispose()
    assert watch.faults == []


def test_keyboard_reaches_the_content_first(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}/prompts")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.close()
