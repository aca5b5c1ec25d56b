"""The pages hold together in a real Chromium: nothing is cut off, overlaps or is too pale to read.

The states are hard ones: long names and numbers, many calls, none, troubles, a penalty, calls that a sweep
found.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect
from sqlalchemy import insert

from app.calls.model import Source, Stage
from app.db.engine import Database
from app.db.tables import rate_buckets, subscriptions, work
from app.enrichment import gaps
from app.enrichment.gaps import Reason
from app.ids import UNBOUND_ACCOUNT
from app.rate_limits.bucket_state import BucketState, RequestSlot
from app.ringcentral.ports import Priority
from tests.e2e.test_dashboard import (
    CLOCK,
    Service,
    database,
    fits,
    open_page,
    running,
    seed_history,
    seed_waiting,
    service,
)

__all__ = ["database", "service"]

pytestmark = pytest.mark.asyncio(loop_scope="session")  # that of the browser

WIDTHS = (1440, 1280, 1130, 1000, 768, 640, 390, 320)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
Seed = Callable[[Database], Awaitable[None]]


async def seed_nothing(database: Database) -> None:
    """An empty service."""


async def seed_long_words(database: Database) -> None:
    """Everything that is long: names, numbers, durations, sentiments, notes."""
    now = CLOCK.now()
    name = "Maximiliana-Alexandra von Hohenstein-Wittelsbach zu Schwarzenberg"
    for number in range(14):
        ended_at = now - timedelta(seconds=600 + number * 90)
        await seed_waiting(
            database,
            stage=Stage.FINAL,
            started_at=ended_at - timedelta(hours=3),
            ended_at=ended_at,
            window_closes_at=ended_at + timedelta(seconds=120),
            bootstrapped_at=ended_at + timedelta(seconds=(113, 86_000, 5400)[number % 3]),
            bootstrapped_by=Source.CALL_LOG,
            caller={"phoneNumber": "+4930555123456789012345", "name": name},
            callee={"extensionId": "1", "name": name},
            has_recording=True,
        )
    for _ in range(3):
        await seed_waiting(database, caller={"extensionId": "1", "name": name}, callee={"name": name})


async def seed_many(database: Database) -> None:
    """A busy hour, most of it swept, and calls of each colour."""
    await seed_history(database)
    now = CLOCK.now()
    for number in range(60):
        ended_at = now - timedelta(seconds=100 + number * 40)
        swept = number % 3 != 0
        await seed_waiting(
            database,
            stage=Stage.FINAL,
            ended_at=ended_at,
            started_at=ended_at - timedelta(seconds=60),
            window_closes_at=None if swept else ended_at + timedelta(seconds=120),
            bootstrapped_at=ended_at + timedelta(seconds=5.9),
            bootstrapped_by=Source.CALL_LOG if swept else Source.ACTIVE_CALLS,
            source=Source.SWEEP if swept else Source.WEBHOOK,
        )
    for _ in range(4):
        await seed_waiting(database)


async def seed_troubles(database: Database) -> None:
    """The subscription is lost and its renewal refused, RingCentral is away and answered 429 before."""
    now = CLOCK.now()
    await seed_many(database)
    slots = tuple(RequestSlot(number + 1, Priority.POLL, now, now) for number in range(3))
    state = BucketState(slots=slots, last_token=3, limit=10, penalty_until=now + timedelta(minutes=9))
    async with database.write() as db:
        row = {"account_id": UNBOUND_ACCOUNT, "filters": [], "address": "https://aftercall.test"}
        lost = {"status": "Missing", "expires_at": now + timedelta(days=6), "checked_at": now}
        await db.execute(insert(subscriptions).values(**row, **lost, subscription_id="1"))
        detail = "RingCentral answered 400: SUB-521. " + "RingCentral must reach AFTERCALL_PUBLIC_URL. " * 4
        problem = {"code": "SUB-521", "detail": detail, "since": now.isoformat()}
        keeper = {"account_id": UNBOUND_ACCOUNT, "kind": "subscription", "failures": 9}
        await db.execute(insert(work).values(**keeper, state={"problem": problem}))
        away = {"code": "unreachable-name", "detail": f"no answer from {'x' * 90}", "since": None}
        told = {"account_id": UNBOUND_ACCOUNT, "kind": "reach:1", "lease_until": now + timedelta(hours=1)}
        await db.execute(insert(work).values(**told, state={"problem": away}))
        bucket = {"account_id": UNBOUND_ACCOUNT, "bucket": "own:heavy", "state": state.to_json()}
        await db.execute(insert(rate_buckets).values(**bucket, updated_at=now, refused=1234, requests=99_999))
        since = now - timedelta(hours=30)
        await gaps.note_gap(db, UNBOUND_ACCOUNT, Reason.MISSING, since, None, now, sweep_after=timedelta(0))


SEEDS: tuple[Seed, ...] = (seed_nothing, seed_history, seed_long_words, seed_many, seed_troubles)

# Of everything that shows text: where it is, whether it is cut off, what colours it has.
MEASURE = """() => {
    const shown = (one) => one.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !one.closest(".visually-hidden, .skip, .symbols");
    const found = [];
    let number = 0;
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        number += 1;
        const node = walker.currentNode, parent = node.parentElement;
        if (!node.textContent.trim() || !parent || ["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT"].includes(parent.tagName) || !shown(parent)) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        const style = getComputedStyle(parent);
        let clip = parent;
        let [left, top, right, bottom] = [-Infinity, -Infinity, Infinity, Infinity];
        for (; clip && clip !== document.body; clip = clip.parentElement) {
            if (getComputedStyle(clip).overflow === "visible" || clip instanceof SVGElement) continue;
            const box = clip.getBoundingClientRect();
            [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
            [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
        }
        const mayEnd = style.textOverflow === "ellipsis" || parent.closest("[data-may-scroll]") !== null;
        for (const box of range.getClientRects()) {
            const one = {
                left: Math.max(box.left, left), right: Math.min(box.right, right), top: Math.max(box.top, top), bottom: Math.min(box.bottom, bottom),
            };
            if (one.right - one.left < 1 || one.bottom - one.top < 1) continue;
            const isCut = !mayEnd && (box.right > right + 1 || box.left < left - 1 || box.bottom > bottom + 3 || box.top < top - 3);
            found.push({ text: node.textContent.trim().slice(0, 60), ...one, isCut, number });
        }
    }
    return found;
}"""

CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
    const light = (rgb) => {
        const [r, g, b] = rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
        const layers = [];
        for (let one = element; one; one = one.parentElement) layers.push(rgba(getComputedStyle(one).backgroundColor));
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const opacity = (element) => {
        let all = 1;
        for (let one = element; one; one = one.parentElement) all *= Number(getComputedStyle(one).opacity);
        return all;
    };
    const poor = [];
    for (const element of document.querySelectorAll("body *")) {
        const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join(" ").trim();
        if (!text || !element.checkVisibility({ checkVisibilityCSS: true })) continue;
        if (["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT", "OPTION"].includes(element.tagName) || element.closest(".visually-hidden, .skip, .symbols, [disabled]")) continue;
        const style = getComputedStyle(element);
        const back = ground(element);
        const [r, g, b, a] = rgba(element instanceof SVGElement ? style.fill : style.color);
        const front = over([r, g, b, a * opacity(element)], back);
        const [high, low] = [light(front), light(back)].sort((one, other) => other - one);
        const ratio = (high + 0.05) / (low + 0.05);
        const size = parseFloat(style.fontSize);
        const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
        if (ratio < (isLarge ? 3 : 4.5)) poor.push(`${element.tagName}.${element.getAttribute("class")} "${text.slice(0, 40)}" ${ratio.toFixed(2)}`);
    }
    return [...new Set(poor)];
}"""

# What a chart writes is no element: note where it writes it.
NOTE_CANVAS_TEXT = """() => {
    window.written = new Map();
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y, ...more) {
        const size = this.measureText(text);
        const point = this.getTransform().transformPoint(new DOMPoint(x, y));
        if (!window.written.has(this.canvas)) window.written.set(this.canvas, new Map());
        window.written.get(this.canvas).set(`${text}@${Math.round(point.x)},${Math.round(point.y)}`, {
            text, left: point.x - size.actualBoundingBoxLeft, right: point.x + size.actualBoundingBoxRight,
            top: point.y - size.actualBoundingBoxAscent, bottom: point.y + size.actualBoundingBoxDescent,
        });
        return draw.call(this, text, x, y, ...more);
    };
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        window.written.get(this.canvas)?.clear();
        return clear.apply(this, box);
    };
}"""
READ_CANVAS_TEXT = """() => [...window.written].filter(([canvas]) => canvas.isConnected).map(([canvas, texts]) => ({
    width: canvas.width, height: canvas.height, texts: [...texts.values()],
}))"""


def overlaps(boxes: list[dict[str, Any]], slack: float = 2.0) -> list[str]:
    """Name the texts that lie on each other."""
    boxes = sorted(boxes, key=lambda box: float(box["top"]))
    found = []
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            if other["top"] >= one["bottom"] - slack:
                break
            if one.get("number") is not None and one.get("number") == other.get("number"):
                continue  # lines of one text
            if one["left"] < other["right"] - slack and other["left"] < one["right"] - slack:
                found.append(f"{one['text']!r} and {other['text']!r}")
    return found


async def look(page: Page, url: str) -> None:
    await page.goto(f"{url}/dashboard")
    await expect(page.locator("[data-link]")).to_have_text("Live")
    await expect(page.locator(".plot canvas")).to_have_count(2)


async def assert_holds_together(page: Page) -> None:
    assert await fits(page), "there is nothing to scroll sideways"
    boxes = await page.evaluate(MEASURE)
    assert [box["text"] for box in boxes if box["isCut"]] == []
    assert overlaps(boxes) == []
    width = await page.evaluate("document.documentElement.clientWidth")
    assert [box["text"] for box in boxes if box["right"] > width + 1 or box["left"] < -1] == []


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: str(seed.__name__).removeprefix("seed_"))
async def test_no_text_is_cut_off_or_runs_into_another(
    service: Service, database: Database, browser: Browser, seed: Seed
) -> None:
    await seed(database)
    async with open_page(browser, viewport={"width": WIDTHS[0], "height": 900}) as page:
        await page.add_init_script(f"({NOTE_CANVAS_TEXT})()")
        await look(page, service.url)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))")
            await assert_holds_together(page)
            for chart in await page.evaluate(READ_CANVAS_TEXT):
                edges = [
                    one["text"]
                    for one in chart["texts"]
                    if one["left"] < 0
                    or one["right"] > chart["width"]
                    or one["top"] < 0
                    or one["bottom"] > chart["height"]
                ]
                assert (edges, width) == ([], width)
                assert (overlaps(chart["texts"], 0.0), width) == ([], width)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_every_text_can_be_read(
    service: Service, database: Database, browser: Browser, scheme: Any
) -> None:
    await seed_troubles(database)
    async with open_page(browser, color_scheme=scheme, reduced_motion="reduce") as page:
        await look(page, service.url)
        assert await page.evaluate(CONTRAST) == []


