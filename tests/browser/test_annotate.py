"""Judging by keyboard alone, with and without JavaScript, alone and two at a time; nothing typed is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import Engine, func, select

from backend.accounts.audit import COMMAND_LINE, Actor
from backend.accounts.roles import Role
from backend.accounts.users import add_user
from backend.annotations.pools import PoolPlan, make_pool
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Annotation, PoolItem, User
from backend.catalogue.prompt_lists import PromptFilter
from tests.app.example_catalogue import fill, open_empty
from tests.browser.conftest import serving, watched

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
WHO = ("ada", "ben", "cleo", "dan")


class Site:
    """A server with annotators and a pool of at least 30 items."""

    def __init__(self, engine: Engine, address: str) -> None:
        self.engine, self.address = engine, address
        with write_session(engine) as session:
            ada = add_user(session, COMMAND_LINE, "ada", Role.CURATOR, PASSWORD)
            session.flush()
            for name in WHO[1:]:  # one hash for all: making one takes a while
                user = add_user(session, COMMAND_LINE, name, Role.ANNOTATOR, None)
                user.password_hash = ada.password_hash
            plan = PoolPlan(
                name="<b>Thirty</b>",
                guidelines="Read <img src=x> first.",
                run_ids=("trackstar-abc000000000", "bm25-abc000000001"),
                depth=6,
                target=3,
                seed=1,
                wanted=PromptFilter(task="facts"),
                asked={},
                amount=12,
            )
            self.pool = make_pool(session, Actor("ada", ada.id), plan).id

    def judged(self, name: str) -> list[tuple[str, str]]:
        """(label, note) of an annotator's standing judgements, the first first."""
        with read_session(self.engine) as session:
            wanted = select(Annotation.label, Annotation.note).join(User, User.id == Annotation.user_id)
            wanted = wanted.where(User.name == name, Annotation.deleted_at.is_(None))
            return [(label, note) for label, note in session.execute(wanted.order_by(Annotation.created_at))]

    def items(self) -> int:
        with read_session(self.engine) as session:
            return session.scalar(select(func.count(PoolItem.pk))) or 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home: Path = tmp_path_factory.mktemp("judged")
    engine = open_empty(home)
    fill(engine, methods=("trackstar", "bm25"))
    with serving(home) as address:
        yield Site(engine, address)
    engine.dispose()


