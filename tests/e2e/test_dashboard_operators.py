"""What operators look up on the dashboard, in a real Chromium: webhook endpoints, the audit, requests."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from app.api import keys
from app.api.usage.recent import RecentRequests
from app.audit import COMMAND, AuditAction, AuditOutcome, record
from app.audit.model import Actor, ActorKind
from app.calls.accounts import lock
from app.db.engine import Database
from app.db.tables import webhook_messages
from app.ids import UNBOUND_ACCOUNT, AccountId, new_id
from app.push.endpoints import store
from app.push.endpoints.model import Condition, Endpoint, EndpointKey, Rules
from tests.conftest import SECRETS
from tests.e2e.test_dashboard import (
    CLOCK,
    WIDTHS,
    Service,
    database,
    fits,
    open_page,
    service,
)
from tests.factories_calls import ACCOUNT

__all__ = ["database", "service"]

pytestmark = pytest.mark.asyncio(loop_scope="session")  # that of the browser

DAYS = timedelta(days=2, minutes=5)
"""Shown as `2 d 0 h`, however long the test takes."""

SECRET_PATH = "a-path-that-only-the-receiver-knows"


async def add_endpoint(database: Database, host: str, **condition: Any) -> EndpointKey:
    now = CLOCK.now()
    key = EndpointKey(ACCOUNT, new_id("whe", now))
    endpoint = Endpoint(
        key=key, url=f"https://{host}/{SECRET_PATH}", rules=Rules(), position=0, condition=Condition(),
        created_at=now, updated_at=now,
    )  # fmt: skip
    async with database.write() as db:
        await store.insert_endpoint(db, endpoint, b"sealed", None)
        if condition:
            await store.change_endpoint(db, key, **condition)
    return key


async def let_wait(database: Database, key: EndpointKey) -> None:
    """Let a message wait for an endpoint."""
    at = CLOCK.now() - DAYS
    row = {
        "account_id": key.account_id, "endpoint_id": key.endpoint_id, "seq": 1, "kind": "change",
        "message_id": "1-0", "call_id": "call_1", "type": "call.final", "due_at": at, "created_at": at,
    }  # fmt: skip
    async with database.write() as db:
        await db.execute(webhook_messages.insert().values(row))


@pytest.mark.parametrize("width", WIDTHS)
async def test_endpoints_are_seen_with_what_they_need_without_a_reload(
    service: Service, database: Database, browser: Browser, width: int
) -> None:
    now = CLOCK.now()
    async with open_page(browser, viewport={"width": width, "height": 900}) as page:
        await page.goto(f"{service.url}/dashboard")
        await expect(page.locator("[data-link]")).to_have_text("Live")
        section, lines = page.locator("#endpoints"), page.locator("[data-endpoints] > li")
        await expect(section).to_be_hidden()
        calm = await add_endpoint(database, "calm.example", last_success_at=now - DAYS)
        await expect(section.get_by_role("heading", name="Webhook endpoints")).to_be_visible()
        await expect(lines).to_have_count(1)
        await expect(lines.first).to_have_attribute("data-tone", "good")
        await expect(lines.first).to_contain_text("calm.example")
        await expect(lines.first).to_contain_text("last delivery 2 d 0 h")
        failing = await add_endpoint(database, "failing.example", failures=4, failing_since=now - DAYS)
        await let_wait(database, failing)
        gone = await add_endpoint(database, "gone.example", disabled_at=now, disabled_reason="gone")
        await expect(lines).to_have_count(3)
        hosts = ("gone.example", "failing.example", "calm.example")
        for place, (host, tone) in enumerate(zip(hosts, ("bad", "waiting", "good"), strict=True)):
            await expect(lines.nth(place).get_by_role("heading")).to_have_text(host)
            await expect(lines.nth(place)).to_have_attribute("data-tone", tone)
        await expect(lines.nth(0)).to_contain_text("disabled: it answered 410 Gone")
        await expect(lines.nth(1)).to_contain_text("failing for 2 d 0 h, 4 attempts")
        await expect(lines.nth(1)).to_contain_text("1 waiting, the oldest from 2 d 0 h")
        assert SECRET_PATH not in await page.content()
        assert await fits(page)
        async with database.write() as db:
            for key in (calm, failing, gone):
                assert await store.delete_endpoint(db, key)
        await expect(section).to_be_hidden()


async def seed_log(database: Database) -> str:
    """Two entries of the audit, and a key that has asked twice; return the id of the key."""
    now = CLOCK.now()
    async with database.write() as db:
        made = await keys.create_key(db, UNBOUND_ACCOUNT, "hubspot <b>", now, ["calls:read"])
        key_id = made.info.key_id
        created, refused = AuditAction.KEY_CREATED, AuditAction.ENDPOINT_DELETED
        await record(db, now - timedelta(hours=1), UNBOUND_ACCOUNT, created, COMMAND, target=key_id)
        nosy = Actor(ActorKind.API_KEY, key_id)
        await record(db, now, ACCOUNT, refused, nosy, outcome=AuditOutcome.REFUSED)
    recent = RecentRequests(database, CLOCK)
    told = {"method": "GET", "route": "/v1/calls/{call}", "milliseconds": 1234}
    for number, status in enumerate((200, 404)):
        recent.add((UNBOUND_ACCOUNT, key_id), {**told, "status": status, "request_id": f"req-{number}"})
    await recent.store()
    return key_id


@pytest.mark.parametrize("width", WIDTHS)
async def test_the_log_shows_the_audit_and_the_requests_of_a_key(
    service: Service, database: Database, browser: Browser, width: int
) -> None:
    key_id = await seed_log(database)
    async with open_page(browser, viewport={"width": width, "height": 900}) as page:
        await page.goto(f"{service.url}/dashboard")
        await page.get_by_role("link", name="Log").click()
        entries = page.locator("#audit tbody tr")
        texts = [await one.inner_text() for one in await entries.all()]
        places = [
            next(number for number, text in enumerate(texts) if word in text)
            for word in ("webhook-endpoint.deleted", "api-key.created\t" + key_id)
        ]
        assert places == sorted(places), "newest first"
        refused = entries.nth(places[0])
        await expect(refused).to_contain_text(key_id)
        await expect(refused.locator(".toned")).to_have_text("refused")
        await expect(refused).to_have_attribute("data-tone", "bad")
        await expect(page.locator("#requests")).to_have_count(0)
        assert await fits(page)
        await page.get_by_role("link", name="hubspot <b>").click()
        await expect(page.locator("#requests-title")).to_contain_text("Last requests of hubspot <b>")
        asked = page.locator("#requests tbody tr")
        await expect(asked).to_have_count(2)
        await expect(asked.filter(has_text="req-1")).to_contain_text("GET /v1/calls/{call}")
        await expect(asked.filter(has_text="req-1")).to_have_attribute("data-tone", "waiting")
        await expect(asked.filter(has_text="req-0")).to_contain_text("1,234 ms")
        assert await fits(page)
        await page.get_by_role("link", name="Calls").click()
        await expect(page.locator("[data-link]")).to_have_text("Live")


async def test_the_log_is_for_those_who_administer_the_service(
    service: Service, database: Database, browser: Browser
) -> None:
    now = CLOCK.now()
    async with database.write() as db:
        await lock(db, AccountId("908070002"), now)
        reader = (await keys.create_key(db, UNBOUND_ACCOUNT, "reader", now, ["calls:read"])).plain
        other = (await keys.create_key(db, AccountId("908070002"), "admin", now)).plain
    for plain, is_shown in ((reader, False), (other, False), (SECRETS["api_key"], True)):
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{service.url}/dashboard/sign-in")
        await page.get_by_label("API key").fill(plain)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        await expect(page.get_by_role("link", name="Log")).to_have_count(int(is_shown))
        answer = await page.goto(f"{service.url}/dashboard/log")
        assert answer is not None
        assert answer.status == (200 if is_shown else 403)
        await expect(page.locator("#audit")).to_have_count(int(is_shown))
        await context.close()
