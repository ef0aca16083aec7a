"""The example with a page, ``examples/live_page.py``, as its user sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

Start = Callable[..., Any]
PROGRAM = str(Path(__file__).parents[2] / "examples" / "live_page.py")

pytestmark = pytest.mark.limit(60)

#: From a page's own script: tries to get in with this token.
ATTEMPT = """async ([url, token]) => {
    const { connect } = await import("/tractor.js");
    return connect(url, { token }).then((t) => t.close().then(() => "connected"), (error) => error.name);
}"""
SESSION_TOKEN = "async () => (await (await fetch('/session')).json()).token"


@pytest.fixture
def visit(browser: Browser) -> Callable[[str], Page]:
    def visit(url: str) -> Page:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.set_default_timeout(15_000)
        page.goto(url)
        return page

    return visit


def received(page: Page) -> int:
    return int(page.locator("#received").inner_text().partition(" ")[0])


def wait_for_more(page: Page, more: int = 20) -> None:
    """Until so many further values have been drawn."""
    page.wait_for_function(
        "least => parseInt(document.getElementById('received').textContent) >= least",
        arg=received(page) + more,
    )


def status(page: Page) -> Any:
    return expect(page.locator("#status"))


def newest(page: Page) -> Any:
    return expect(page.locator("#log li").first)


def actors(url: str) -> str:
    return f"{url.replace('http', 'ws')}/actors"


def test_it_shows_what_the_actors_stream(start: Start, visit: Callable[[str], Page]) -> None:
    page = visit(start(PROGRAM, "0").url)
    status(page).to_have_text("connected to hub")
    wait_for_more(page)
    expect(page.locator("#chart polyline")).to_have_count(3)
    expect(page.locator("#legend div")).to_have_count(3)
    for text in page.locator("#legend strong").all_inner_texts():
        assert re.fullmatch(r"\d+\.\d\d", text)


def test_its_buttons(start: Start, visit: Callable[[str], Page]) -> None:
    page = visit(start(PROGRAM, "0").url)
    page.select_option("#grain", "rye")
    page.click("#quote")
    newest(page).to_contain_text(re.compile(r"rye: \d+\.\d\d"))

    page.click("#inspect")
    newest(page).to_contain_text("live_market.NoSuchGrain")
    newest(page).to_contain_text("the silo was last inspected in spring")
    newest(page).to_contain_text("rye → hub → this page")

    page.click("#end")
    newest(page).to_contain_text("CancelRefused")

    before = float(page.locator("#legend strong").last.inner_text())
    for _ in range(3):
        page.click("#shock")
    page.wait_for_function(
        "most => parseFloat(document.querySelector('#legend div:last-child strong').textContent) < most",
        arg=0.93 * before,
    )

    page.click("#cancel")
    newest(page).to_contain_text("Stream cancelled")
    expect(page.locator("#cancel")).to_be_disabled()
    at_the_end = received(page)
    page.click("#quote")
    newest(page).to_contain_text("rye: ")
    assert received(page) == at_the_end

    page.click("#watch")
    wait_for_more(page)


def test_a_killed_service_and_its_successor(start: Start, visit: Callable[[str], Page]) -> None:
    service = start(PROGRAM, "0")
    page = visit(service.url)
    wait_for_more(page)
    service.kill()
    expect(page.locator("#log")).to_contain_text("Connection closed")
    status(page).to_have_text(re.compile(r"next attempt in [\d.]+ s"))
    expect(page.locator("#quote")).to_be_disabled()

    start(PROGRAM, service.url.rpartition(":")[2])
    status(page).to_have_text("reconnected to hub")
    newest(page).to_contain_text("Reconnected")
    wait_for_more(page)


def test_who_is_refused_disturbs_nobody(
    start: Start, visit: Callable[[str], Page], open_page: Callable[..., Page]
) -> None:
    url = start(PROGRAM, "0").url
    page, other = visit(url), visit(url)
    wait_for_more(page)
    token = other.evaluate(SESSION_TOKEN)

    foreign = open_page()
    assert foreign.evaluate(ATTEMPT, [actors(url), token]) == "TransportClosed"
    wait_for_more(page)
    assert other.evaluate(ATTEMPT, [actors(url), "the-token-of-somebody-else"]) == "AuthenticationFailed"
    wait_for_more(page)
    other.click("#end")
    newest(other).to_contain_text("CancelRefused")
    wait_for_more(page)
    assert other.evaluate(ATTEMPT, [actors(url), token]) == "connected"
