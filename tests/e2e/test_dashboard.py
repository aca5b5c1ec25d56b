"""The dashboard in a real Chromium, served by the real app on loopback.

Without Chromium these tests are skipped, or fail with AFTERCALL_REQUIRE_BROWSER=1.
"""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, ConsoleMessage, Page, expect
from sqlalchemy import insert, update

from app.accounts.access import Access
from app.calls import accounts
from app.calls.ledger import open_ledger
from app.calls.model import Call, Outcome, Source, Stage
from app.clock import SystemClock
from app.db.engine import Database
from app.db.tables import credentials, sweeps
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.enrichment.sweeps import rows as sweep_rows
from app.main import create_app
from app.process import Role
from app.settings import Settings
from tests.conftest import SECRETS
from tests.factories_calls import ACCOUNT, seed_call, seed_note

WIDTHS = (1280, 390)
CUSTOMER_MASKED = "+1 555 ••• 9001"
CLOCK = SystemClock()

pytestmark = pytest.mark.asyncio(loop_scope="session")  # that of the browser
expect.set_options(timeout=30_000)  # a page whose service has little processor time looks less often


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, and its database to change calls in, as another process would."""

    url: str
    database_url: str


@contextmanager
def running(settings: Settings, port: int = 0) -> Iterator[str]:
    """Serve the app in a thread of its own, on loopback; port 0 takes a free one."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()  # who comes before the app is ready waits
        app = create_app(settings, role=Role.WEB)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", lifespan="on", timeout_graceful_shutdown=1, ws="none")
        )
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            app.state.services.stopping.set()
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture
def service(sqlite_url: str, make_settings: Any) -> Iterator[Service]:
    """A service meant for this machine, with one database file."""
    with running(make_settings(database_url=sqlite_url)) as url:
        yield Service(url, sqlite_url)


@pytest_asyncio.fixture(loop_scope="session")
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    opened = Database(sqlite_url)
    async with opened.write() as db:
        await accounts.open_unbound(db, CLOCK.now())
        await accounts.bind(db, ACCOUNT, CLOCK.now())
    yield opened
    await opened.close()


@asynccontextmanager
async def open_page(browser: Browser, **wanted: Any) -> AsyncIterator[Page]:
    """A page that must not complain on its console, nor ask another host for anything."""
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **wanted})
    page = await context.new_page()
    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if "127.0.0.1" in request.url or request.url.startswith("data:")
            else complaints.append(request.url)
        ),
    )
    yield page
    await context.close()
    assert complaints == []


async def seed_waiting(database: Database, **fields: Any) -> Call:
    ended_at = CLOCK.now() - timedelta(seconds=4)
    values: dict[str, Any] = {
        "stage": Stage.ENDED,
        "started_at": ended_at - timedelta(seconds=60),
        "ended_at": ended_at,
        "window_closes_at": ended_at + timedelta(seconds=120),
        "bootstrapped_at": None,
        "bootstrapped_by": None,
    }
    return await seed_call(database, **values | fields)


async def seed_history(database: Database) -> None:
    """An hour of calls: most found in time, one late, one absent, one going on."""
    now = CLOCK.now()
    for number in range(24):
        ended_at = now - timedelta(seconds=150 + number * 130)
        await seed_waiting(
            database,
            stage=Stage.FINAL,
            started_at=ended_at - timedelta(seconds=60),
            ended_at=ended_at,
            window_closes_at=ended_at + timedelta(seconds=120),
            bootstrapped_at=ended_at + timedelta(seconds=3 + number % 7),
            bootstrapped_by=Source.ACTIVE_CALLS if number else Source.CALL_LOG,
        )
    await seed_waiting(database, stage=Stage.ABSENT, absent_reason="never-logged")
    await seed_waiting(database, stage=Stage.LIVE, ended_at=None, window_closes_at=None)


async def find_record(database: Database, call: Call) -> None:
    """Move a call on as the poller does."""
    now = CLOCK.now()
    async with database.write() as db, open_ledger(db, ACCOUNT, now) as ledger:
        call.bootstrapped_at, call.bootstrapped_by = now, Source.ACTIVE_CALLS
        call.outcome = Outcome.VOICEMAIL
        ledger.move(call, Stage.BOOTSTRAPPED, "call.bootstrapped")