async def test_the_rows_of_the_board_stay_together(
    service: Service, database: Database, browser: Browser
) -> None:
    await seed_many(database)
    async with open_page(browser) as page:
        await look(page, service.url)
        tops = await page.evaluate("[...document.querySelectorAll('.lane')].map((row) => row.offsetTop)")
        assert tops == [44 * place for place in range(len(tops))]


async def test_during_a_penalty_all_bars_are_red(
    service: Service, database: Database, browser: Browser
) -> None:
    await seed_troubles(database)
    async with open_page(browser) as page:
        await look(page, service.url)
        bars = await page.evaluate(
            "[...document.querySelectorAll('.slot-fill')].map((bar) => [getComputedStyle(bar).fill, bar.getAttribute('height')])"
        )
        assert bars == [["rgb(208, 51, 64)", "27.0"]] * 10
        await expect(page.locator("[data-part=silence]")).to_contain_text("429: no requests for")


async def test_swept_calls_are_shown_as_such_and_without_a_time(
    service: Service, database: Database, browser: Browser
) -> None:
    await seed_many(database)
    async with open_page(browser) as page:
        await look(page, service.url)
        swept = page.locator(".lane[data-tone=swept]").first
        await expect(swept.locator("[data-part=took]")).to_have_text("swept")
        await expect(page.locator("[data-figure=swept] .value")).to_have_text("40")


