"""axe-core finds nothing to mend on any kind of page, in both themes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser

from tests.app.addresses import HTML

pytestmark = pytest.mark.browser
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PAGES = (*HTML, "/nothing/here", "/dev/patterns", "/prompts?bucket=5")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, address: str, scheme: Any) -> None:
    found: list[str] = []
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    for url in PAGES:
        page.goto(address + url)
        page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
        page.evaluate(AXE.read_text())  # past the policy, which lets no script tag in
        report = page.evaluate("options => axe.run(document, options)", OPTIONS)
        found += [
            f"{url}: {violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in report["violations"]
            for node in violation["nodes"]
        ]
    context.close()
    assert found == []