def signed_in(browser: Browser, site: Site, name: str, *, javascript: bool = True) -> BrowserContext:
    context = browser.new_context(java_script_enabled=javascript, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{site.address}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.close()
    return context


def tab_to(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until something has the focus, as somebody without a mouse does."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.locator(selector).evaluate("element => element === document.activeElement"):
            return
    pytest.fail(f"Tab does not reach {selector}")


def test_a_blind_session_of_thirty_by_keyboard(browser: Browser, site: Site) -> None:
    assert site.items() >= 30
    context = signed_in(browser, site, "ada")
    page = context.new_page()
    watch = watched(page)
    page.goto(f"{site.address}/annotate/pools/{site.pool}")
    expect(page.locator("#item")).not_to_contain_text(re.compile("trackstar|bm25|score|rank ", re.I))
    expect(page.locator(".crumbs")).to_contain_text("<b>Thirty</b>")
    expect(page.locator(".guidelines")).to_contain_text("<img src=x>")
    seen = set()
    for number in range(30):
        expect(page.locator(".progress-line")).to_contain_text(f"You: {number} of")
        seen.add((page.locator(".claim").inner_text(), page.locator("blockquote.passage").inner_text()))
        page.keyboard.press(str(1 + number % 7))
        if number == 3:
            page.keyboard.press("/")
            page.keyboard.type("3 = j k u")  # in a text, keys are letters
            page.keyboard.press("Control+Enter")
        else:
            page.keyboard.press("Enter")
    expect(page.locator(".progress-line")).to_contain_text("You: 30 of")
    assert page.url.endswith(f"/annotate/pools/{site.pool}")
    judged = site.judged("ada")
    assert len(judged) == len(seen) == 30
    assert [label for label, _ in judged[:7]] == [
        "states-fact",
        "prior-relation",
        "prior-entity",
        "prior-name",
        "template",
        "contradicts",
        "irrelevant",
    ]
    assert judged[3][1] == "3 = j k u"
    page.keyboard.press("u")
    expect(page.locator(".progress-line")).to_contain_text("You: 29 of")
    expect(page.locator("[name=label]:checked")).to_have_count(0)
    first = page.locator("h1").inner_text()
    page.keyboard.press("j")
    expect(page.locator("h1")).not_to_have_text(first)
    page.keyboard.press("k")
    expect(page.locator("h1")).to_have_text(first)
    page.keyboard.press("x")
    expect(page.locator(".progress-line")).to_contain_text("1 put aside")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("put the passage aside")
    assert len(site.judged("ada")) == 29
    context.close()
    assert watch.faults == []


def test_the_same_without_javascript(browser: Browser, site: Site) -> None:
    context = signed_in(browser, site, "ben", javascript=False)
    page = context.new_page()
    page.goto(f"{site.address}/annotate/pools/{site.pool}")
    for number in range(30):
        expect(page.locator(".progress-line")).to_contain_text(f"You: {number} of")
        page.keyboard.press("Tab")  # the skip link
        page.keyboard.press("Enter")
        tab_to(page, '[name=label][value="states-fact"]')
        for _ in range(number % 7):
            page.keyboard.press("ArrowDown")
        if not number % 7:
            page.keyboard.press("Space")
        page.keyboard.press("Enter")
    expect(page.locator(".progress-line")).to_contain_text("You: 30 of")
    assert [label for label, _ in site.judged("ben")][:3] == ["states-fact", "prior-relation", "prior-entity"]
    tab_to(page, "[data-undo]")
    page.keyboard.press("Enter")
    expect(page.locator(".progress-line")).to_contain_text("You: 29 of")
    tab_to(page, "[data-aside]")
    page.keyboard.press("Enter")
    expect(page.locator(".progress-line")).to_contain_text("1 put aside")
    context.close()


def test_two_at_once_and_a_lost_connection(browser: Browser, site: Site) -> None:
    contexts = [signed_in(browser, site, name) for name in ("cleo", "dan")]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        page.goto(f"{site.address}/annotate/pools/{site.pool}")
    for number in range(6):
        for page, key in zip(pages, "17", strict=True):
            expect(page.locator(".progress-line")).to_contain_text(f"You: {number} of")
            page.keyboard.press(key)
            page.keyboard.press("Enter")
    for page in pages:
        expect(page.locator(".progress-line")).to_contain_text("You: 6 of")
    assert site.judged("cleo") == [("states-fact", "")] * 6
    assert site.judged("dan") == [("irrelevant", "")] * 6

    page, context = pages[0], contexts[0]
    page.keyboard.press("2")
    page.keyboard.press("/")
    page.keyboard.type("an hour of thought")
    context.set_offline(True)
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-unreachable]")).to_contain_text("cannot be reached")
    expect(page.locator("[data-note]")).to_have_value("an hour of thought")
    context.set_offline(False)
    page.reload()
    expect(page.locator("[data-note]")).to_have_value("an hour of thought")
    expect(page.locator("[name=label]:checked")).to_have_value("prior-relation")
    page.locator("[data-note]").press("Control+Enter")
    expect(page.locator(".progress-line")).to_contain_text("You: 7 of")
    assert site.judged("cleo")[-1] == ("prior-relation", "an hour of thought")
    assert page.evaluate("Object.keys(localStorage)") == []
    page.keyboard.press("/")
    page.keyboard.type("half a thought")
    assert page.evaluate("Object.keys(localStorage)[0]").startswith("draft cleo/")  # nobody else's on a shared browser
    for context in contexts:
        context.close()


def test_in_place_on_a_card_with_the_selected_words(browser: Browser, site: Site) -> None:
    context = signed_in(browser, site, "ada")
    page = context.new_page()
    watch = watched(page)
    page.goto(f"{site.address}/prompts/capital-peru?methods=trackstar")
    card = page.locator("#trackstar-1")
    card.focus()
    page.keyboard.press("a")
    expect(card.locator("form.judgement")).to_be_visible()
    card.locator("blockquote.passage").evaluate("element => getSelection().selectAllChildren(element)")
    page.keyboard.press("s")
    expect(card.locator("[name=quote]")).not_to_have_value("")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    expect(card.locator(".said")).to_contain_text("states the fact")
    with read_session(site.engine) as session:
        made = session.scalars(select(Annotation).where(Annotation.pool_id.is_(None))).one()
        assert made.span is not None
        assert made.span["quote"] == "Lima is the capital of Peru."
    card.get_by_role("button", name="Delete").click()
    expect(card.locator(".judged")).to_contain_text("was deleted")
    card.get_by_role("button", name="Bring it back").click()
    expect(card.locator(".said")).to_contain_text("states the fact")
    page.reload()
    expect(card.locator(".said")).to_contain_text("states the fact")
    context.close()
    assert watch.faults == []