async def test_no_figure_is_green_beside_a_problem_about_it(
    service: Service, database: Database, browser: Browser
) -> None:
    await seed_troubles(database)
    async with open_page(browser) as page:
        await look(page, service.url)
        titles = page.locator(".problem h2")
        await expect(titles.first).to_be_visible()
        assert "RingCentral cannot reach us" in " ".join(await titles.all_inner_texts())
        await expect(page.locator("[data-state=subscription]")).to_have_attribute("data-tone", "bad")
        await expect(page.locator("[data-state=subscription]")).to_contain_text("Missing")


async def test_controls_and_regions_have_names(
    service: Service, database: Database, browser: Browser
) -> None:
    await seed_troubles(database)
    async with open_page(browser) as page:
        await look(page, service.url)
        nameless = await page.evaluate(
            """() => [...document.querySelectorAll("button, a, input, section, figure, [role=img]")].filter((one) => {
                const labelled = one.getAttribute("aria-labelledby")?.split(" ").map((id) => document.getElementById(id)?.textContent).join("");
                return !(one.getAttribute("aria-label") || labelled || one.textContent.trim());
            }).map((one) => one.outerHTML.slice(0, 80))"""
        )
        assert nameless == []
        assert await page.locator("h1").count() == 1


@pytest.fixture
def documented(sqlite_url: str, make_settings: Any) -> Iterator[str]:
    with running(make_settings(database_url=sqlite_url)) as url:
        yield f"{url}/docs"


