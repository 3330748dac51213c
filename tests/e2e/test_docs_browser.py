"""/docs in a browser: Swagger UI renders every route under the page's policy, and asks nothing of anybody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operators
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from tests.e2e.browser import Browser, open_browser, require_chromium
from tests.unit.api.conftest import TOKEN, FakeDesk, FixedClock
from tests.unit.api.test_server import open_serving

SHOWN = "document.querySelectorAll('.opblock').length"


@pytest.fixture
def desk() -> FakeDesk:
    clock = FixedClock()
    return FakeDesk(Board(clock), Incidents(clock))


async def test_docs_show_every_route_and_try_one_out_from_local_assets_only(desk: FakeDesk, tmp_path: Path) -> None:
    require_chromium()
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)))
    routes = sum(len(each) for each in app.extensions["QUART_SCHEMA"].openapi_provider.schema()["paths"].values())
    async with open_serving(app, seconds=100) as serving:
        await trio.to_thread.run_sync(look, serving.url, routes, tmp_path)
    assert desk.heard == ["hold", "apply by api"]


def look(url: str, routes: int, folder: Path) -> None:
    with open_browser(folder / "profile") as browser:
        browser.resize(1200, 900)
        browser.ask("Page.navigate", url=f"{url}/docs")
        browser.wait(f"{SHOWN} === {routes}")
        hold_by_hand(browser)
        shots = os.environ.get("REPORT_SHOTS")
        browser.photograph((Path(shots) if shots else folder) / "docs.png")
        assert browser.requests
        assert all(each.startswith((url, "data:")) for each in browser.requests), browser.requests
        assert browser.complaints == []


def hold_by_hand(browser: Browser) -> None:
    """What a person does on the page: give the token, open PATCH, send its example, read the answer."""
    click(browser, ".btn.authorize")
    browser.wait("document.querySelector('.auth-container input') !== null")
    browser.evaluate(f"""(() => {{
        const input = document.querySelector('.auth-container input');
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, '{TOKEN}');
        input.dispatchEvent(new Event('input', {{bubbles: true}}));
    }})()""")
    click(browser, ".auth-btn-wrapper .authorize")
    click(browser, ".auth-btn-wrapper .btn-done")
    click(browser, ".opblock-patch .opblock-summary-control")
    click(browser, ".opblock-patch .try-out__btn")
    click(browser, ".opblock-patch .execute")
    browser.wait("document.querySelector('.opblock-patch .live-responses-table .response-col_status') !== null")
    status = browser.evaluate(
        "document.querySelector('.opblock-patch .live-responses-table tbody .response-col_status').innerText"
    )
    assert status.strip().startswith("200"), status


def click(browser: Browser, what: str) -> None:
    browser.wait(f"document.querySelector({what!r}) !== null")
    browser.evaluate(f"document.querySelector({what!r}).click()")
