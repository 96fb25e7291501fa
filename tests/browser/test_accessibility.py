"""axe-core finds nothing to mend on any kind of page, in both themes, for readers and for those who have signed in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.app.addresses import BY_ROLE, HTML, SIGNED_IN
from tests.app.example_annotations import token_of

pytestmark = pytest.mark.browser
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
ALL_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What a theme can change."""

RULES: dict[str, dict[str, Any]] = {"light": ALL_RULES, "dark": COLOURS}
PAGES = (*HTML, "/nothing/here", "/dev/patterns", "/prompts?bucket=5")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: Any) -> None:
    context = new_context(browser, scheme)
    found = faults_of(context, address, one_of_each(PAGES), RULES[scheme])
    context.close()
    assert found == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_for_those_who_have_signed_in(
    browser: Browser, address: str, browsed_home: Path, scheme: Any
) -> None:
    found: list[str] = []
    for role in sorted(set(SIGNED_IN.values())):
        pages = one_of_each(url for url, least in SIGNED_IN.items() if least == role)
        context = new_context(browser, scheme, token_of(browsed_home, BY_ROLE[role]))
        found += faults_of(context, address, pages, RULES[scheme])
        context.close()
    assert found == []


def one_of_each(urls: Iterable[str]) -> list[str]:
    """Of addresses that differ in their parameters alone the one with the most: it shows most."""
    longest: dict[str, str] = {}
    for url in urls:
        path = url.partition("?")[0]
        longest[path] = max(longest.get(path, ""), url, key=len)
    return list(longest.values())


def new_context(browser: Browser, scheme: Any, headers: dict[str, str] | None = None) -> BrowserContext:
    return browser.new_context(
        color_scheme=scheme,
        viewport={"width": 1280, "height": 900},
        reduced_motion="reduce",
        extra_http_headers=headers or {},
    )


def faults_of(context: BrowserContext, address: str, urls: Any, rules: dict[str, Any]) -> list[str]:
    """What axe finds on some pages, all of their details opened."""
    found: list[str] = []
    page = context.new_page()
    for url in urls:
        answer = page.goto(address + url)
        assert answer is not None
        assert answer.status == (404 if url == "/nothing/here" else 200) or url == "/prompts?bucket=5", url
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        page.evaluate(AXE.read_text())  # past the policy, which lets no script tag in
        report = page.evaluate("options => axe.run(document, options)", rules)
        found += [
            f"{url}: {violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in report["violations"]
            for node in violation["nodes"]
        ]
    return found