async def fits(page: Page) -> bool:
    """Whether there is nothing to scroll sideways."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_the_page_renders_and_fits(
    service: Service, database: Database, browser: Browser, width: int, scheme: Any
) -> None:
    await seed_history(database)
    await seed_waiting(database)
    async with open_page(browser, viewport={"width": width, "height": 900}, color_scheme=scheme) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        await expect(page.locator(".lane")).to_have_count(12)
        await expect(page.locator(".plot canvas")).to_have_count(2)
        await expect(page.locator(".wait")).to_have_count(1)
        assert await fits(page)
        painted = """canvas => new Uint32Array(
            canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer
        ).some(Boolean)"""
        for canvas in await page.locator(".plot canvas").all():
            assert await canvas.evaluate(painted)
        background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(12, 16, 20)") is (scheme == "dark")


@pytest.mark.parametrize("width", WIDTHS)
async def test_an_empty_service_says_what_to_do_first(
    service: Service, database: Database, browser: Browser, width: int
) -> None:
    async with open_page(browser, viewport={"width": width, "height": 900}) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.get_by_role("heading", name="No events yet")).to_be_visible()
        await expect(page.get_by_text("Add RingCentral credentials")).to_be_visible()
        assert await fits(page)


@pytest.mark.parametrize("width", WIDTHS)
async def test_what_is_missing_and_who_is_needed_is_seen_without_a_reload(
    service: Service, database: Database, browser: Browser, width: int
) -> None:
    now, hour = CLOCK.now(), timedelta(hours=1)
    async with open_page(browser, viewport={"width": width, "height": 900}) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        completeness, people = page.locator("#completeness"), page.locator("#accounts")
        await expect(completeness).to_contain_text("Nothing missing")
        await expect(completeness.get_by_text("Calls without a record")).to_be_hidden()
        await expect(completeness.get_by_text("Gaps, and what")).to_be_hidden()
        lost = await seed_waiting(database, stage=Stage.ABSENT, absent_reason="never-logged")
        async with database.write() as db:
            await gaps.note_gap(db, ACCOUNT, Reason.MISSING, now - hour, None, now, sweep_after=hour)
            await sweep_rows.open_backfill(db, ACCOUNT, now - hour * 48, now - hour * 24, now)
            await db.execute(
                update(sweeps).where(sweeps.c.reason == "backfill").values(cursor_at=now - hour * 36)
            )
            await accounts.add(db, ACCOUNT, now)
            refused = {"code": "CMN-408", "detail": "for want of ReadCallLog", "since": now.isoformat()}
            values = {"account_id": ACCOUNT, "name": "ext-1", "kind": "jwt", "updated_at": now}
            await db.execute(insert(credentials).values(**values, access=Access(problem=refused).to_json()))
        await expect(page.locator("[data-state=completeness]")).to_contain_text("No events")
        await expect(completeness.locator(".work").first).to_contain_text("The subscription was missing")
        await expect(completeness.locator(".work").nth(1)).to_contain_text("50 %")
        await expect(completeness.locator(".absentee")).to_contain_text(lost.session_id or "")
        await expect(people.locator(".todo").last).to_have_text("for want of ReadCallLog")
        await expect(page.locator("[data-problems]")).to_contain_text("account 908070001 · ext-1")
        assert await fits(page)
        await page.get_by_role("link", name="Completeness").click()
        await expect(completeness).to_be_in_viewport()


async def test_a_call_is_seen_to_end_and_to_be_found_without_a_reload(
    service: Service, database: Database, browser: Browser
) -> None:
    async with open_page(browser) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        await page.evaluate("window.sameDocument = true")
        call = await seed_waiting(database)
        lane = page.locator(f".lane[data-id={call.call_id}]")
        await expect(lane).to_have_attribute("data-tone", "waiting")
        await expect(lane).to_contain_text(CUSTOMER_MASKED)
        await expect(page.locator("h1")).to_contain_text("1 is being looked up")
        before = await lane.locator("[data-spot]").get_attribute("cx")
        await expect(lane.locator("[data-spot]")).not_to_have_attribute("cx", before or "")
        await find_record(database, call)
        await expect(lane).to_have_attribute("data-tone", "found")
        await expect(lane.locator("[data-part=outcome]")).to_have_text("Voicemail")
        await expect(page.locator("h1")).to_contain_text("Its record was found.")
        await expect(page.locator("[data-figure=found] .value")).to_have_text("100 %")
        await seed_note(database, call.call_id)
        await expect(lane.locator("[data-mark=notes]")).to_be_visible()
        assert await page.evaluate("window.sameDocument")


async def test_nothing_jumps_when_calls_come_in(
    service: Service, database: Database, browser: Browser
) -> None:
    async with open_page(browser) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        await page.evaluate("document.fonts.ready.then(() => true)")
        await page.evaluate(
            """() => {
                window.shift = 0;
                new PerformanceObserver((list) => {
                    for (const entry of list.getEntries()) window.shift += entry.value;
                }).observe({ type: "layout-shift" });
            }"""
        )
        charts = await page.locator(".charts").bounding_box()
        call = await seed_waiting(database)
        await seed_history(database)
        await expect(page.locator(".lane")).to_have_count(12)
        await find_record(database, call)
        await expect(page.locator(f".lane[data-id={call.call_id}]")).to_have_attribute("data-tone", "found")
        assert await page.locator(".charts").bounding_box() == charts
        assert await page.evaluate("window.shift") < 0.1


async def test_the_page_can_be_paused_by_keyboard(
    service: Service, database: Database, browser: Browser
) -> None:
    async with open_page(browser, reduced_motion="reduce") as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        pause = page.locator("[data-action=pause]")
        await page.keyboard.press("Tab")
        await expect(page.locator(".skip")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(pause).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(pause).to_have_attribute("aria-pressed", "true")
        await expect(page.locator("[data-link]")).to_have_text("Paused")
        call = await seed_waiting(database)
        await page.keyboard.press("Enter")
        await expect(page.locator(f".lane[data-id={call.call_id}]")).to_be_visible()


async def test_the_page_finds_back_to_a_service_that_was_restarted(
    sqlite_url: str, database: Database, browser: Browser, make_settings: Any
) -> None:
    settings = make_settings(database_url=sqlite_url)
    context = await browser.new_context()
    page = await context.new_page()
    with running(settings) as url:
        await page.goto(f"{url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        await page.evaluate("window.sameDocument = true")
    await expect(page.locator("[data-link]")).to_have_text("Reconnecting")
    call = await seed_waiting(database)
    with running(settings, urlsplit(url).port or 0):
        await expect(page.locator(f".lane[data-id={call.call_id}]")).to_be_visible()
        await expect(page.locator("[data-link]")).to_have_text("Live")
        assert await page.evaluate("window.sameDocument")
        await context.close()


async def test_over_the_network_one_signs_in_with_a_key_and_may_see_numbers(
    sqlite_url: str, database: Database, browser: Browser, make_settings: Any
) -> None:
    public = make_settings(database_url=sqlite_url, public_url="http://aftercall.test")
    call = await seed_waiting(database)
    with running(public) as url:
        async with open_page(browser) as page:
            await page.goto(f"{url}/dashboard")
            await expect(page).to_have_url(f"{url}/dashboard/sign-in")
            assert await fits(page)
            await page.get_by_label("API key").fill(SECRETS["api_key"])
            await page.get_by_role("button", name="Sign in").click()
            await expect(page).to_have_url(f"{url}/dashboard")
            lane = page.locator(f".lane[data-id={call.call_id}]")
            await expect(lane).to_contain_text(CUSTOMER_MASKED)
            await page.get_by_role("button", name="Show numbers").click()
            await expect(lane).to_contain_text("Dana Field +15550179001")
            await page.get_by_role("button", name="Sign out").click()
            await expect(page).to_have_url(f"{url}/dashboard/sign-in")


async def test_a_wrong_key_is_told_so(
    sqlite_url: str, database: Database, browser: Browser, make_settings: Any
) -> None:
    public = make_settings(database_url=sqlite_url, public_url="http://aftercall.test")
    context = await browser.new_context()
    page = await context.new_page()
    with running(public) as url:
        await page.goto(f"{url}/dashboard/sign-in")
        await page.get_by_label("API key").fill("ak_wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("key is invalid")
        await context.close()