@pytest_asyncio.fixture(loop_scope="session")
async def docs_page(documented: str, browser: Browser) -> AsyncIterator[Page]:
    async with open_page(browser, viewport={"width": 390, "height": 844}, reduced_motion="reduce") as page:
        await page.goto(documented)
        await expect(page.locator(".opblock").first).to_be_visible()
        yield page


async def test_the_api_page_fits_on_a_phone(docs_page: Page) -> None:
    await docs_page.locator(".opblock-summary-control").first.click()
    await expect(docs_page.locator(".opblock-body").first).to_be_visible()
    for width in (390, 320, 1280):
        await docs_page.set_viewport_size({"width": width, "height": 844})
        assert await fits(docs_page), width
        boxes = await docs_page.evaluate(MEASURE)
        beyond = [box["text"] for box in boxes if box["right"] > width + 1]
        assert beyond == [], width


IS_DRAWN = """document.documentElement.classList.contains("dark-mode") ===
  matchMedia("(prefers-color-scheme: dark)").matches && document.getAnimations().length === 0"""
"""Whether the page has taken over the colour scheme, which its script hears of a little later."""


async def test_the_api_page_can_be_read(docs_page: Page) -> None:
    await docs_page.locator(".opblock-summary-control").first.click()
    await docs_page.locator(".opblock-post .opblock-summary-control").first.click()
    await expect(docs_page.locator(".opblock-body").first).to_be_visible()
    for scheme in SCHEMES:
        await docs_page.emulate_media(color_scheme=scheme)
        async with asyncio.timeout(60):
            while not await docs_page.evaluate(IS_DRAWN):  # noqa: ASYNC110 - its own script may not poll
                await asyncio.sleep(0.05)
        assert await docs_page.evaluate(CONTRAST) == [], scheme
